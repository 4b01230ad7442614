"""Raw records out of aiokafka's consumer without a `ConsumerRecord` each.

aiokafka makes a dataclass of eleven fields of every record, of which routing reads six: with its
making and its freeing it was a fifth of the router's time. The consumer here hands out `RawRecord`s
instead. All else (positions, aborted transactions, checksums, control batches) stays aiokafka's.

Upgrading aiokafka: tests/integration/router/test_raw_fetcher.py compares both record by record.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords

from streams.raw_record import RawRecord

_new = tuple.__new__


class _RawPartitionRecords(PartitionRecords):  # type: ignore[misc]
    """A fetched partition that yields `RawRecord`s."""

    def __iter__(self) -> Iterator[RawRecord]:
        # The generator itself: aiokafka's own `__next__` costs a call a record.
        records: Iterator[RawRecord] = self._records_iterator
        return records

    def _consumer_record(self, tp: Any, record: Any) -> RawRecord:
        return _new(
            RawRecord,
            (
                tp.partition,
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                record.headers,
            ),
        )


class _RawFetcher(Fetcher):  # type: ignore[misc]
    """Fetches as aiokafka does, and turns what came before anybody has looked at it."""

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        woken: bool = await super()._proc_fetch_request(assignment, node_id, request)
        for result in self._records.values():
            if type(result) is FetchResult:
                fetched = result._partition_records
                if type(fetched) is PartitionRecords:
                    fetched.__class__ = _RawPartitionRecords
        return woken


def yield_raw_records(consumer: AIOKafkaConsumer) -> None:
    """Make a started consumer hand out `RawRecord`s, from its next fetch on.

    Call it before anything is assigned: then nothing has been fetched.
    """
    assert not consumer.assignment(), "nothing may have been fetched as yet"
    consumer._fetcher.__class__ = _RawFetcher
