"""[core] From facts to units: the first event of each tracking number under each agreement.

Events of a number under an agreement are ordered by when they were decided, then by their place in
raw. The least of them makes the unit, whatever order facts come in and however often: a lesser one
that comes later replaces the unit under the same key. Every other event is counted as
`not_first_event`, once for each time it is metered: so a fact is metered once (its position says
whether it was), and only units bear being metered again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from schemas.codec import MalformedRecordError
from schemas.reasons import UnitBilling
from streams.usage_records import (
    CHANNELS,
    EVENT,
    FirstEvent,
    UsageFact,
    UsageUnit,
    decode_fact,
    month_of,
    usage_key,
)

Find = Callable[[Sequence[bytes]], Sequence[bytes | None]]
"""Packed `FirstEvent`s of keys that are known; None where there is none."""

Tallied = tuple[str, str, UnitBilling]
"""Agreement (empty: none), month, reason."""


class Metered(NamedTuple):
    """What facts make: units by key (new, or corrected), and copies that made none."""

    first: dict[bytes, FirstEvent]
    units: list[UsageUnit]
    tallied: Counter[Tallied]
    decided_at: int
    unreadable: list[str]


def meter(values: Iterable[bytes | None], find: Find) -> Metered:
    """Meter the values of facts, in their order, on top of what `find` knows.

    A value that does not decode is tallied as UNREADABLE, under no agreement, and its problem is in
    `unreadable`. Raises UnknownFrameError for what a newer version wrote.
    """
    facts: list[UsageFact] = []
    unreadable: list[str] = []
    for value in values:
        try:
            facts.append(decode_fact(value))
        except MalformedRecordError as error:
            unreadable.append(str(error))
    tallied: Counter[Tallied] = Counter()
    latest = max((fact.decided_at for fact in facts), default=0)
    if unreadable:
        tallied["", month_of(latest), UnitBilling.UNREADABLE] += len(unreadable)
    offered: dict[bytes, tuple[FirstEvent, UsageFact, str]] = {}
    for fact in facts:
        if not fact.events:
            tallied[fact.agreement_id, month_of(fact.decided_at), fact.billing] += fact.copies
        else:
            _offer(fact, offered, tallied)
    first: dict[bytes, FirstEvent] = {}
    units: list[UsageUnit] = []
    # Sorted keys are found, and written, about twice as fast.
    keys = sorted(offered)
    for key, known in zip(keys, find(keys), strict=True):
        event, fact, number = offered[key]
        if known is not None:
            stands = FirstEvent.unpacked(known)
            if event[:3] == stands[:3]:
                continue
            later = max(event, stands)
            tallied[fact.agreement_id, month_of(later.metered_at), UnitBilling.NOT_FIRST_EVENT] += 1
            if later is event:
                continue
        first[key] = event
        units.append(_unit(fact, event, number))
    return Metered(first, units, tallied, latest, unreadable)


def _offer(
    fact: UsageFact,
    offered: dict[bytes, tuple[FirstEvent, UsageFact, str]],
    tallied: Counter[Tallied],
) -> None:
    """Keep the least event of each number of this batch; count all others."""
    at, partition, billing = fact.decided_at, fact.raw_partition, fact.billing
    prefix = usage_key(fact.agreement_id, EVENT, "")
    not_first = 0
    for number, channel, offset in fact.events:
        key = prefix + number.encode()
        known = offered.get(key)
        if known is not None:
            event = FirstEvent(at, partition, offset, channel, billing)
            if event[:3] == known[0][:3]:
                continue
            if known[0] < event:
                not_first += 1
                continue
            displaced = month_of(known[0].metered_at)
            tallied[fact.agreement_id, displaced, UnitBilling.NOT_FIRST_EVENT] += 1
            offered[key] = (event, fact, number)
        else:
            offered[key] = (FirstEvent(at, partition, offset, channel, billing), fact, number)
    if not_first:
        tallied[fact.agreement_id, month_of(at), UnitBilling.NOT_FIRST_EVENT] += not_first


def _unit(fact: UsageFact, event: FirstEvent, number: str) -> UsageUnit:
    return UsageUnit(
        fact.agreement_id,
        fact.tenant_id,
        "EVENT",
        event.billing,
        CHANNELS[event.channel],
        event.metered_at,
        number,
        "",
        event.raw_partition,
        event.raw_offset,
    )
