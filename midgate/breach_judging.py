"""What a replayed event says about a wrong grant: judged once, at the decision that decided it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.barcode import Owner, owner
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.event_id import event_id
from schemas.event_reader import EventFacts, read_event
from schemas.reasons import BarcodeVerdict, Reason
from streams.corrected_past import Breach, Found, compare, waits_for_label, would_have_waited
from streams.decision import Event, by_token
from streams.instants import format_instant

if TYPE_CHECKING:
    from streams.facts import Correction, Grant
    from streams.label_facts import Covering, LabelEntry
    from streams.label_lookup import LabelLookup
    from streams.rights_snapshot import RightsSnapshot

Row = dict[str, Any]


class Seen(NamedTuple):
    """A raw record that can be read."""

    record: Any
    value: bytes
    facts: EventFacts
    number: Owner


class Then(NamedTuple):
    """A decision of the past: the rights as they were, and the finding that covers it, if any.

    `mids`: what the wrong grant was about then. `knows_labels`: events could wait.
    """

    rights: RightsSnapshot
    mids: set[bytes]
    at_ms: int
    version: int
    knows_labels: bool
    finding: Correction | None


def read(record: Any) -> Seen | None:
    """None: it cannot be read, so it was nobody's."""
    value = bytes(record.value or b"")
    try:
        facts = read_event(value)
    except (MalformedRecordError, UnknownFrameError):
        return None
    return Seen(record, value, facts, owner(facts.barcode)) if facts.channel else None


