"""Everything that a batch places, into its transaction."""

from collections.abc import Mapping

from streams.delivery import DelivererIdentity, Routed, start_records
from streams.record_batches import send_encoded, send_records
from streams.record_format import OutRecord
from streams.topics import TopicNames
from streams.transactions import TransactionalProducer


async def place(
    producer: TransactionalProducer,
    names: TopicNames,
    routed: Routed,
    entries: Mapping[int, OutRecord],
) -> None:
    """Queue what was routed, what becomes of held events, and the ledger entries by partition.

    Raises what `send_batch` raises. The producer's `commit` awaits every batch.
    """
    for (topic, partition), out in routed.tenant.items():
        await send_encoded(producer, topic, partition, out)
    for partition, records in routed.quarantine.items():
        await send_records(producer, names.quarantine, partition, records)
    for partition, records in routed.metering.items():
        await send_records(producer, names.metering, partition, records)
    for partition, records in routed.holds.records().items():
        await send_records(producer, names.holds, partition, records)
    for partition, entry in entries.items():
        await send_records(producer, names.ledger, partition, [entry])


async def mark_start(
    producer: TransactionalProducer, identity: DelivererIdentity, nonce: str, now_ms: int
) -> None:
    """Queue the mark of a start for each holds partition of the deliverer."""
    for partition in identity.inputs:
        records = start_records(nonce, now_ms)
        await send_records(producer, identity.topics.holds, partition, records)
