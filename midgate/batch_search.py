"""Where bytes may stand in a stretch of a topic, found without taking its records apart.

An object of each record costs 5 to 10 µs, and one copy may have to be found among a hundred
thousand. Its id stands as it is in the bytes of its batch, and looking for it there costs the
uncompressing. What is found is only a hint, read anew by whoever looks for it: checksums, aborted
transactions and what the bytes mean are not looked at here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

FETCH_BYTES_FIRST = 128 * 1024
FETCH_BYTES_MAX = 2 * 1024 * 1024
FETCH_WAIT_MS = 100
READ_COMMITTED = 1

# Format version 2, which transactions need: base offset, length, leader epoch, magic, checksum,
# attributes, last offset delta; then what is not read here, up to the records.
_HEAD = Struct(">qiibIhi")
_RECORDS_AT = 61
_LENGTH_COUNTS_FROM = 12
_CODEC, _CONTROL = 0x07, 0x20


class Batch(NamedTuple):
    """The records of a batch, uncompressed, and the offsets that it covers: first ≤ … < next."""

    first: int
    next: int
    records: bytes

    def offsets_of(self, needle: bytes) -> Iterator[int]:
        """Offsets of the records in whose bytes the needle stands."""
        from aiokafka.record.util import decode_varint

        found, at = self.records.find(needle), 0
        while found >= 0:
            size, head = decode_varint(self.records, at)
            at = head + size
            if found < at:
                # Behind attributes and timestamp.
                _, delta_at = decode_varint(self.records, head + 1)
                yield self.first + decode_varint(self.records, delta_at)[0]
                found = self.records.find(needle, at)


async def hints(
    consumer: AIOKafkaConsumer,
    place: TopicPartition,
    start: int,
    end: int,
    needle: bytes,
    on_batch: Callable[[int], None] = lambda position: None,
) -> AsyncIterator[int]:
    """Offsets start ≤ offset < end of records in whose bytes the needle stands, in order.

    `on_batch` is told up to which offset all has been looked at. Retention may take what is to be
    read; then it goes on at what is left. Raises KafkaError.
    """
    async for batch in _batches(consumer, place, start, end):
        for offset in batch.offsets_of(needle):
            if start <= offset < end:
                yield offset
        on_batch(min(batch.next, end))


async def _batches(
    consumer: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> AsyncIterator[Batch]:
    from aiokafka.errors import KafkaError, OffsetOutOfRangeError, RequestTimedOutError

    client: Any = consumer._client
    patience_s = client._request_timeout_ms / 1000
    size, position = FETCH_BYTES_FIRST, start
    until = time.monotonic() + patience_s
    while position < end:
        fetched = b""
        try:
            fetched = await _fetched(client, place, position, size)
        except OffsetOutOfRangeError:
            begin = (await consumer.beginning_offsets([place]))[place]
            if position >= begin:
                raise  # another topic of the same name
            position = begin
        except KafkaError as error:
            if not (error.retriable or error.invalid_metadata) or time.monotonic() > until:
                raise
            await client.force_metadata_update()
        for batch in _taken_apart(fetched):
            if position < batch.next:
                position = batch.next
                until = time.monotonic() + patience_s
                yield batch
                if position >= end:
                    return
        if time.monotonic() > until:
            raise RequestTimedOutError(f"{place.topic}-{place.partition} at {position}")
        size = min(2 * size, FETCH_BYTES_MAX)


async def _fetched(client: Any, place: TopicPartition, offset: int, size: int) -> bytes:
    """Record batches from the one on that holds an offset, as they stand."""
    from aiokafka.errors import LeaderNotAvailableError, for_code
    from aiokafka.protocol.fetch import FetchRequest

    leader = client.cluster.leader_for_partition(place)
    if leader is None or leader == -1:
        raise LeaderNotAvailableError(place.topic)
    wanted = [(place.topic, [(place.partition, offset, size)])]
    request = FetchRequest(FETCH_WAIT_MS, 1, size, READ_COMMITTED, wanted)
    answer = await client.send(leader, request)
    _, [(_, error_code, *_, records)] = answer.topics[0]
    if error_code:
        raise for_code(error_code)(place.topic)
    return bytes(records or b"")


def _taken_apart(fetched: bytes) -> Iterator[Batch]:
    """The whole batches of an answer; the last one may be cut."""
    at = 0
    while at + _RECORDS_AT <= len(fetched):
        first, length, _, _, _, attributes, last = _HEAD.unpack_from(fetched, at)
        end = at + _LENGTH_COUNTS_FROM + length
        if end > len(fetched):
            return
        # Of a control batch only the end matters.
        records = b"" if attributes & _CONTROL else fetched[at + _RECORDS_AT : end]
        yield Batch(first, first + last + 1, _uncompressed(records, attributes & _CODEC))
        at = end


def _uncompressed(records: bytes, codec: int) -> bytes:
    from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode

    if not codec or not records:
        return records
    decode = (gzip_decode, snappy_decode, lz4_decode, zstd_decode)[codec - 1]
    return bytes(decode(records))
