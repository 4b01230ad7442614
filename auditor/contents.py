"""[core] What was read from the topics: plain records, and where each partition began and ended."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Record(NamedTuple):
    """One committed record as a plain consumer sees it; times in milliseconds, UTC."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    append_time: bool = False


@dataclass(slots=True)
class Partition:
    """A partition from its first retained offset to the end that was read.

    `end` is the last stable offset; `high_watermark` lies above it while a transaction is open.
    """

    begin: int = 0
    end: int = 0
    high_watermark: int = 0
    records: list[Record] = field(default_factory=list)


@dataclass(slots=True)
class Topic:
    """A topic with all its partitions; `exists` is False for one the broker does not know."""

    name: str
    partitions: dict[int, Partition] = field(default_factory=dict)
    exists: bool = True

    def records(self) -> Iterator[Record]:
        """Every record, partition by partition, in the order of the log."""
        for number in sorted(self.partitions):
            yield from self.partitions[number].records


@dataclass(slots=True)
class Contents:
    """Everything that the judge needs, as it stood when it was read."""

    prefix: str
    app_id: str
    log: Topic
    raw: Topic
    ledger: Topic
    quarantine: Topic
    tenants: dict[str, Topic] = field(default_factory=dict)

    def all_topics(self) -> list[Topic]:
        """Every topic that was read."""
        return [self.log, self.raw, self.ledger, self.quarantine, *self.tenants.values()]
