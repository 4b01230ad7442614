"""Records into the batches of a transaction."""

from collections.abc import Iterable

from streams.record_format import OutRecord, PartitionRecords, encode_records
from streams.transactions import TransactionalProducer


async def send_encoded(
    producer: TransactionalProducer, topic: str, partition: int, records: PartitionRecords
) -> None:
    """Queue encoded records for one partition, in order.

    Raises what `send_batch` raises. The producer's `commit` awaits every batch.
    """
    for batch in records.batches:
        await producer.send_batch(batch, topic, partition)


async def send_records(
    producer: TransactionalProducer, topic: str, partition: int, records: Iterable[OutRecord]
) -> None:
    """Encode and queue `records` for one partition, in order."""
    await send_encoded(producer, topic, partition, encode_records(records))
