"""[core] What would change for whom, if the rights were others: events decided twice, and compared.

Both decisions are of one instant and of the same labels, so the difference is that of the rights
alone. An event whose label is not known goes to nobody under either; it is counted apart.
"""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from schemas.barcode import judge_number
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.event_reader import walk_event
from schemas.reasons import Reason
from streams.label_lookup import Find, LabelLookup, numbers_asked_for
from streams.plans import EventRoutes
from streams.raw_record import RawFields
from streams.rights_snapshot import RightsSnapshot

EXAMPLES_MAX = 5


@dataclass(slots=True)
class Difference:
    """For one tenant: events it would get, or get no longer; `personal`: only the restricted part.

    Examples are position, number and channel index of the first ones.
    """

    gained: int = 0
    lost: int = 0
    personal_gained: int = 0
    personal_lost: int = 0
    examples: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)

    def count(self, what: str, example: tuple[str, str, int]) -> None:
        """One more event."""
        setattr(self, what, getattr(self, what) + 1)
        kept = self.examples.setdefault(what, [])
        if len(kept) < EXAMPLES_MAX:
            kept.append(example)


class WhatIf:
    """Events decided under `before` and `after`, at `now_ms`; only of `mids`, the ones touched.

    `find` answers from the labels at one position.
    """

    def __init__(
        self,
        before: RightsSnapshot,
        after: RightsSnapshot,
        now_ms: int,
        mids: Container[bytes],
        find: Find,
    ) -> None:
        self._before = before
        self._after = after
        self._now_ms = now_ms
        self._mids = mids
        self._find = find
        self.events = 0
        self.unlabelled: Counter[str] = Counter()
        """Events without a label: to name the `owner`, or for a `right` that would differ."""
        self.tenants: dict[str, Difference] = {}

    def look(self, records: Sequence[RawFields]) -> None:
        """Take raw records into account; what cannot be read changes for nobody."""
        lookup = LabelLookup(self._find)
        lookup.expect(numbers_asked_for(records))
        for record in records:
            self._look(record, lookup)

    def _look(self, record: RawFields, lookup: LabelLookup) -> None:
        self.events += 1
        value = record[4] or b""
        try:
            facts = walk_event(value)
        except (UnknownFrameError, MalformedRecordError):
            return
        _, mid, pic, reason = judge_number(facts[0])
        channel, label = facts[5], None
        if reason == Reason.LABEL_NEEDED:
            label = lookup.covering(record[0], pic, value, facts[2], facts[3]).label
            if label is None:
                self.unlabelled["owner"] += 1
                return
            mid = label.mid.encode()
        if not channel or mid not in self._mids:
            return
        plans = [rights.plan(mid, channel, self._now_ms) for rights in (self._before, self._after)]
        if label is None and any(plan.per_event for plan in plans):
            label = lookup.covering(record[0], pic, value, facts[2], facts[3]).label
        had, gets = (plan.for_event(facts[2], facts[3], label) for plan in plans)
        if had.awaits_label != gets.awaits_label:
            self.unlabelled["right"] += 1
        example = (f"{record[0]}:{record[1]}", facts[0].decode("utf-8", "replace"), channel)
        self._compare(_uncut(had), _uncut(gets), example)

    def _compare(
        self, had: dict[str, bool], gets: dict[str, bool], example: tuple[str, str, int]
    ) -> None:
        for tenant in had.keys() | gets.keys():
            if tenant not in had:
                what = "gained"
            elif tenant not in gets:
                what = "lost"
            elif had[tenant] != gets[tenant]:
                what = "personal_gained" if gets[tenant] else "personal_lost"
            else:
                continue
            self.tenants.setdefault(tenant, Difference()).count(what, example)


def _uncut(routes: EventRoutes) -> dict[str, bool]:
    """By tenant that gets it, whether uncut."""
    return {route.tenant_id: route.right.restricted for route in routes.routes}
