"""[core] All that one batch knows of labels and of events that wait for one."""

from collections.abc import Sequence
from dataclasses import dataclass

from streams.holds import Held, Room
from streams.label_lookup import LabelLookup
from streams.raw_record import RawFields, RawRecord


@dataclass(slots=True)
class LabelDesk:
    """Labels of one position, and held events as they were when the last batch was committed.

    `due`: held events that a label of this position covers, or that are ambiguous at it; those of
    one number in order of raw offset. `overdue`: others whose deadline is reached. `room`: how many
    more may be held; `hold_ms`: for how long. `is_last`: nothing is due beyond `due`, so events of
    raw may follow.
    """

    lookup: LabelLookup
    due: Sequence[Held]
    overdue: Sequence[Held]
    room: Room
    hold_ms: int
    is_last: bool = True

    def waiting(self, record: RawFields, pic: bytes, now_ms: int) -> Held:
        """The event, held from now on."""
        return Held(pic, RawRecord(*record), now_ms + self.hold_ms)