class Judge:
    """Events of one raw partition, in the order of their decisions.

    What it remembers is what waits for this grant's tenant: no more than lanes hold.
    """

    def __init__(self, grant: Grant, *, has_tokens: bool, add: Callable[[Row], None]) -> None:
        self._grant = grant
        self.has_tokens = has_tokens
        """Whether a right of the tenant ever rested on a label."""
        self._add = add
        self._waiting: dict[int, bool] = {}
        """By raw offset, of events held: whether the tenant was among those that waited."""
        self._missed: dict[int, Row] = {}
        """Of these, what stands if the tenant does not get it in the end."""

    @property
    def is_open(self) -> bool:
        """Whether how a wait ended counts, whatever the findings cover."""
        return bool(self._missed)

    def concerns(self, seen: Seen, then: Then) -> bool:
        """Whether the event may have been the grant's."""
        return (
            seen.number.verdict is BarcodeVerdict.NO_OWNER
            or seen.number.mid in then.mids
            or seen.record.offset in self._waiting
        )

    def asks_label(self, seen: Seen) -> bool:
        """Whether owner or right may rest on the label."""
        return seen.number.verdict is BarcodeVerdict.NO_OWNER or self.has_tokens

    def rests_on_first(self, seen: Seen) -> bool:
        """Whether an event that waited cannot be judged without its first decision."""
        return seen.number.verdict is BarcodeVerdict.OWNED and self.has_tokens

    def first(self, seen: Seen, then: Then, lookup: LabelLookup, has_room: bool) -> None:
        """The decision about an event that has just come; without room it could not wait."""
        found = self._covering(seen, lookup)
        event = _event(seen, found.label)
        if event is None or event.mid.encode() not in then.mids:
            return
        differs = self._compare(event, then)
        had_it = differs is not None and differs.breach is not Breach.NOT_DELIVERED
        is_without = then.knows_labels and found.reason is Reason.LABEL_NEEDED
        if self.has_tokens and is_without and not had_it:
            candidates = then.rights.candidates(event.mid)
            waits = waits_for_label(
                event, then.at_ms, candidates, then.rights, self._grant, then.finding
            )
            if has_room and (waits.was or (waits.should and _is_held(event, then))):
                offset = seen.record.offset
                self._waiting[offset] = waits.was
                if differs is not None:
                    self._missed[offset] = self._row(seen, then, differs)
                return
            if has_room and waits.should:
                # As only the finding makes it wait, nothing else differs.
                differs = would_have_waited(event, then.at_ms, then.rights, self._grant)
        self._tell(seen, then, differs)

    def anew(self, seen: Seen, then: Then, lookup: LabelLookup) -> None:
        """The decision about an event that waited: what nobody's label covers is nobody's."""
        offset = seen.record.offset
        # Of a number that names no owner nobody has had anything, and everybody waits.
        waits_for_all = seen.number.verdict is BarcodeVerdict.NO_OWNER
        if not waits_for_all and offset not in self._waiting:
            return
        waited = self._waiting.pop(offset, True)
        missed = self._missed.pop(offset, None)
        event = _event(seen, self._covering(seen, lookup).label)
        if event is None or event.label is None or event.mid.encode() not in then.mids:
            differs, got = None, False
        else:
            got = waited and self._gets(event, then)
            differs = self._compare(event, then, waited=waited)
        if missed is not None and not got:
            self._add(missed)
        else:
            self._tell(seen, then, differs)

    def pass_over(self, offsets: Sequence[int]) -> list[int]:
        """Waits that ended where no finding covers; those that are to be judged all the same."""
        missed = [offset for offset in offsets if offset in self._missed]
        for offset in set(offsets).difference(missed):
            self._waiting.pop(offset, None)
        return missed

    def give_up(self, offsets: Iterable[int]) -> None:
        """Waits that ended without a label."""
        for offset in offsets:
            self._waiting.pop(offset, None)
            missed = self._missed.pop(offset, None)
            if missed is not None:
                self._add(missed)

    def close(self) -> None:
        """The end: what waits still has not been delivered."""
        self.give_up(list(self._missed))

    def _covering(self, seen: Seen, lookup: LabelLookup) -> Covering:
        from streams.label_facts import NO_LABEL

        if not self.asks_label(seen):
            return NO_LABEL
        facts = seen.facts
        return lookup.covering(
            seen.record.partition,
            seen.number.pic,
            seen.value,
            facts.event_time_ms,
            facts.time_basis,
        )

    def _compare(self, event: Event, then: Then, *, waited: bool = True) -> Found | None:
        if then.finding is None:
            return None
        candidates = then.rights.candidates(event.mid)
        return compare(
            event, then.at_ms, candidates, then.rights, self._grant, then.finding, waited=waited
        )

    def _gets(self, event: Event, then: Then) -> bool:
        return any(
            one.grant.tenant_id == self._grant.tenant_id and one.reason is Reason.ALLOWED
            for one in then.rights.explain(event, then.at_ms)
        )

    def _tell(self, seen: Seen, then: Then, differs: Found | None) -> None:
        holds_personal = len(seen.value) > seen.facts.restricted_at + 1
        if differs is None or (differs.breach.startswith("personal") and not holds_personal):
            return
        self._add(self._row(seen, then, differs))

    def _row(self, seen: Seen, then: Then, differs: Found) -> Row:
        assert then.finding is not None, "a difference follows from a finding"
        record, facts = seen.record, seen.facts
        holds_personal = len(seen.value) > facts.restricted_at + 1
        return {
            "kind": differs.breach.value,
            "tenant": self._grant.tenant_id,
            "barcode": facts.barcode.decode("utf-8"),
            "event_code": facts.event_code.decode("utf-8"),
            "event_time": format_instant(facts.event_time_ms),
            "facility_zip": facts.facility_zip.decode("utf-8"),
            "personal_data": "yes" if differs.personal_data and holds_personal else "no",
            "decided_at": format_instant(then.at_ms),
            "received": format_instant(record.timestamp),
            "position": f"{record.partition}:{record.offset}",
            "event_id": event_id(seen.number.pic, facts).hex(),
            "version": then.version,
            "under_grant": differs.under,
            "correction": then.finding.correction_id,
            "from": "",
            "to": "",
        }


def _event(seen: Seen, label: LabelEntry | None) -> Event | None:
    """What the decision reads; None where nothing names the owner."""
    mid = seen.number.mid.decode("ascii")
    if seen.number.verdict is BarcodeVerdict.NO_OWNER:
        if label is None:
            return None
        mid = label.mid
    facts = seen.facts
    return Event(mid, facts.channel, facts.event_time_ms, facts.time_basis, label)


def _is_held(event: Event, then: Then) -> bool:
    """Whether the event was made to wait for any tenant."""
    plan = then.rights.plan(event.mid.encode(), event.channel, then.at_ms)
    return bool(plan.for_event(event.time_ms, event.time_basis, event.label).awaits_label)


def has_token_grants(grants: Iterable[Grant], tenant_id: str) -> bool:
    """Whether a right of the tenant ever rested on a label."""
    return any(one.tenant_id == tenant_id and by_token(one) for one in grants)
