"""[core] What the judge reads: partitions with their ends, and their records in pieces.

The records of a partition are a plain list (tests), or something that reads them when asked
(`auditor/kafka_records.py`), so that the judge needs no more memory than the pieces in hand.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One committed record as a plain consumer sees it; times in milliseconds, UTC."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    append_time: bool = False


class Unread(Protocol):
    """Records that are read when they are asked for."""

    def pieces(self, start: int) -> Iterator[list[Record]]:
        """The records from `start` on, in order, in pieces of bounded size; ends with them."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked of the judge.

    `tenant`: only this tenant's topic. `since_ms`: raw received before it is context, for which
    nothing is found missing. `at_rest`: what is not decided yet counts as a finding.
    """

    tenant: str = ""
    since_ms: int | None = None
    at_rest: bool = True


@dataclass(slots=True)
class Partition:
    """A partition from its first retained offset to the end that is judged.

    `end` is a last stable offset; `high_watermark` lies above it while a transaction stays open.
    `start` is where reading begins: later than `begin` if what is older was not asked for.
    `settled` is the end of what must have reached every other topic by the time that *their* ends
    were taken (auditor/ends.py); None means all of it, as at rest.
    """

    begin: int = 0
    end: int = 0
    high_watermark: int = 0
    records: list[Record] | Unread = field(default_factory=list)
    start: int = 0
    settled: int | None = None

    def pieces(self, start: int = 0) -> Iterator[list[Record]]:
        """The records from the later of `start` and the partition's own on, in pieces."""
        first = max(start, self.start, self.begin)
        if not isinstance(self.records, list):
            yield from self.records.pieces(first)
            return
        at = bisect_left(self.records, first, key=lambda record: record.offset)
        if at < len(self.records):
            yield self.records[at:]

    def is_settled(self, offset: int) -> bool:
        """Whether what the record at `offset` led to must be readable everywhere."""
        return self.settled is None or offset < self.settled


@dataclass(slots=True)
class Topic:
    """A topic with all its partitions; `exists` is False for one the broker does not know."""

    name: str
    partitions: dict[int, Partition] = field(default_factory=dict)
    exists: bool = True

    def records(self) -> Iterator[Record]:
        """Every record, partition by partition, in the order of the log."""
        for number in sorted(self.partitions):
            for piece in self.partitions[number].pieces():
                yield from piece


@dataclass(slots=True)
class Contents:
    """Everything that the judge needs, with the ends that were taken before it began."""

    prefix: str
    app_id: str
    log: Topic
    raw: Topic
    ledger: Topic
    quarantine: Topic
    tenants: dict[str, Topic] = field(default_factory=dict)
    scope: Scope = Scope()
    labels: Topic = field(default_factory=lambda: Topic("", exists=False))

    def all_topics(self) -> list[Topic]:
        """Every topic that is read."""
        ours = [self.log, self.raw, self.labels, self.ledger, self.quarantine]
        return [*ours, *self.tenants.values()]


class Share(NamedTuple):
    """Which raw partitions one judge takes: those whose number modulo `of` is `number`.

    What belongs to no raw partition (the log, records that do not say what they are) is for
    share 0, so that all shares together find everything once.
    """

    number: int = 0
    of: int = 1

    def takes(self, partition: int) -> bool:
        """Whether a raw partition is in this share."""
        return partition % self.of == self.number

    @property
    def first(self) -> bool:
        """Whether this share also judges what belongs to no raw partition."""
        return self.number == 0


ALL = Share()
