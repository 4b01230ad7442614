"""Records of metering: keys, bytes there and back, and what is no fact."""

import pytest

from schemas.codec import MalformedRecordError, decode, encode
from schemas.reasons import UnitBilling
from streams.usage_records import (
    FactEvent,
    FirstEvent,
    UsageFact,
    UsagePosition,
    UsageTally,
    UsageUnit,
    call_units,
    decode_fact,
    decode_usage,
    encode_fact,
    month_of,
    position_record,
    tally_record,
    unit_record,
)
from tests.metering_support import APRIL_MS

FACT = UsageFact(
    "agr-1",
    "acme",
    UnitBilling.BILLABLE,
    3,
    APRIL_MS,
    2,
    (FactEvent("111", 3, 7), FactEvent("222", 2, 1 << 40)),
)
UNIT = UsageUnit(
    "agr-1", "acme", "EVENT", UnitBilling.BEFORE_METERING, "SEE", APRIL_MS, "111", "", 3, 1 << 40
)


def encoded(fact: UsageFact) -> bytes:
    numbers = ",".join(event.tracking_number for event in fact.events)
    channels = [event.channel for event in fact.events]
    return encode_fact(fact, numbers, channels, [event.raw_offset for event in fact.events])


def test_a_fact_comes_back():
    assert decode_fact(encoded(FACT)) == FACT
    counted = FACT._replace(events=(), copies=12, billing=UnitBilling.NO_COST_PARTY)
    assert decode_fact(encoded(counted)) == counted


@pytest.mark.parametrize(
    "change",
    [
        {"channels": b"\3"},
        {"channels": b"\3\0"},
        {"channels": b"\3\4"},
        {"raw_offsets": b"\0" * 15},
        {"tracking_numbers": "111"},
        {"copies": 3},
        {"billing": "UNKNOWN"},
    ],
    ids=str,
)
def test_columns_that_do_not_fit_are_no_fact(change):
    body = decode(encoded(FACT))[1]
    with pytest.raises(MalformedRecordError):
        decode_fact(encode("usage_fact", body | change))


@pytest.mark.parametrize("value", [None, b"", unit_record(UNIT)[1]])
def test_what_is_something_else_is_no_fact(value):
    with pytest.raises(MalformedRecordError):
        decode_fact(value)


def test_units_tallies_and_positions_come_back_by_their_keys():
    tally = UsageTally("", "2026-04", UnitBilling.NO_COST_PARTY, 3, 12)
    position = UsagePosition(3, 17, "c/t/i", APRIL_MS, "")
    start = UsagePosition(3, -1, "", 0, "abc")
    records = [
        unit_record(UNIT),
        tally_record(tally, 5),
        position_record(position, 5),
        position_record(start, 5),
    ]
    assert [decode_usage(value) for _, value, _ in records] == [UNIT, tally, position, start]
    assert [key for key, _, _ in records] == [
        b"agr-1/event/111",
        b"-/tally/2026-04/no_cost_party/3",
        b"-/position/3",
        b"-/start/3",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"raw_partition": -1, "raw_offset": -1, "kind": "CALL", "call_id": "c-1"},
        {"raw_offset": (1 << 62) + 5, "metered_at": 0},
        {"tracking_number": "9" * 70, "raw_offset": 63},
        {"tracking_number": "", "agreement_id": "", "raw_offset": 64},
    ],
)
def test_a_unit_is_encoded_as_its_schema_says(change):
    unit = UNIT._replace(**change)
    body = {**unit._asdict(), "billing": unit.billing.name}
    assert unit_record(unit)[1] == encode("usage_unit", body)


def test_a_fact_is_no_usage():
    with pytest.raises(MalformedRecordError):
        decode_usage(encoded(FACT))


def test_a_first_event_is_packed_and_compares_by_its_place():
    first = FirstEvent(APRIL_MS, 3, 1 << 40, 2, UnitBilling.BEFORE_METERING)
    assert FirstEvent.unpacked(first.packed()) == first
    assert first < first._replace(raw_offset=first.raw_offset + 1)
    assert first < first._replace(metered_at=APRIL_MS + 1, raw_offset=0)


@pytest.mark.parametrize(
    ("instant", "month"),
    [(APRIL_MS - 1, "2026-03"), (APRIL_MS, "2026-04"), (0, "1970-01"), (-1, "1969-12")],
)
def test_months_begin_at_midnight_utc(instant, month):
    assert month_of(instant) == month


def test_a_call_makes_a_unit_for_each_package():
    records = call_units(
        "c-1", APRIL_MS, True, ["111", "222", "111"], agreement_id="agr-1", tenant_id="acme"
    )
    units = [decode_usage(value) for _, value, _ in records]
    assert [key for key, _, _ in records] == [b"agr-1/call/c-1/111", b"agr-1/call/c-1/222"]
    assert [(u.kind, u.billing, u.channel, u.metered_at) for u in units] == [
        ("CALL", UnitBilling.BILLABLE, "API", APRIL_MS)
    ] * 2
    again = call_units(
        "c-1", APRIL_MS, True, ["111", "222"], agreement_id="agr-1", tenant_id="acme"
    )
    assert again == records, "a repeat replaces, and makes no second unit"


@pytest.mark.parametrize(
    ("succeeded", "not_billed", "billing"),
    [
        (False, None, UnitBilling.CALL_FAILED),
        (True, UnitBilling.AGREEMENT_NOT_ACTIVE, UnitBilling.AGREEMENT_NOT_ACTIVE),
        (False, UnitBilling.NO_COST_PARTY, UnitBilling.NO_COST_PARTY),
    ],
)
def test_a_call_that_is_not_billed_keeps_its_reason(succeeded, not_billed, billing):
    [(_, value, _)] = call_units(
        "c-1",
        APRIL_MS,
        succeeded,
        ["111"],
        agreement_id="agr-1",
        tenant_id="acme",
        not_billed=not_billed,
    )
    assert decode_usage(value).billing is billing


@pytest.mark.parametrize("call_id", ["", "a/b"])
def test_an_id_of_a_call_is_no_part_of_another(call_id):
    with pytest.raises(ValueError, match="no id of a call"):
        call_units(call_id, APRIL_MS, True, ["111"], agreement_id="a", tenant_id="t")
