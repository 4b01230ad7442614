"""The work of `midgate explain`: find the records, the rights as they were, and the copies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from midgate.delivery_search import CopySearch, RawPlace
from midgate.explanation import (
    Decided,
    Question,
    explain_barcode,
    explain_event,
    needs_label,
)
from midgate.label_reading import LabelSearch
from midgate.ledger_reading import LedgerLine, LedgerSearch, Recorded
from midgate.raw_search import OnProgress, Search, search
from midgate.reading import HERE_AND_THERE, partitions_of, position_of, reading, records_between
from midgate.rights_history import Moment, moment_of, snapshots_at
from streams.errors import InputError
from streams.index_keys import terms_of
from streams.instants import format_instant
from streams.raw_record import RawRecord

if TYPE_CHECKING:
    from midgate.restricted import Look
    from midgate.rights_session import Session
    from streams.index_keys import Term
    from streams.rights_snapshot import RightsSnapshot

GONE = "no longer recorded"
# Copies looked for; beyond it a row says so.
COPIES_MAX = 100


@dataclass(slots=True)
class Asked:
    """What the command line asked for. `at` empty: as decided, or for a number now."""

    what: str
    tenant: str
    channel: int
    at: str
    since_ms: int | None
    present_ms: int
    look: Look
    as_tenant: bool = False
    copies: int = field(default=0, init=False)


async def answer(session: Session, asked: Asked, on_progress: OnProgress) -> dict[str, Any]:
    """The answer to what was asked. Raises InputError."""
    from schemas.barcode import normalise
    from streams.index_keys import event_term, number_term

    place = position_of(asked.what)
    event = event_term(asked.what.strip().lower())
    term = event or number_term(normalise(asked.what).encode("ascii", "replace"))
    if asked.as_tenant:
        return await tell_tenant(session, asked, term, on_progress)
    if place is not None:
        return await explain_position(session, asked, place)
    if event is not None:
        return await explain_event_id(session, asked, event, on_progress)
    return await explain_number(session, asked, term, on_progress)


async def explain_number(
    session: Session, asked: Asked, term: Term, on_progress: OnProgress
) -> dict[str, Any]:
    """A number: what would become of an event of it, and what became of those recorded."""
    moment = await moment_of(session, asked.at, asked.present_ms)
    snapshot = (await snapshots_at(session, [moment.version]))[moment.version]
    question = Question(asked.tenant, asked.channel, moment.now_ms)
    explained = explain_barcode(asked.what, snapshot, question)
    found = await search(session.settings, term, asked.since_ms, on_progress)
    events = await explain_records(session, asked, found.records)
    return {**explained, "events": events, "search": found.as_record()}


async def explain_event_id(
    session: Session, asked: Asked, term: Term, on_progress: OnProgress
) -> dict[str, Any]:
    """An event id: every record that is most likely that scan."""
    found = await search(session.settings, term, asked.since_ms, on_progress)
    if not found.records and not found.complete:
        raise InputError(f"{asked.what} was {found.note}", hint="--since INSTANT, or the index")
    events = await explain_records(session, asked, found.records)
    shown: dict[str, Any] = {"input": asked.what, "events": events, "search": found.as_record()}
    return {**shown, **_outcome(events, found)}


def _outcome(events: Sequence[dict[str, Any]], found: Search) -> dict[str, str]:
    if events:
        outcomes = {event["outcome"] for event in events}
        outcome = "delivered" if "delivered" in outcomes else events[0]["outcome"]
        return {"outcome": outcome, "reason": events[0]["reason"]}
    if found.recorded_from:
        reason = f"nothing received since {found.recorded_from}; what came before is {GONE}"
        return {"outcome": GONE, "reason": reason}
    return {"outcome": "unknown", "reason": f"no such event received since {found.since}"}


async def explain_position(
    session: Session, asked: Asked, place: tuple[int, int]
) -> dict[str, Any]:
    """A raw position. Raises InputError for one that raw has not reached, or that is no record."""
    topic = session.settings.layout.topics.raw
    partition, offset = place
    async with reading(session.settings.kafka) as consumer:
        places = {one.partition: one for one in await partitions_of(consumer, topic)}
        if partition not in places:
            raise InputError(f"{topic} has no partition {partition}", hint="PARTITION:OFFSET")
        where = places[partition]
        consumer.assign([where])
        begin = (await consumer.beginning_offsets([where]))[where]
        end = (await consumer.end_offsets([where]))[where]
        if offset < begin:
            return gone(f"{partition}:{offset}", f"raw {partition} begins at offset {begin}")
        records: list[RawRecord] = []
        if offset < end:
            records = [
                RawRecord(one.partition, one.offset, one.timestamp, one.key, one.value)
                for one in await records_between(consumer, where, offset, offset + 1)
            ]
            begin = (await consumer.beginning_offsets([where]))[where]
            if not records and offset < begin:
                return gone(f"{partition}:{offset}", f"raw {partition} begins at offset {begin}")
    if not records:
        raise InputError(
            f"{topic} has no record at {partition}:{offset}",
            hint=f"partition {partition} holds offsets {begin} to {end - 1}",
        )
    return (await explain_records(session, asked, records))[0]


def gone(what: str, detail: str) -> dict[str, Any]:
    """What is said of something that retention has taken."""
    return {"input": what, "outcome": GONE, "reason": detail, "events": [], "delivered": []}


async def explain_records(
    session: Session, asked: Asked, records: Sequence[Any]
) -> list[dict[str, Any]]:
    """Each raw record as it was decided (or, with `at`, as it would have been), and its copies."""
    if not records:
        return []
    effective = session.settings
    await asked.look.record(effective, effective.layout.topics.raw, records)
    async with AsyncExitStack() as stack:
        consumer, of_labels = [
            await stack.enter_async_context(reading(effective.kafka, **HERE_AND_THERE))
            for _ in range(2)
        ]
        ledger = LedgerSearch(consumer, effective.layout.topics.ledger)
        entries = [await ledger.find(record) for record in records]
        moment = await moment_of(session, asked.at or "now", asked.present_ms)
        decisions = [_decided(asked, one, moment) for one in entries]
        snapshots = await snapshots_at(session, [one.version for one in decisions])
        work = _Explaining(
            session, asked, ledger, LabelSearch(effective, of_labels), CopySearch(consumer)
        )
        return [
            await work.event(record, entry, decided, snapshots[decided.version])
            for record, entry, decided in zip(records, entries, decisions, strict=True)
        ]


@dataclass(slots=True)
class _Explaining:
    """What explaining some events shares."""

    session: Session
    asked: Asked
    ledger: LedgerSearch
    labels: LabelSearch
    copies: CopySearch

    async def event(
        self, record: Any, entry: Recorded, decided: Decided, snapshot: RightsSnapshot
    ) -> dict[str, Any]:
        """One raw record, with its label, what became of a wait for it, and its copies."""
        asked, line = self.asked, entry.line
        is_as_decided = line is not None and not asked.at
        position = line.entry["label_position"] if line is not None and is_as_decided else None
        event = await self._decided(record, snapshot, decided, position)
        event["decided"]["recorded"] = entry.absent or "yes"
        if entry.absent == "gone":
            sentence = event["decided"]["sentence"]
            event["decided"]["sentence"] = f"when it was decided is {GONE}; {sentence}"
        copies = event["tenants"]
        if line is not None and is_as_decided and needs_label(event):
            event, copies = await self._waited(record, event, line)
        event["delivered"] = await self._copies(record, copies) if is_as_decided else []
        if asked.look.reveal:
            event["restricted"] = _restricted(record)
        return event

    async def _decided(
        self, record: Any, snapshot: RightsSnapshot, decided: Decided, position: int | None
    ) -> dict[str, Any]:
        """The decision; labels below `position`, None: those recorded by then, are looked up."""
        question = Question(self.asked.tenant, self.asked.channel, decided.at_ms)
        event = explain_event(record, snapshot, decided, question)
        if needs_label(event):
            pic = terms_of(record)[0]
            history = await self.labels.history(record.partition, pic, position, decided.at_ms)
            event = explain_event(record, snapshot, decided, question, history)
        return event

    async def _waited(
        self, record: Any, first: dict[str, Any], line: LedgerLine
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The event with what its wait for a label led to, and all tenants' outcomes."""
        held = await self.ledger.held(record, line)
        ended = held.line
        if held.state != "decided_anew" or ended is None:
            return {**first, "held": {"state": held.state}}, first["tenants"]
        decided = Decided.by(ended.entry)
        snapshot = (await snapshots_at(self.session, [decided.version]))[decided.version]
        anew = await self._decided(record, snapshot, decided, ended.entry["label_position"])
        anew["decided"]["recorded"] = "yes"
        anew["held"] = {"state": held.state, "first": first["decided"], "tenants": first["tenants"]}
        # Who got it at once got it then, and gets nothing more.
        at_once = [row for row in first["tenants"] if row["outcome"] == "delivered"]
        names = {row["tenant"] for row in at_once}
        tenants = at_once + [row for row in anew["tenants"] if row["tenant"] not in names]
        return {**anew, "tenants": tenants}, tenants

    async def _copies(self, record: Any, tenants: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Where the copy of each tenant that was allowed stands."""
        raw = RawPlace(record.partition, record.offset, record.timestamp)
        copies: list[dict[str, Any]] = []
        for row in tenants:
            if row["outcome"] != "delivered":
                continue
            self.asked.copies += 1
            if self.asked.copies > COPIES_MAX:
                detail = f"the bound of {COPIES_MAX} copies is reached; ask for one position"
                copies.append({"tenant": row["tenant"], "found": "not_searched", "detail": detail})
            else:
                tenant = self.session.rights.tenants[row["tenant"]]
                copies.append(await self.copies.find(tenant, raw))
        return copies


def _decided(asked: Asked, entry: Recorded, moment: Moment) -> Decided:
    if entry.line is None or asked.at:
        return Decided(moment.now_ms, moment.version, "")
    return Decided.by(entry.line.entry)


def _restricted(record: Any) -> Any:
    from schemas.codec import MalformedRecordError, UnknownFrameError, decode

    try:
        return decode(bytes(record.value or b""))[1]["restricted"]
    except (MalformedRecordError, UnknownFrameError):
        return None


async def tell_tenant(
    session: Session, asked: Asked, term: Term, on_progress: OnProgress
) -> dict[str, Any]:
    """What the tenant may hear: of a number by its own rights alone, of an event only its own.

    A position or event id that was not delivered to the tenant is answered like one that is not.
    """
    from schemas.reasons import Reason
    from streams.tenant_vocabulary import SENTENCES, TenantAnswer, answer_for

    place = position_of(asked.what)
    said = TenantAnswer.NOTHING_TO_TELL
    copies: list[dict[str, Any]] = []
    if place is None and not term.event:
        moment = await moment_of(session, asked.at, asked.present_ms)
        snapshot = (await snapshots_at(session, [moment.version]))[moment.version]
        question = Question(asked.tenant, asked.channel, moment.now_ms)
        explained = explain_barcode(asked.what, snapshot, question)
        if explained["outcome"] != "quarantined" and explained["barcode"]["mid"]:
            said = answer_for(Reason(explained["reason"]))
    else:
        for event in await _own_events(session, asked, place, term, on_progress):
            copies += [one for one in event["delivered"] if one["found"] == "yes"]
        if copies:
            said = TenantAnswer.DELIVERED
    return {
        "input": asked.what,
        "tenant": asked.tenant,
        "at": format_instant(asked.present_ms) if not asked.at else asked.at,
        "answer": said.value,
        "sentence": SENTENCES[said],
        "delivered": [
            {name: one[name] for name in ("topic", "partition", "offset")} for one in copies
        ],
    }


async def _own_events(
    session: Session,
    asked: Asked,
    place: tuple[int, int] | None,
    term: Term,
    on_progress: OnProgress,
) -> list[dict[str, Any]]:
    asked.at = ""  # what was delivered was delivered as it was decided
    if place is not None:
        try:
            return [await explain_position(session, asked, place)]
        except InputError:
            return []
    found = await search(session.settings, term, asked.since_ms, on_progress)
    return await explain_records(session, asked, found.records)
