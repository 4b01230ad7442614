"""The labels of a number as they were known at a position of their topic, for explaining."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from midgate.reading import fetched, partitions_of
from streams.index_keys import Term
from streams.label_history import read_entries

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from streams.label_facts import LabelEntry
    from streams.settings import Settings


class LabelSearch:
    """Histories by partition and number, read from the topic: by the index, else from its start."""

    def __init__(self, effective: Settings, consumer: AIOKafkaConsumer) -> None:
        self._effective = effective
        self._topic = effective.layout.topics.labels
        self._consumer = consumer
        self._read: dict[tuple[int, bytes], list[tuple[int, bytes | None]]] = {}

    async def history(
        self, partition: int, pic: bytes, position: int | None, at_ms: int
    ) -> list[LabelEntry]:
        """Labels below `position` (-1: none); None: those of the topic at an instant."""
        if position is None:
            position = await self._position_at(partition, at_ms)
        place = partition, pic
        if place not in self._read:
            self._read[place] = await self._records(partition, pic)
        history: list[LabelEntry] = []
        for offset, value in self._read[place]:
            if offset < position:
                known = _entries(pic, value)
                history = history if known is None else known
        return history

    async def _place(self, partition: int) -> TopicPartition:
        return (await partitions_of(self._consumer, self._topic))[partition]

    async def _position_at(self, partition: int, at_ms: int) -> int:
        place = await self._place(partition)
        found = (await self._consumer.offsets_for_times({place: max(0, at_ms + 1)}))[place]
        if found is not None:
            return int(found.offset)
        return int((await self._consumer.end_offsets([place]))[place])

    async def _records(self, partition: int, pic: bytes) -> list[tuple[int, bytes | None]]:
        """Every record of the number's key, in order."""
        from midgate.commands.index import index_folder
        from streams.raw_index import RawIndex
        from streams.topics_client import TopicsAdmin

        place = await self._place(partition)
        self._consumer.assign([place])
        begin = (await self._consumer.beginning_offsets([place]))[place]
        end = (await self._consumer.end_offsets([place]))[place]
        identity = await asyncio.to_thread(TopicsAdmin(self._effective.kafka).identity, self._topic)
        known: list[int] = []
        start = begin
        folder = index_folder(self._effective, self._topic)
        with RawIndex.reading(folder, identity) as index:
            if index is not None and partition in index.spans:
                start = max(begin, index.spans[partition].position)
                found = await asyncio.to_thread(index.find, Term(number=pic))
                known = [offset for number, offset in found if number == partition]
        records: list[tuple[int, bytes | None]] = []
        for offset in known:
            # Compaction may have taken it: then the next record of the partition comes.
            records += await self._between(place, max(begin, offset), offset + 1, pic)
        return records + await self._between(place, start, end, pic)

    async def _between(
        self, place: TopicPartition, start: int, end: int, pic: bytes
    ) -> list[tuple[int, bytes | None]]:
        found: list[tuple[int, bytes | None]] = []
        if start >= end:
            return found
        self._consumer.seek(place, start)
        while await self._consumer.position(place) < end:
            batches = await fetched(self._consumer, place)
            found += [
                (record.offset, record.value)
                for record in batches.get(place, [])
                if record.key == pic and record.offset < end
            ]
        return found


def _entries(pic: bytes, value: bytes | None) -> list[LabelEntry] | None:
    """The history that a record gives; None: it has no effect."""
    from schemas.codec import MalformedRecordError

    if value is None:
        return []
    try:
        return read_entries(pic.decode("ascii"), value)
    except (MalformedRecordError, UnicodeDecodeError):
        return None
