"""Labels of one partition led from one position to the next, as decisions were made on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from midgate.reading import POLL_MS
from streams.errors import WrongLogError
from streams.label_store import LabelStore, LabelStores

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

STEP_RECORDS_MAX = 2_000


class LabelReplay:
    """`reach` a position, then `find` at it; `close`.

    Histories are on disk, in a store that nobody else has and that is gone with `close`; memory
    holds one step's records. Nothing is read until a label is asked for.
    """

    def __init__(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        self._consumer = consumer
        self._place = place
        self._store: LabelStore | None = None
        self._ahead: deque[tuple[int, bytes | None, bytes | None]] = deque()
        self.position = 0
        """Every label below is known, and none from there on."""

    async def reach(self, position: int, on_step: Callable[[], None]) -> None:
        """Take in all labels below a position (-1: none); it never goes back.

        `on_step` is called as it gets on, as there may be millions of them.
        Raises WrongLogError where the topic does not reach it, SchemaError, LabelStoreError.
        """
        if position <= self.position:
            return
        end = (await self._consumer.end_offsets([self._place]))[self._place]
        if position > end:
            raise WrongLogError(
                f"{self._place.topic}-{self._place.partition} ends at {end}, but was decided on"
                f" up to {position}: labels are gone",
                hint="find out what was restored or made anew",
            )
        store = self._store
        if store is None:
            store = self._store = LabelStores(None).open("replay", "replay")
            begin = (await self._consumer.beginning_offsets([self._place]))[self._place]
            self._consumer.assign([self._place])
            self._consumer.seek(self._place, begin)
        while self.position < position:
            await self._step(store, position)
            on_step()

    async def _step(self, store: LabelStore, position: int) -> None:
        if not self._ahead:
            # Not by `reading.fetched`: no retention takes labels, so a gap is not passed over.
            batches = await self._consumer.getmany(
                self._place, timeout_ms=POLL_MS, max_records=STEP_RECORDS_MAX
            )
            self._ahead += [
                (one.offset, one.key, one.value) for one in batches.get(self._place, [])
            ]
        pairs: list[tuple[bytes | None, bytes | None]] = []
        while self._ahead and self._ahead[0][0] < position:
            _, key, value = self._ahead.popleft()
            pairs.append((key, value))
        read_to = position if self._ahead else await self._consumer.position(self._place)
        self.position = min(position, read_to)
        store.apply(pairs, self.position)

    def find(self, partition: int, pics: Sequence[bytes]) -> list[bytes | None]:
        """As `label_lookup.Find`, of the one partition."""
        assert partition == self._place.partition, "a number's labels stand beside its events"
        return [None] * len(pics) if self._store is None else self._store.find(pics)

    def close(self) -> None:
        """Throw the histories away."""
        if self._store is not None:
            self._store.close()
