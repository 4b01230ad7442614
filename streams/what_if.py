"""[core] What would change for whom, if the rights were others: events decided twice, and compared.

Both decisions are of one instant, so the difference is that of the rights alone. Labels are not
known here: what rests on one is counted apart, never guessed.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field

from schemas.barcode import judge_number
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.event_reader import walk_event
from schemas.reasons import Reason
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
    """Events decided under `before` and `after`, at `now_ms`; only of `mids`, the ones touched."""

    def __init__(
        self, before: RightsSnapshot, after: RightsSnapshot, now_ms: int, mids: Container[bytes]
    ) -> None:
        self._before = before
        self._after = after
        self._now_ms = now_ms
        self._mids = mids
        self.events = 0
        self.by_label: Counter[str] = Counter()
        """Events not compared whole: `owner` named only by a label, `right` resting on one."""
        self.tenants: dict[str, Difference] = {}

    def look(self, record: RawFields) -> None:
        """Take one raw record into account; what cannot be read changes for nobody."""
        self.events += 1
        try:
            facts = walk_event(record[4] or b"")
        except (UnknownFrameError, MalformedRecordError):
            return
        _, mid, _, reason = judge_number(facts[0])
        channel = facts[5]
        if reason == Reason.LABEL_NEEDED:
            self.by_label["owner"] += 1
        if not channel or mid not in self._mids:
            return
        had, gets = (
            rights.plan(mid, channel, self._now_ms).for_event(facts[2], facts[3], None)
            for rights in (self._before, self._after)
        )
        if had.awaits_label != gets.awaits_label:
            self.by_label["right"] += 1
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
