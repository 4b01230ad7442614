"""What other rights would change, for whom: the same events decided twice."""

from collections.abc import Sequence

import pytest

from schemas.codec import encode
from streams.label_history import Label
from streams.packed_labels import pack
from streams.raw_record import RawRecord
from streams.rights import Rights
from streams.what_if import EXAMPLES_MAX, WhatIf
from tests.router_support import barcode, event
from tests.unit.streams.log_building import BEGIN_MS, MID, Log, simple_grant, token_body

RETAIL = "9505511069605048600624"


@pytest.fixture
def log() -> Log:
    log = Log()
    log.tenant("acme")
    log.tenant("globex")
    log.tenant("shop", "PLATFORM")
    log.put("MERCHANT_TOKEN", token_body("T1", "shop"))
    log.grant("g1", "acme")
    return log


def labels(*known: tuple[str, Label]):
    """`label_lookup.Find` over labels by number."""
    packed = {pic.encode(): pack(pic, [label]) for pic, label in known}

    def find(_: int, pics: Sequence[bytes]) -> list[bytes | None]:
        return [packed.get(pic) for pic in pics]

    return find


def label(mid: str, generated_by: str = "acme", token: str = "") -> Label:
    return Label("l-1", mid, generated_by, token, 0, 0, 1 << 41, None, "")


def by_api(number: str) -> tuple[bytes, bytes]:
    fields = {"event_code": "10", "event_time": BEGIN_MS, "time_basis": "UTC", "channel": "API"}
    value = encode("tracking_event", {"barcode": number, "facility_zip": "90009", **fields})
    return number.encode(), value


def compared(
    log: Log,
    *changes: tuple[str, dict],
    numbers: list[str] | None = None,
    events: Sequence[tuple[bytes, bytes]] = (),
    find=None,
) -> WhatIf:
    before = log.rights.snapshot(0.0)
    after = Log()
    after.rights = Rights.load(log.rights.dump())
    for kind, body in changes:
        assert after.put(kind, body, change_id=log.change_id()).verdict == "accepted"
    then = after.rights.snapshot(0.0)
    what_if = WhatIf(before, then, BEGIN_MS, {MID.encode()}, find or labels())
    offered = events or [event(number) for number in numbers or [barcode(MID, 1)]]
    what_if.look([RawRecord(0, offset, 5, *one) for offset, one in enumerate(offered)])
    return what_if


def test_who_gains_and_who_loses(log):
    what_if = compared(
        log, ("GRANT_END", {"grant_id": "g1"}), ("GRANT", simple_grant("g2", "globex"))
    )
    assert {name: (one.gained, one.lost) for name, one in what_if.tenants.items()} == {
        "acme": (0, 1),
        "globex": (1, 0),
    }
    assert what_if.tenants["acme"].examples == {"lost": [("0:0", barcode(MID, 1), 3)]}


def test_another_right_means_no_difference(log):
    log.grant("g2", "acme")
    assert compared(log, ("GRANT_END", {"grant_id": "g1"})).tenants == {}


def test_a_gain_of_personal_data_alone_is_told(log):
    change = simple_grant("g2", "acme", restricted=True)
    assert compared(log, ("GRANT", change)).tenants["acme"].personal_gained == 1


def token_grant() -> tuple[str, dict]:
    change = simple_grant(
        "g2", "shop", basis="MERCHANT_TOKEN", merchant_token_id="T1", channels=["API"]
    )
    return "GRANT", change


def test_what_has_no_label_is_counted_apart(log):
    what_if = compared(log, token_grant(), numbers=[barcode(MID, 1), RETAIL])
    assert dict(what_if.unlabelled) == {"owner": 1}, "the scan came by another channel"
    assert what_if.tenants == {}
    what_if = compared(log, token_grant(), events=[by_api(barcode(MID, 1))])
    assert (dict(what_if.unlabelled), what_if.tenants) == ({"right": 1}, {})


@pytest.mark.parametrize(("mid", "lost"), [(MID, 1), ("900000001", 0)])
def test_the_owner_that_a_label_names_counts(log, mid, lost):
    what_if = compared(
        log,
        ("GRANT_END", {"grant_id": "g1"}),
        numbers=[RETAIL],
        find=labels((RETAIL, label(mid))),
    )
    assert sum(one.lost for one in what_if.tenants.values()) == lost
    assert what_if.unlabelled["owner"] == 0


@pytest.mark.parametrize(("by", "gained"), [("shop", 1), ("globex", 0)])
def test_a_right_by_a_token_rests_on_who_generated_the_label(log, by, gained):
    number = barcode(MID, 1)
    known = labels((number, label(MID, by, "T1")))
    what_if = compared(log, token_grant(), events=[by_api(number)], find=known)
    assert {name: one.gained for name, one in what_if.tenants.items()} == (
        {"shop": gained} if gained else {}
    )


def test_examples_are_few_and_counts_are_not(log):
    numbers = [barcode(MID, serial) for serial in range(1, 21)]
    lost = compared(log, ("GRANT_END", {"grant_id": "g1"}), numbers=numbers).tenants["acme"]
    assert (lost.lost, len(lost.examples["lost"])) == (20, EXAMPLES_MAX)
