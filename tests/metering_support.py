"""Facts for tests of metering, written as the router writes them, and what came of them."""

import time
from collections.abc import Iterable

from schemas.reasons import Billing, UnitBilling
from streams import clients
from streams.billable import BillableFacts, is_metered
from streams.plans import Right, Route
from streams.settings import KafkaSettings
from streams.usage_records import UsageTally, UsageUnit, decode_usage
from tests.router_support import placed

APRIL_MS = 1_775_001_600_000  # 2026-04-01T00:00:00Z
DAY_MS = 86_400_000


def route(
    agreement_id: str = "agr-1", tenant_id: str = "acme", billing: Billing = Billing.BILLABLE
) -> Route:
    """A route as a plan makes it."""
    right = Right("g1", False, billing, agreement_id)
    return Route(
        tenant_id, f"midgate.tenant.{tenant_id}", 1, right, b"\x10mg-grant\x04g1", is_metered(right)
    )


def number(serial: int) -> str:
    """A tracking number; its check digit is nobody's concern here."""
    return f"9274890123456700{serial:010d}"


def values(
    partition: int, decided_at: int, events: Iterable[tuple[int, int]], *routes: Route
) -> list[bytes]:
    """Facts of one transaction: (raw offset, serial of the number) of events by SEE."""
    facts = BillableFacts(decided_at)
    for offset, serial in events:
        for one in routes or (route(),):
            facts.add(partition, offset, number(serial).encode(), 3, one)
    return [value or b"" for _, value, _, _ in facts.records().get(partition, [])]


async def write_facts(
    kafka: KafkaSettings, topic: str, partition: int, facts: Iterable[bytes]
) -> None:
    """Append facts to a partition."""
    producer = clients.idempotent_producer(kafka)
    await clients.start(producer, kafka)
    try:
        for value in facts:
            await producer.send(
                topic, value, partition=partition, timestamp_ms=int(time.time() * 1000)
            )
    finally:
        await producer.stop()


class Made:
    """Everything in a usage topic: units and tallies as they last stand, and how often written."""

    def __init__(self) -> None:
        self.units: dict[bytes, UsageUnit] = {}
        self.tallies: dict[bytes, UsageTally] = {}
        self.written = 0

    def tallied(self, billing: UnitBilling, agreement_id: str = "agr-1") -> int:
        """Copies of a reason, over months and partitions."""
        return sum(
            tally.copies
            for tally in self.tallies.values()
            if tally.billing is billing and tally.agreement_id == agreement_id
        )


async def made(kafka: KafkaSettings, topic: str) -> Made:
    """What a `read_committed` reader sees."""
    found = Made()
    for record in await placed(kafka, topic):
        usage = decode_usage(record.value)
        if isinstance(usage, UsageUnit):
            found.units[record.key] = usage
            found.written += 1
        elif isinstance(usage, UsageTally):
            found.tallies[record.key] = usage
    return found
