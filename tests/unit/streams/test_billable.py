"""What the router's batch says for billing: which copies are listed, which only counted."""

import pytest

from schemas.reasons import Billing, UnitBilling
from streams.billable import FACT_EVENTS_MAX, METERED_COPY_BYTES_MAX, BillableFacts, is_metered
from streams.usage_records import FactEvent, UsageFact, decode_fact
from tests.metering_support import APRIL_MS, route


def decoded(facts: BillableFacts) -> list[UsageFact]:
    return [
        decode_fact(value) for records in facts.records().values() for _, value, _, _ in records
    ]


def place(facts: BillableFacts, partition: int, offset: int, pic: bytes, channel: int, *routes):
    """What routing does for an event."""
    for one in routes:
        facts.add(partition, offset, pic, channel, one)


def test_billed_copies_are_listed_by_partition_and_agreement():
    facts = BillableFacts(APRIL_MS)
    place(facts, 0, 7, b"111", 3, route("agr-1", "acme"), route("agr-2", "globex"))
    place(facts, 0, 8, b"222", 2, route("agr-1", "acme"))
    place(facts, 1, 7, b"333", 3, route("agr-1", "acme"))
    found = {(f.raw_partition, f.agreement_id): (f.tenant_id, f.events) for f in decoded(facts)}
    assert found == {
        (0, "agr-1"): ("acme", (FactEvent("111", 3, 7), FactEvent("222", 2, 8))),
        (0, "agr-2"): ("globex", (FactEvent("111", 3, 7),)),
        (1, "agr-1"): ("acme", (FactEvent("333", 3, 7),)),
    }
    assert {f.billing for f in decoded(facts)} == {UnitBilling.BILLABLE}
    assert {f.decided_at for f in decoded(facts)} == {APRIL_MS}


def test_what_is_too_early_is_listed_with_its_reason():
    facts = BillableFacts(APRIL_MS - 1)
    place(facts, 0, 7, b"111", 3, route(billing=Billing.BEFORE_METERING))
    [fact] = decoded(facts)
    assert (fact.billing, fact.copies, len(fact.events)) == (UnitBilling.BEFORE_METERING, 1, 1)


def test_what_makes_no_unit_is_counted_by_reason():
    facts = BillableFacts(APRIL_MS)
    owner = route("", "shipper", Billing.NO_COST_PARTY)
    service = route("agr-9", "service", Billing.NO_COST_PARTY)
    for offset in range(3):
        place(facts, 0, offset, b"111", 3, owner, service, route("", "late", Billing.NO_AGREEMENT))
    place(facts, 0, 3, b"111", 3, owner)
    found = {(f.agreement_id, f.tenant_id, f.billing.value): f.copies for f in decoded(facts)}
    assert found == {
        ("", "", "no_cost_party"): 4,
        ("agr-9", "service", "no_cost_party"): 3,
        ("", "", "no_agreement"): 3,
    }
    assert not any(fact.events for fact in decoded(facts))


def test_records_hold_the_facts_and_are_bounded():
    facts = BillableFacts(APRIL_MS)
    for offset in range(FACT_EVENTS_MAX + 1):
        place(facts, 2, offset, b"%034d" % offset, 3, route())
    records = facts.records()
    assert list(records) == [2]
    assert [key for key, _, _, _ in records[2]] == [b"agr-1", b"agr-1"]
    assert {at for _, _, at, _ in records[2]} == {APRIL_MS}
    sizes = [len(value or b"") for _, value, _, _ in records[2]]
    assert max(sizes) < min(360_000, FACT_EVENTS_MAX * METERED_COPY_BYTES_MAX)
    found = decoded(facts)
    assert [fact.copies for fact in found] == [FACT_EVENTS_MAX, 1]
    numbers = [event.tracking_number for fact in found for event in fact.events]
    assert numbers == [f"{offset:034d}" for offset in range(FACT_EVENTS_MAX + 1)]


def test_nothing_placed_is_no_record():
    assert BillableFacts(APRIL_MS).records() == {}


def test_copies_nobody_was_told_of_are_no_cost_ones():
    facts = BillableFacts(APRIL_MS)
    place(facts, 0, 7, b"111", 3, route("", "shipper", Billing.NO_COST_PARTY), route())
    facts.add_rest(1, 10)
    found = {(f.raw_partition, f.agreement_id, f.billing.value): f.copies for f in decoded(facts)}
    assert found == {
        (0, "agr-1", "billable"): 1,
        (0, "", "no_cost_party"): 1,
        (1, "", "no_cost_party"): 8,
    }


def test_nothing_left_is_no_record():
    facts = BillableFacts(APRIL_MS)
    place(facts, 0, 7, b"111", 3, route())
    facts.add_rest(1, 1)
    assert [fact.billing for fact in decoded(facts)] == [UnitBilling.BILLABLE]


@pytest.mark.parametrize(
    ("agreement", "billing", "expected"),
    [
        ("", Billing.NO_COST_PARTY, False),
        ("agr-1", Billing.NO_COST_PARTY, True),
        ("", Billing.NO_AGREEMENT, True),
        ("", Billing.BEFORE_METERING, True),
        ("agr-1", Billing.BILLABLE, True),
    ],
)
def test_only_of_those_that_cost_nobody_nothing_need_be_told(agreement, billing, expected):
    assert is_metered(route(agreement, "t", billing).right) is expected
