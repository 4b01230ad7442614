"""First events: by hand, and the same units whatever order facts come in and however often."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reasons import Billing, UnitBilling
from streams.metering import meter
from streams.usage_records import FirstEvent, UsageUnit, decode_fact, unit_record
from tests.metering_support import APRIL_MS, DAY_MS, number, route, values


class Kept:
    """What a store and the topic would hold, as plain dictionaries."""

    def __init__(self) -> None:
        self.first: dict[bytes, bytes] = {}
        self.units: dict[bytes, UsageUnit] = {}
        self.tallied: Counter[tuple[str, str, str]] = Counter()

    def take(self, facts: list[bytes]) -> int:
        """Meter facts; how many units were written."""
        metered = meter(facts, lambda keys: [self.first.get(key) for key in keys])
        self.first.update((key, one.packed()) for key, one in metered.first.items())
        for unit in metered.units:
            self.units[unit_record(unit)[0]] = unit
        for (agreement, month, billing), copies in metered.tallied.items():
            self.tallied[agreement, month, billing.value] += copies
        return len(metered.units)


def test_only_the_first_event_of_a_number_is_a_unit():
    kept = Kept()
    assert kept.take(values(0, APRIL_MS, [(7, 1), (8, 2), (9, 1)])) == 2
    assert kept.take(values(0, APRIL_MS + 5, [(10, 1), (11, 3)])) == 1
    assert {(u.tracking_number, u.raw_offset, u.billing.value) for u in kept.units.values()} == {
        (number(1), 7, "billable"),
        (number(2), 8, "billable"),
        (number(3), 11, "billable"),
    }
    assert kept.tallied == {("agr-1", "2026-04", "not_first_event"): 2}


def test_each_agreement_has_its_own_first_event():
    kept = Kept()
    both = (route("agr-1", "acme"), route("agr-2", "globex"))
    kept.take(values(0, APRIL_MS, [(7, 1)], both[0]))
    kept.take(values(0, APRIL_MS + 1, [(8, 1)], *both))
    assert {(u.agreement_id, u.tenant_id, u.raw_offset) for u in kept.units.values()} == {
        ("agr-1", "acme", 7),
        ("agr-2", "globex", 8),
    }


def test_a_number_first_seen_before_metering_is_never_billed():
    kept = Kept()
    early = route(billing=Billing.BEFORE_METERING)
    kept.take(values(0, APRIL_MS - 1, [(7, 1)], early))
    kept.take(values(0, APRIL_MS, [(8, 1)]))
    [unit] = kept.units.values()
    assert (unit.billing, unit.metered_at) == (UnitBilling.BEFORE_METERING, APRIL_MS - 1)
    assert kept.tallied == {("agr-1", "2026-04", "not_first_event"): 1}


def test_an_earlier_event_that_comes_late_corrects_the_unit():
    kept = Kept()
    late = values(0, APRIL_MS + 40 * DAY_MS, [(9, 1)])
    early = values(0, APRIL_MS, [(7, 1)])
    assert kept.take(late) == 1
    assert kept.take(early) == 1
    [unit] = kept.units.values()
    assert (unit.metered_at, unit.raw_offset) == (APRIL_MS, 7)
    assert kept.tallied == {("agr-1", "2026-05", "not_first_event"): 1}


def test_copies_without_a_unit_are_tallied_by_month_and_reason():
    kept = Kept()
    owner = route("", "shipper", Billing.NO_COST_PARTY)
    kept.take(values(0, APRIL_MS - 1, [(1, 1), (2, 1)], owner))
    kept.take(values(0, APRIL_MS, [(3, 1)], owner, route("", "late", Billing.NO_AGREEMENT)))
    assert kept.units == {}
    assert kept.tallied == {
        ("", "2026-03", "no_cost_party"): 2,
        ("", "2026-04", "no_cost_party"): 1,
        ("", "2026-04", "no_agreement"): 1,
    }


def test_what_does_not_decode_is_told_and_tallied_and_stops_nothing():
    [good] = values(0, APRIL_MS, [(7, 1)])
    metered = meter([b"\0\0\0\0\x3c", None, good], lambda keys: [None for _ in keys])
    assert len(metered.units) == 1
    assert len(metered.unreadable) == 2
    assert metered.tallied == {("", "2026-04", UnitBilling.UNREADABLE): 2}


transactions = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), min_size=1, max_size=6),
        st.sampled_from(["agr-1", "agr-2"]),
    ),
    min_size=1,
    max_size=6,
)


@given(transactions, st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_any_order_and_repetition_of_facts_makes_the_same_units(drawn, random, at_once):
    # A raw position is decided once: (partition, offset) is made unique by the transaction.
    facts = [
        value
        for step, (partition, events, agreement) in enumerate(drawn)
        for value in values(
            partition,
            APRIL_MS + (step - 2) * DAY_MS * 10,
            [(offset * 10 + step, serial * 3 + partition) for offset, serial in events],
            route(agreement, billing=Billing.BEFORE_METERING if step < 2 else Billing.BILLABLE),
        )
    ]
    expected: dict[tuple[str, str], FirstEvent] = {}
    for fact in map(decode_fact, facts):
        for event in fact.events:
            place = FirstEvent(
                fact.decided_at, fact.raw_partition, event.raw_offset, event.channel, fact.billing
            )
            key = (fact.agreement_id, event.tracking_number)
            expected[key] = min(place, expected.get(key, place))
    shuffled = facts + random.sample(facts, random.randint(0, len(facts)))
    random.shuffle(shuffled)
    kept = Kept()
    for start in range(0, len(shuffled), at_once):
        kept.take(shuffled[start : start + at_once])
    assert {
        (u.agreement_id, u.tracking_number): (
            u.metered_at,
            u.raw_partition,
            u.raw_offset,
            u.billing,
        )
        for u in kept.units.values()
    } == {key: (*one[:3], one.billing) for key, one in expected.items()}


@given(transactions)
@settings(max_examples=100, deadline=None)
def test_metered_once_every_copy_is_a_unit_or_tallied(drawn):
    kept, copies = Kept(), 0
    for step, (partition, events, agreement) in enumerate(drawn):
        places = {offset * 10 + step: serial for offset, serial in events}
        facts = values(partition, APRIL_MS + step, places.items(), route(agreement))
        copies += len(places)
        kept.take(facts)
    assert len(kept.units) + sum(kept.tallied.values()) == copies
