"""[core] Events of which only a label, or the event itself, says who may have them.

Off the hot path: an event whose number names its owner, and whose plan is final, never comes here.
What waits for its label is decided before anything of raw, and nothing is placed in part.
"""

from schemas.barcode import judge_number
from schemas.event_reader import EventFields, walk_event
from schemas.reasons import Reason
from streams.batch_output import COPY_OVERHEAD_BYTES, Batch
from streams.decision import by_token
from streams.holds import Held, hold_bytes
from streams.label_desk import LabelDesk
from streams.label_facts import NO_LABEL, LabelEntry
from streams.label_lookup import LabelLookup
from streams.plans import Plan, Routes
from streams.raw_record import RawFields
from streams.rights_snapshot import RightsSnapshot

_LABEL_NEEDED = Reason.LABEL_NEEDED.value


def by_label(
    batch: Batch,
    record: RawFields,
    value: bytes,
    facts: EventFields,
    pic: bytes,
    context: tuple[RightsSnapshot, int, LabelDesk],
) -> bool:
    """Decide an event whose owner only a label names, if any; False where the batch is full.

    Where nothing but the window counts, and no right asks for the event, the hot path has done it.
    """
    snapshot, now_ms, desk = context
    label, reason = desk.lookup.covering(record[0], pic, value, facts[2], facts[3])
    if reason is Reason.LABEL_NEEDED:
        return deliver_and_hold(
            batch, record, value, facts, pic, (), desk.waiting(record, pic, now_ms), desk
        )
    if label is None:
        batch.withheld[reason.value] += 1
        return True
    plan = snapshot.plan(label.mid.encode(), facts[5], now_ms)
    routes, reason, _ = plan.for_event(facts[2], facts[3], label)
    if not routes:
        batch.withheld[reason.value] += 1
        return True
    return batch.deliver(record, value, facts, pic, routes, _named(label))


def by_event(
    batch: Batch,
    record: RawFields,
    value: bytes,
    facts: EventFields,
    pic: bytes,
    plan: Plan,
    now_ms: int,
    desk: LabelDesk | None,
) -> bool:
    """Decide an event of a number that names its owner, where the event itself counts: its
    time, or its label. Who waits for the label gets it late; False where the batch is full."""
    found = NO_LABEL
    if desk is not None and _asks_label(plan):
        found = desk.lookup.covering(record[0], pic, value, facts[2], facts[3])
    routes, reason, awaits = plan.for_event(facts[2], facts[3], found.label)
    if awaits and desk is not None and found.reason is Reason.LABEL_NEEDED:
        if not routes:
            batch.withheld[reason.value] += 1
        held = desk.waiting(record, pic, now_ms)._replace(awaits=awaits)
        return deliver_and_hold(batch, record, value, facts, pic, routes, held, desk)
    if not routes:
        batch.withheld[reason.value] += 1
        return True
    return batch.deliver(record, value, facts, pic, routes)


def deliver_and_hold(
    batch: Batch,
    record: RawFields,
    value: bytes,
    facts: EventFields,
    pic: bytes,
    routes: Routes,
    held: Held,
    desk: LabelDesk,
) -> bool:
    """Deliver to whom may have it now, and let it wait for the rest, or, without room, for
    nobody; False, and neither done, where the batch is full."""
    has_room = desk.room.takes(held)
    size = hold_bytes(held) if has_room else 0
    fits = (
        batch.deliver(record, value, facts, pic, routes, more_bytes=size)
        if routes
        else batch.takes(size)
    )
    if not fits:
        if has_room:
            desk.room.give_back(held)
        return False
    if has_room:
        batch.holds.added.append(held)
    else:
        batch.holds.unheld.append(held.place)
        if not routes:
            batch.withheld[_LABEL_NEEDED] += 1
    return True


def decide_held(batch: Batch, snapshot: RightsSnapshot, now_ms: int, desk: LabelDesk) -> bool:
    """Decide anew what has got its label, then give up what is overdue.

    False where the batch is full: then nothing else may be decided in it, as a later event of
    the same number must not overtake.
    """
    for held in desk.due:
        if not decide_anew(batch, held, snapshot, now_ms, desk):
            return False
        batch.holds.decided.append(held)
    for held in desk.overdue:
        if not batch.takes(COPY_OVERHEAD_BYTES):
            return False
        if not held.awaits:
            batch.withheld[_LABEL_NEEDED] += 1
        batch.holds.given_up.append(held)
    return desk.is_last


def decide_anew(
    batch: Batch, held: Held, snapshot: RightsSnapshot, now_ms: int, desk: LabelDesk
) -> bool:
    """Decide one event that is due, for the tenants that wait; False where the batch is full.

    The null that ends the hold is not counted in the bytes out: it is small, and their number
    is bounded (`HeldEvents`).
    """
    record = held.record
    value = record.value or b""
    facts = walk_event(value)
    _, mid, pic, _ = judge_number(facts[0])
    label, reason = desk.lookup.covering(record[0], pic, value, facts[2], facts[3])
    routes: Routes = ()
    if label is not None:
        plan = snapshot.plan(mid or label.mid.encode(), facts[5], now_ms)
        routes, reason, _ = plan.for_event(facts[2], facts[3], label)
    if held.awaits:
        # The others have had it, or had no right to it when it came.
        routes = tuple([route for route in routes if route.tenant_id in held.awaits])
    if routes:
        # The header says which label named the owner: none where the number does.
        named = b"" if mid or label is None else _named(label)
        return batch.deliver(record, value, facts, pic, routes, named)
    if not held.awaits:
        batch.withheld[reason.value] += 1
    return True


def _named(label: LabelEntry) -> bytes:
    """The label that counted, as the header says it."""
    return f"{label.index}:{label.label_id}".encode()


def _asks_label(plan: Plan) -> bool:
    """Whether a right of the plan rests on the label."""
    return any(by_token(option.standing.grant) for options in plan.options for option in options)


def is_covered(held: Held, lookup: LabelLookup) -> bool:
    """Whether a held event has to be decided anew: a label covers it, or two make it ambiguous."""
    partition, _, _, _, value, _ = held.record
    facts = walk_event(value or b"")
    found = lookup.covering(partition, held.pic, value or b"", facts[2], facts[3])
    return found.reason is not Reason.LABEL_NEEDED
