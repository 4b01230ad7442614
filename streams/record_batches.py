"""Records into the batches of a transaction."""

from collections.abc import Iterable

from streams.transactions import TransactionalProducer

# Key, value, timestamp (Unix ms), headers.
OutRecord = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes]]]


async def send_records(
    producer: TransactionalProducer, topic: str, partition: int, records: Iterable[OutRecord]
) -> None:
    """Queue `records` for one partition, in order, in as few batches as their bytes allow.

    Raises what `send_batch` raises. The producer's `commit` awaits every batch.
    """
    batch = producer.create_batch()
    append = batch.append
    for key, value, timestamp, headers in records:
        while append(timestamp=timestamp, key=key, value=value, headers=headers) is None:
            # Full. An empty batch takes any record, so this turns at most once.
            await producer.send_batch(batch, topic, partition)
            batch = producer.create_batch()
            append = batch.append
    if batch.record_count():
        await producer.send_batch(batch, topic, partition)
