"""`grant plan`: recent raw events decided under the rights as they are, and as they would be."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from midgate.reading import fetched, partitions_of
from streams.changes import grant_change, grant_end_change, revocation_change, revoked_scope
from streams.errors import InputError
from streams.facts import CHANNELS
from streams.instants import format_instant
from streams.structure import body_problems
from streams.what_if import Difference, WhatIf

if TYPE_CHECKING:
    from midgate.rights_session import Session
    from streams.grant_csv import GrantRow
    from streams.label_feed import LabelFeed
    from streams.rights import Rights
    from streams.settings import Settings

STEP_RECORDS_MAX = 10_000
ACTOR = "plan"
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """What would be taken away: a grant, or every right of a tenant to a MID or CRID."""

    grant_id: str = ""
    tenant: str = ""
    mid: str = ""
    crid: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether it is one of both, whole."""
        if self.grant_id:
            return not (self.tenant or self.mid or self.crid)
        return bool(self.tenant) and bool(self.mid) != bool(self.crid)


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes that are tried and not made. `touched`: every MID that they are about."""

    rights: Rights
    touched: frozenset[bytes]
    notes: list[str] = field(default_factory=list)


def tried(session: Session, rows: Sequence[GrantRow], ended: Sequence[Ended], now_ms: int) -> Plan:
    """A copy of the rights with the changes in it. Raises InputError for one that would be void."""
    from streams.rights import Rights

    rights = Rights.load(session.rights.dump())
    touched: set[str] = set()
    notes: list[str] = []
    later = sum(row.body["effective_from"] > now_ms for row in rows)
    if later:
        notes.append(f"{later} of the grants count only later: --at an instant shows them then")
    for row in rows:
        base = rights.subjects.get(f"grant/{row.body['grant_id']}", -1)
        _apply(rights, now_ms, grant_change(row.body, base=base, **_stamp()), f"line {row.line}")
        touched |= _mids(rights, row.body["mid"], row.body["crid"])
    for one in ended:
        touched |= _end(rights, one, now_ms)
    return Plan(rights, frozenset(mid.encode() for mid in touched), notes)


def _end(rights: Rights, one: Ended, now_ms: int) -> set[str]:
    """Try one revocation; the MIDs that it is about."""
    if not one.grant_id:
        scope = revoked_scope(one.tenant, mid=one.mid, crid=one.crid)
        for field_name, expected in body_problems("REVOCATION", scope):
            raise InputError(f"{field_name} of {one} is wrong", hint=f"expected {expected}")
        _apply(rights, now_ms, revocation_change(scope, **_stamp()), f"revoking {one.tenant}")
        if one.crid and one.crid not in rights.crids:
            return set()
        return _mids(rights, one.mid, one.crid)
    grant = rights.grants.get(one.grant_id)
    if grant is None:
        raise InputError(
            f"grant {one.grant_id} is not known", hint="`midgate grant list` shows all"
        )
    _apply(rights, now_ms, grant_end_change(one.grant_id, **_stamp()), one.grant_id)
    return _mids(rights, grant.mid, grant.crid)


def _stamp() -> dict[str, Any]:
    return {"actor": ACTOR, "reason": "", "change_id": uuid.uuid4().bytes}


def _apply(rights: Rights, now_ms: int, change: bytes, what: str) -> None:
    applied = rights.apply(rights.version, now_ms, change)
    if applied.verdict != "accepted":
        raise InputError(
            f"{what}: the change would be {applied.verdict}", hint="`grant import --dry-run`"
        )


def _mids(rights: Rights, mid: str, crid: str) -> set[str]:
    return {mid} if mid else set(rights.crids[crid].mids)


async def compare(
    effective: Settings,
    session: Session,
    plan: Plan,
    window: tuple[int, int],
    on_progress: OnProgress,
) -> dict[str, Any]:
    """What of the raw events received since `window[0]` would change, decided at `window[1]`."""
    from streams import clients
    from streams.raw_fetcher import yield_raw_records

    since_ms, now_ms = window
    consumer = clients.consumer(effective.kafka, max_poll_records=STEP_RECORDS_MAX)
    await clients.start(consumer, effective.kafka)
    try:
        yield_raw_records(consumer)
        places = await partitions_of(consumer, effective.layout.topics.raw)
        ends = await consumer.end_offsets(places)
        found = await consumer.offsets_for_times(dict.fromkeys(places, max(0, since_ms)))
        starts = {
            place: ends[place] if found[place] is None else found[place].offset for place in places
        }
        total = sum(ends[place] - starts[place] for place in places)
        async with _labels(effective, [place.partition for place in places]) as labels:
            known = await _caught_up(labels, total, on_progress)
            rights = session.follower.snapshot(), plan.rights.snapshot(0.0)
            what_if = WhatIf(*rights, now_ms, plan.touched, labels.find)
            consumer.assign(places)
            for place in places:
                consumer.seek(place, starts[place])
            positions = dict(starts)
            while any(positions[place] < ends[place] for place in places):
                for place, records in (await fetched(consumer)).items():
                    what_if.look([one for one in records if one.offset < ends[place]])
                for place in places:
                    positions[place] = min(await consumer.position(place), ends[place])
                done = sum(positions.values()) - sum(starts.values())
                on_progress(known + done, known + total)
        begins = await consumer.beginning_offsets(places)
        cut = any(starts[place] <= begins[place] > 0 for place in places)
    finally:
        await consumer.stop()
    notes = list(plan.notes)
    if cut:
        notes.append("raw begins within the window: what came before is no longer recorded")
    return _report(what_if, since_ms, now_ms, notes)


@asynccontextmanager
async def _labels(effective: Settings, partitions: Sequence[int]) -> AsyncIterator[LabelFeed]:
    """The labels of all partitions, in the stores that `labels import` keeps."""
    from streams.label_feed import LabelFeed
    from streams.label_store import LabelStores

    topic, stores = effective.layout.topics.labels, LabelStores(effective.stores.data_dir)
    feed = LabelFeed(effective.kafka, topic, partitions, stores, purpose="registry")
    try:
        await feed.open()
        yield feed
    finally:
        await feed.close()


async def _caught_up(labels: LabelFeed, more: int, on_progress: OnProgress) -> int:
    """Read the labels to their present end; where that is. `more` is what is read after them."""
    await labels.catch_up({}, on_progress=lambda done, total: on_progress(done, total + more))
    return sum(labels.positions.values())


def _report(what_if: WhatIf, since_ms: int, now_ms: int, notes: list[str]) -> dict[str, Any]:
    without = what_if.unlabelled
    if without["right"]:
        notes.append(
            f"{without['right']:,} events have no label that counts; with one, it may change who"
            " gets them, and they are not counted"
        )
    if without["owner"]:
        notes.append(f"{without['owner']:,} events have no label to name their owner: nobody's")
    return {
        "since": format_instant(since_ms),
        "decided_at": format_instant(now_ms),
        "events": what_if.events,
        "tenants": [_row(name, one) for name, one in sorted(what_if.tenants.items())],
        "notes": notes,
    }


def _row(tenant: str, one: Difference) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "gained": one.gained,
        "lost": one.lost,
        "personal_gained": one.personal_gained,
        "personal_lost": one.personal_lost,
        "examples": {
            what: [
                {"position": position, "barcode": number, "channel": CHANNELS[channel].lower()}
                for position, number, channel in examples
            ]
            for what, examples in one.examples.items()
        },
    }


def window_of(hours: int, at_ms: int | None) -> tuple[int, int]:
    """First instant received, and the instant to decide at."""
    present_ms = int(time.time() * 1000)
    return present_ms - hours * 3_600_000, present_ms if at_ms is None else at_ms
