"""What other rights would change, for whom: the same events decided twice."""

import pytest

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


def compared(log: Log, *changes: tuple[str, dict], numbers: list[str] | None = None) -> WhatIf:
    before = log.rights.snapshot(0.0)
    after = Log()
    after.rights = Rights.load(log.rights.dump())
    for kind, body in changes:
        assert after.put(kind, body, change_id=log.change_id()).verdict == "accepted"
    then = after.rights.snapshot(0.0)
    what_if = WhatIf(before, then, BEGIN_MS, {MID.encode()})
    for offset, number in enumerate(numbers or [barcode(MID, 1)]):
        key, value = event(number)
        what_if.look(RawRecord(0, offset, 5, key, value))
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


def test_what_rests_on_labels_is_counted_apart(log):
    change = simple_grant(
        "g2", "shop", basis="MERCHANT_TOKEN", merchant_token_id="T1", channels=["API"]
    )
    what_if = compared(log, ("GRANT", change), numbers=[barcode(MID, 1), RETAIL])
    assert dict(what_if.by_label) == {"owner": 1}, "the scan came by another channel"
    assert what_if.tenants == {}


def test_examples_are_few_and_counts_are_not(log):
    numbers = [barcode(MID, serial) for serial in range(1, 21)]
    lost = compared(log, ("GRANT_END", {"grant_id": "g1"}), numbers=numbers).tenants["acme"]
    assert (lost.lost, len(lost.examples["lost"])) == (20, EXAMPLES_MAX)
