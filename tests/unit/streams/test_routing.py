"""The hot path: what stands in tenant topics and in quarantine, and how far a batch goes.

Formats are written out here from docs/authorization-log.md, not computed by the code under test.
"""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode, encode
from streams.raw_record import RawRecord
from streams.routing import RoutedBatch, route_batch
from tests.records_support import decoded
from tests.unit.streams.log_building import APP_ID, LOG_ID, MID, Log

OWNED = "92748901234567000000000018"
ROUTED = "420902459261290336128704042634"
NOBODY = "9361212345600000000017"
NO_OWNER = "9505511069605048600624"
NOW_MS = 1_785_000_000_000
DEFAULTS = {"partition": 0, "offset": 0, "timestamp": 77, "key": b"key"}


def Raw(value: bytes | None, **fields: Any) -> RawRecord:
    return RawRecord(**{**DEFAULTS, **fields, "value": value})


def event(barcode: str = OWNED, **fields: object) -> bytes:
    record = {
        "barcode": barcode,
        "event_code": "01",
        "event_time": -1,
        "time_basis": "LOCAL",
        "facility_zip": "90009",
        "channel": "SEE",
        "restricted": {"recipient_name": "J DOE", "firm": "ACME"},
    }
    return encode("tracking_event", {**record, **fields})


def _log() -> Log:
    log = Log()
    log.tenant("acme")
    log.tenant("wide", partitions=2)
    log.grant("g1", "acme")
    log.grant("g2", "wide")
    log.grant("g3", "acme", mid="903361287")
    return log


RIGHTS = _log().rights.snapshot(0.0)


def route(*records: RawRecord, bytes_out_max: int = 1 << 40) -> RoutedBatch:
    return route_batch(records, RIGHTS, NOW_MS, app_id=APP_ID, bytes_out_max=bytes_out_max)


def test_a_copy_is_the_raw_record_cut_with_its_headers_in_order():
    routed = route(Raw(event(), partition=3, offset=41, key=None))
    [(key, value, timestamp, headers)] = decoded(routed.tenant["midgate.tenant.acme", 0])
    assert (key, timestamp) == (None, 77)
    assert value == event(restricted=None)
    scan = b"\x1f".join([OWNED.encode(), b"01", b"-1", b"90009"])
    assert headers == [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"org.midgate.scan.v1"),
        ("ce_source", b"/midgate/midgate"),
        ("ce_id", b"3-41"),
        ("mg-event", hashlib.blake2b(scan, digest_size=12).digest()),
        ("mg-authz", f"{LOG_ID[:8]}:{RIGHTS.version}".encode()),
        ("mg-grant", b"g1"),
    ]
    [(_, _, _, headers)] = decoded(routed.tenant["midgate.tenant.wide", 1])
    assert headers[-1] == ("mg-grant", b"g2")
    assert (routed.delivered_events, routed.delivered_copies, routed.records) == (1, 2, 1)
    assert routed.next_offsets == {3: 42}


def test_a_record_without_restricted_part_is_passed_on_as_it_is():
    raw = event(restricted=None)
    [(_, value, _, _)] = decoded(route(Raw(raw)).tenant["midgate.tenant.acme", 0])
    assert value == raw


def test_only_a_right_to_the_restricted_part_leaves_a_record_whole():
    log = _log()
    log.grant("g4", "wide", mid="903361287", restricted=True)
    raw = event(ROUTED)
    routed = route_batch([Raw(raw)], log.rights.snapshot(0.0), NOW_MS, app_id=APP_ID)
    [(_, whole, _, headers)] = decoded(routed.tenant["midgate.tenant.wide", 0])
    assert (whole, headers[-1]) == (raw, ("mg-grant", b"g4"))
    [(_, cut, _, _)] = decoded(routed.tenant["midgate.tenant.acme", 0])
    assert cut == event(ROUTED, restricted=None)


def test_the_pic_of_the_event_id_is_without_the_routing_part():
    [(_, _, _, headers)] = decoded(route(Raw(event(ROUTED))).tenant["midgate.tenant.acme", 0])
    scan = b"\x1f".join([ROUTED[8:].encode(), b"01", b"-1", b"90009"])
    assert dict(headers)["mg-event"] == hashlib.blake2b(scan, digest_size=12).digest()


@pytest.mark.parametrize(("partition", "expected"), [(0, 0), (1, 1), (2, 0), (3, 1)])
def test_the_tenant_partition_is_the_raw_partition_mod_n(partition, expected):
    routed = route(Raw(event(), partition=partition))
    assert set(routed.tenant) == {("midgate.tenant.acme", 0), ("midgate.tenant.wide", expected)}


