"""What the router's batch says for billing: which copies are listed, which only counted."""

from schemas.reasons import Billing, UnitBilling
from streams.billable import FACT_EVENTS_MAX, BillableFacts
from streams.usage_records import FactEvent, decode_fact
from tests.metering_support import APRIL_MS, route


def test_billed_copies_are_listed_by_partition_and_agreement():
    facts = BillableFacts(APRIL_MS)
    facts.add(0, 7, b"111", 3, [route("agr-1", "acme"), route("agr-2", "globex")])
    facts.add(0, 8, b"222", 2, [route("agr-1", "acme")])
    facts.add(1, 7, b"333", 3, [route("agr-1", "acme")])
    found = {(f.raw_partition, f.agreement_id): (f.tenant_id, f.events) for f in facts.facts()}
    assert found == {
        (0, "agr-1"): ("acme", (FactEvent("111", 3, 7), FactEvent("222", 2, 8))),
        (0, "agr-2"): ("globex", (FactEvent("111", 3, 7),)),
        (1, "agr-1"): ("acme", (FactEvent("333", 3, 7),)),
    }
    assert {f.billing for f in facts.facts()} == {UnitBilling.BILLABLE}
    assert {f.decided_at for f in facts.facts()} == {APRIL_MS}


def test_what_is_too_early_is_listed_with_its_reason():
    facts = BillableFacts(APRIL_MS - 1)
    facts.add(0, 7, b"111", 3, [route(billing=Billing.BEFORE_METERING)])
    [fact] = facts.facts()
    assert (fact.billing, fact.copies, len(fact.events)) == (UnitBilling.BEFORE_METERING, 1, 1)


def test_what_makes_no_unit_is_counted_by_reason():
    facts = BillableFacts(APRIL_MS)
    owner = route("", "shipper", Billing.NO_COST_PARTY)
    service = route("agr-9", "service", Billing.NO_COST_PARTY)
    for offset in range(3):
        facts.add(0, offset, b"111", 3, [owner, service, route("", "late", Billing.NO_AGREEMENT)])
    facts.add(0, 3, b"111", 3, [owner])
    found = {(f.agreement_id, f.tenant_id, f.billing.value): f.copies for f in facts.facts()}
    assert found == {
        ("", "", "no_cost_party"): 4,
        ("agr-9", "service", "no_cost_party"): 3,
        ("", "", "no_agreement"): 3,
    }
    assert not any(fact.events for fact in facts.facts())


def test_records_hold_the_facts_and_are_bounded():
    facts = BillableFacts(APRIL_MS)
    for offset in range(FACT_EVENTS_MAX + 1):
        facts.add(2, offset, b"%034d" % offset, 3, [route()])
    records = facts.records()
    assert list(records) == [2]
    assert [key for key, _, _, _ in records[2]] == [b"agr-1", b"agr-1"]
    assert {at for _, _, at, _ in records[2]} == {APRIL_MS}
    sizes = [len(value or b"") for _, value, _, _ in records[2]]
    assert max(sizes) < 360_000
    decoded = [decode_fact(value) for _, value, _, _ in records[2]]
    assert [fact.copies for fact in decoded] == [FACT_EVENTS_MAX, 1]
    assert facts.facts() == decoded


def test_nothing_placed_is_no_record():
    assert BillableFacts(APRIL_MS).records() == {}
