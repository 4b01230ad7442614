"""The one writer of `<prefix>.labels`: adds labels to the histories of their numbers.

A history is read, added to and written whole, so two writers at once could drop each other's
labels. Therefore all write under one transactional id, `<app id>-labels`, and only this class does.

Start order, the only way into work and on after any failure:

1. Initialise the producer: the writer before is fenced, its transaction settled. From here on
   nothing it still sends is accepted.
2. A transaction with a mark in every partition (a null under a key that is no PIC).
3. Read each partition until the mark is there: all histories below it are known then, whatever
   an old leader may have said about the end.

Per batch: merge with what is known (a conflict is refused before anything is sent); begin, send the
histories and a mark, commit; read until the mark. A writer that was fenced fails at the commit, and
nothing of its batch counts: whoever wants to go on opens anew, and so reads what the other wrote.
Who may write is a matter of the topic's access list: this id, its principal, and nobody else.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Self

from aiokafka.partitioner import murmur2

from connectors.labels.limits import LabelLimits
from streams.errors import ConfigurationError
from streams.label_feed import MARK_HEADER, MARK_KEY, LabelFeed
from streams.label_history import Label, encode_history, merged
from streams.label_store import LabelStores
from streams.packed_labels import unpack
from streams.record_batches import send_records
from streams.record_format import OutRecord
from streams.settings import KafkaSettings, LayoutSettings, StoreSettings
from streams.transactions import TransactionalProducer

Progress = Callable[[int, int], None]


class Registered(NamedTuple):
    """What a batch did: labels that were not known before, and labels that were."""

    new: int
    known: int


class LabelRegistry:
    """A context manager: at work from entering to leaving, unless a method raises.

    Raises on entering: ConfigurationError (no topic), BrokerUnreachableError,
    TransactionFailedError.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        layout: LayoutSettings,
        stores: StoreSettings,
        *,
        limits: LabelLimits | None = None,
        on_progress: Progress = lambda done, total: None,
    ) -> None:
        self._kafka = kafka
        self._topic = layout.topics.labels
        self._transactional_id = f"{layout.app_id}-labels"
        self._stores = LabelStores(stores.data_dir)
        self._limits = limits or LabelLimits()
        self._on_progress = on_progress
        self._producer: TransactionalProducer | None = None
        self._feed: LabelFeed | None = None
        self._partitions = 0

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _start(self) -> None:
        producer = self._producer = await TransactionalProducer.open(
            self._kafka,
            self._transactional_id,
            transaction_timeout_ms=self._limits.transaction_timeout_ms,
            topics=[self._topic],
        )
        numbers = sorted(producer.partitions(self._topic))
        if not numbers:
            raise ConfigurationError(
                f"topic {self._topic} does not exist", hint="run `midgate topics apply`"
            )
        self._partitions = len(numbers)
        feed = self._feed = LabelFeed(
            self._kafka, self._topic, numbers, self._stores, purpose="registry"
        )
        await feed.open()
        await feed.catch_up({}, on_progress=self._on_progress)
        await self._write({number: [] for number in numbers})

    def histories(self, pics: Sequence[str]) -> dict[str, list[Label]]:
        """All labels of each of these numbers, in order; empty for one without."""
        feed = self._feed
        assert feed is not None, "used outside its context"
        found: dict[str, list[Label]] = {}
        by_partition: dict[int, list[bytes]] = {}
        for pic in sorted(set(pics)):
            key = pic.encode("ascii")
            by_partition.setdefault(partition_of(key, self._partitions), []).append(key)
        for partition, keys in by_partition.items():
            for key, packed in zip(keys, feed.find(partition, keys), strict=True):
                pic = key.decode("ascii")
                found[pic] = unpack(pic, packed) if packed else []
        return found

    async def register(self, added: Mapping[str, Sequence[Label]]) -> Registered:
        """Add labels by PIC, in one transaction: all of them or none.

        At most `LabelLimits.pics_a_transaction` numbers. Raises LabelConflictError before anything
        is sent; TransactionFailedError when fenced or undecided: open anew and do it again, as the
        same label counts once.
        """
        assert len(added) <= self._limits.pics_a_transaction, "bounded by the caller"
        known = self.histories(list(added))
        now_ms = time.time_ns() // 1_000_000
        out: dict[int, list[OutRecord]] = {}
        given = new = 0
        for pic, labels in added.items():
            history = merged(known[pic], labels)
            given += len({label.label_id for label in labels})
            if len(history) == len(known[pic]):
                continue
            new += len(history) - len(known[pic])
            key = pic.encode("ascii")
            record: OutRecord = (key, encode_history(pic, history), now_ms, [])
            out.setdefault(partition_of(key, self._partitions), []).append(record)
        if out:
            await self._write(out)
        return Registered(new, given - new)

    async def _write(self, out: Mapping[int, Sequence[OutRecord]]) -> None:
        """Commit records and a mark in each of these partitions; read until the marks."""
        producer, feed = self._producer, self._feed
        assert producer is not None, "used outside its context"
        assert feed is not None, "used outside its context"
        nonce, now_ms = uuid.uuid4().bytes, time.time_ns() // 1_000_000
        mark: OutRecord = (MARK_KEY, None, now_ms, [(MARK_HEADER, nonce)])
        await producer.begin()
        for partition, records in out.items():
            await send_records(producer, self._topic, partition, [*records, mark])
        await producer.commit()
        await feed.read_until(lambda: all(feed.marks.get(number) == nonce for number in out))

    async def close(self) -> None:
        """Give everything back; bounded. What is open is aborted by the next start."""
        producer, self._producer = self._producer, None
        feed, self._feed = self._feed, None
        if producer is not None:
            await producer.close()
        if feed is not None:
            await feed.close()


def partition_of(pic: bytes, partitions: int) -> int:
    """The partition of a number, in labels as in raw: murmur2, as every client's default."""
    return int(murmur2(pic) & 0x7FFFFFFF) % partitions