def test_records_keep_their_order():
    records = [Raw(event(), partition=at % 4, offset=at // 4) for at in range(40)]
    routed = route(*records)
    ids = [dict(record[3])["ce_id"] for record in decoded(routed.tenant["midgate.tenant.acme", 0])]
    assert ids == [b"%d-%d" % (record.partition, record.offset) for record in records]


@pytest.mark.parametrize(
    ("barcode", "channel", "reason"),
    [(NOBODY, "SEE", "no_grant"), (NO_OWNER, "API", "label_needed")],
)
def test_what_nobody_may_have_is_withheld_and_counted(barcode, channel, reason):
    routed = route(Raw(event(barcode, channel=channel)), Raw(event(barcode), offset=1))
    assert dict(routed.withheld) == {reason: 2}
    assert (routed.tenant, routed.quarantine, routed.bytes_out) == ({}, {}, 0)
    assert (routed.next_offsets, routed.records) == ({0: 2}, 2)


QUARANTINED = [
    (None, "malformed_record"),
    (b"", "malformed_record"),
    (b"\0\0\0\0", "malformed_record"),
    (b"\1\0\0\0\1abcdef", "malformed_record"),
    (b"\0\0\0\0\x63abcdef", "unknown_frame"),
    (encode("heartbeat", {"nonce": "n"}), "unknown_frame"),
    (event()[:-1], "malformed_record"),
    (event() + b"\0", "malformed_record"),
    (event(channel="UNKNOWN"), "channel_unknown"),
    (event("nonsense", channel="UNKNOWN"), "channel_unknown"),
    (event(NO_OWNER, channel="UNKNOWN"), "channel_unknown"),
    (event("9101123456789000000014"), "check_digit"),
    (event("61299998820821171811"), "check_digit"),
    (event("9261212345678900017627"), "mid_rule"),
    (event("nonsense"), "unknown_form"),
    (event(f" {OWNED}"), "unknown_form"),
    (event(""), "unknown_form"),
]


@pytest.mark.parametrize(("value", "reason"), QUARANTINED)
def test_what_cannot_be_decided_goes_to_quarantine_unchanged(value, reason):
    raw = Raw(value, partition=2, offset=9, headers=(("x", b"1"), ("", None)))
    routed = route(raw)
    assert routed.quarantine == {
        2: [
            (
                b"key",
                value,
                77,
                [
                    ("x", b"1"),
                    ("", None),
                    ("mg-reason", reason.encode()),
                    ("mg-origin", b"raw:2-9"),
                ],
            )
        ]
    }
    assert dict(routed.quarantined) == {reason: 1}
    assert (routed.tenant, dict(routed.withheld), routed.next_offsets) == ({}, {}, {2: 10})


@given(st.binary(max_size=300), st.sampled_from(["raw", "cut", "flip"]), st.data())
def test_no_bytes_raise_and_none_are_dropped(junk, how, data):
    value = event()
    if how == "raw":
        value = junk
    else:
        at = data.draw(st.integers(0, len(value) - 1))
        value = value[:at] + (junk[:1] + value[at + 1 :] if how == "flip" else b"")
    routed = route(Raw(value))
    places = routed.delivered_events + routed.withheld.total() + routed.quarantined.total()
    assert (places, routed.records, routed.next_offsets) == (1, 1, {0: 1})
    for records in routed.tenant.values():
        for _, copy, _, _ in decoded(records):
            assert copy is not None
            assert decode(copy)[1]["restricted"] is None


def _bytes(routed: RoutedBatch) -> int:
    """Uncompressed bytes of keys, values and headers of all that is to be produced."""
    lists = [*map(decoded, routed.tenant.values()), *routed.quarantine.values()]
    return sum(
        len(key or b"")
        + len(value or b"")
        + sum(len(name) + len(text or b"") for name, text in headers)
        for records in lists
        for key, value, _, headers in records
    )


MIXED = [
    Raw(value, partition=at % 2, offset=at // 2, headers=(("x", b"y" * 50), ("n", None)))
    for at, value in enumerate(
        [event(), event(NOBODY), event("nonsense"), event(ROUTED), event(NO_OWNER), None] * 5
    )
]


@given(st.integers(0, 30_000))
def test_a_batch_ends_before_its_bound_and_says_how_far_it_came(bytes_out_max):
    """Going on from `next_offsets` in further batches gives what one large batch gives."""
    whole = route(*MIXED)
    left, turns = MIXED, []
    while left:
        routed = route(*left, bytes_out_max=bytes_out_max)
        assert routed.records >= 1
        assert _bytes(routed) <= routed.bytes_out
        producing = routed.delivered_events + routed.quarantined.total()
        assert routed.bytes_out <= bytes_out_max or producing == 1
        after = {raw.partition: raw.offset + 1 for raw in left[: routed.records]}
        assert routed.next_offsets == after
        left = left[routed.records :]
        turns.append(routed)
    for place, records in whole.tenant.items():
        parts = [turn.tenant[place] for turn in turns if place in turn.tenant]
        assert [one for part in parts for one in decoded(part)] == decoded(records)
    for partition, records in whole.quarantine.items():
        assert [one for turn in turns for one in turn.quarantine.get(partition, [])] == records
    assert sum(turn.bytes_out for turn in turns) == whole.bytes_out
    assert sum(turn.delivered_copies for turn in turns) == whole.delivered_copies
    assert all(records.count for turn in turns for records in turn.tenant.values())


def test_the_one_clock_reading_decides_the_whole_batch():
    log = _log()
    log.grant("short", "wide", mid="903361287", effective_from=10, effective_to=20)
    rights = log.rights.snapshot(0.0)
    for now_ms, routes in ((9, 1), (10, 2), (19, 2), (20, 1), (10, 2)):
        routed = route_batch([Raw(event(ROUTED))], rights, now_ms, app_id=APP_ID)
        assert routed.delivered_copies == routes


def test_an_owner_without_a_right_now_is_withheld_with_the_furthest_reason():
    log = Log()
    log.tenant("acme")
    log.grant("g1", "acme", effective_to=5)
    log.grant("g2", "acme", status="PENDING")
    routed = route_batch([Raw(event())], log.rights.snapshot(0.0), 5, app_id=APP_ID)
    assert dict(routed.withheld) == {"grant_expired": 1}
    assert MID in OWNED


def test_an_empty_batch_is_empty():
    routed = route()
    assert (routed.tenant, routed.quarantine, routed.next_offsets) == ({}, {}, {})
    assert (routed.records, routed.delivered_copies, routed.bytes_out) == (0, 0, 0)
