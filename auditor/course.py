"""[core] The way through raw: entry by entry of the ledger, with the rights of each.

Taken twice: by the first look, which compares everything as it comes, and by the second, which
goes only where something was left open.

What an entry decides anew or gives up is named in the entry of its stretch, which may hold no raw
offset beside that.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from auditor.contents import Contents, Partition, Record, Share
from auditor.expected import Decider
from auditor.findings import FindingKind, Findings, RawPosition
from auditor.labels import Labels
from auditor.ledger import Entry, check_registration, in_order
from auditor.log import Replay
from auditor.tally import Tally

# So far ahead, raw is read on; further, it is read anew from there.
READ_ON_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Raw offsets that one entry decided and no entry before it in the ledger did, maybe none.

    `decider` is at the entry's version and instant; None where no rights can be found for it.
    """

    entry: Entry
    start: int
    end: int
    decider: Decider | None


@dataclass(slots=True)
class Course:
    """Goes through a share of the ledger once; findings about single entries are made on the way.

    An entry under a version that the replay has passed (found already: the version went back) is
    decided on a replay of its own, which begins the log anew.
    """

    contents: Contents
    share: Share
    last: Replay
    findings: Findings
    tally: Tally
    labels: Labels
    decided_to: dict[int, int] = field(default_factory=dict)
    _registered: set[tuple[str, str]] = field(default_factory=set)
    _registered_at: tuple[int, int] = (-1, -1)
    _deciders_made: int = 0

    def stretches(self) -> Iterator[Stretch]:
        """Every stretch, in the order in which the log is replayed."""
        ahead, behind = self._new_decider(), self._new_decider()
        for entry in in_order(self.contents.ledger, self.share):
            start = max(entry.raw_from, self.decided_to.get(entry.partition, 0))
            self.decided_to[entry.partition] = max(start, entry.raw_next)
            decider: Decider | None = ahead
            if entry.log_id != self.last.rights.log_id:
                decider = None
            elif entry.version < ahead.replay.rights.version:
                if entry.version < behind.replay.rights.version:
                    behind.forget()
                    behind = self._new_decider()
                decider = behind
            if decider is not None and not self._reaches(decider, entry):
                decider = None
            if start < entry.raw_next or entry.decided_anew or entry.given_up:
                yield Stretch(entry, start, max(start, entry.raw_next), decider)
        ahead.forget()
        behind.forget()

    def _new_decider(self) -> Decider:
        replay = Replay(self.contents.log)
        self._deciders_made += 1
        contents = self.contents
        return Decider(
            replay,
            contents.app_id,
            self.labels,
            contents.scope.tenant,
            number=self._deciders_made,
            tally=self.tally,
        )

    def _reaches(self, decider: Decider, entry: Entry) -> bool:
        """Bring a decider to an entry's version; False, with a finding, if that cannot be."""
        topic = self.contents.ledger.name
        # The log's own problems were found by the replay to the end.
        silent = Findings()
        if entry.version > self.last.end or not decider.replay.advance(entry.version, silent):
            self.findings.add(
                FindingKind.LEDGER_FUTURE_VERSION,
                f"decided with version {entry.version}; the log can be applied up to "
                f"{self.last.rights.version}",
                topic=topic,
                partition=entry.partition,
                offset=entry.offset,
                raw=RawPosition(entry.partition, entry.raw_from),
            )
            return False
        decider.begin(entry.version, entry.decided_at, entry.label_position)
        registrations = decider.replay.rights.registrations
        present = (decider.number, decider.replay.verdicts.get("accepted", 0))
        if present != self._registered_at:
            self._registered_at = present
            self._registered.clear()
        name = (entry.deliverer, entry.registration)
        if name not in self._registered and check_registration(
            topic, entry, registrations, self.findings
        ):
            self._registered.add(name)
        return True


class RawReader:
    """Reads one raw partition forward, once, in slices."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._pieces = partition.pieces()
        self._piece: list[Record] = []
        self._at = 0

    def up_to(self, end: float) -> Iterator[list[Record]]:
        """What was not handed out yet and lies below `end`."""
        while self._at < len(self._piece) or self._next_piece():
            piece, at = self._piece, self._at
            if piece[at].offset >= end:
                return
            self._at = _index(piece, end) if piece[-1].offset >= end else len(piece)
            yield piece[at : self._at]

    def at(self, offset: int) -> Record | None:
        """The record at an offset, if there is one; asked in rising order."""
        if not self._piece or offset > self._piece[-1].offset + READ_ON_MAX:
            self._pieces = self._partition.pieces(offset)
            self._piece = next(self._pieces, [])
        while self._piece and offset > self._piece[-1].offset and self._next_piece():
            pass
        at = _index(self._piece, offset)
        found = at < len(self._piece) and self._piece[at].offset == offset
        return self._piece[at] if found else None

    def rest(self) -> Iterator[list[Record]]:
        """All that was not handed out yet."""
        return self.up_to(inf)

    def _next_piece(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._piece, self._at = piece, 0
        return True


def _index(piece: list[Record], offset: float) -> int:
    return bisect_left(piece, offset, key=lambda record: record.offset)
