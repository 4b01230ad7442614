"""[core] What a batch of the router places under which agreement: the facts metering starts from.

On the hot path: one call for each delivered event, which appends to a list or adds to a number.
Facts are written in the router's own transaction, so one is there exactly if its copies are. Copies
that make units (billed, or not billed only because of their date) are listed; all others are
counted by reason. What a copy is billed to, and whether, is the decision's word (`plans.Right`).
Format: docs/metering.md.
"""

from collections.abc import Iterable, Sequence

from schemas.reasons import Billing, UnitBilling
from streams.plans import Route
from streams.usage_records import FactEvent, UsageFact, encode_fact

OutRecord = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes]]]
"""Key, value, timestamp (Unix ms), headers."""

FACT_EVENTS_MAX = 8_000
"""Events that one record lists; with numbers of 34 digits it stays below 360 kB."""

METERED_COPY_BYTES_MAX = 48
"""What a listed copy adds to the bytes of a transaction, at most."""

# Units are made of these; a number first seen before metering began has had its first event.
_LISTED = (Billing.BILLABLE, Billing.BEFORE_METERING)


class BillableFacts:
    """Facts of one batch, decided at one instant (`decided_at`, Unix ms)."""

    __slots__ = ("_counted", "_decided_at", "_listed")

    def __init__(self, decided_at: int) -> None:
        self._decided_at = decided_at
        # By raw partition and agreement. An agreement belongs to one tenant, and the rules are the
        # same for a whole batch: so all its copies have one tenant and one billing.
        self._listed: dict[tuple[int, str], tuple[str, Billing, list[FactEvent]]] = {}
        self._counted: dict[tuple[int, str, str, Billing], int] = {}

    def add(
        self, partition: int, offset: int, pic: bytes, channel: int, routes: Iterable[Route]
    ) -> None:
        """An event was placed for each of `routes`; `channel` is its symbol's index."""
        for route in routes:
            right = route.right
            agreement_id = right.agreement_id
            if not agreement_id:
                counted = (partition, "", "", right.billing)
                self._counted[counted] = self._counted.get(counted, 0) + 1
                continue
            listed = self._listed.get((partition, agreement_id))
            if listed is None:
                if right.billing not in _LISTED:
                    counted = (partition, agreement_id, route.tenant_id, right.billing)
                    self._counted[counted] = self._counted.get(counted, 0) + 1
                    continue
                listed = (route.tenant_id, right.billing, [])
                self._listed[partition, agreement_id] = listed
            listed[2].append(FactEvent(pic.decode(), channel, offset))

    def facts(self) -> list[UsageFact]:
        """All facts, in the order of partition and agreement; none lists more than the bound."""
        found = [
            UsageFact(agreement, tenant, UnitBilling(billing), partition, self._decided_at, n, ())
            for (partition, agreement, tenant, billing), n in self._counted.items()
        ]
        for (partition, agreement), (tenant, billing, events) in self._listed.items():
            for part in _parts(events):
                found.append(
                    UsageFact(
                        agreement,
                        tenant,
                        UnitBilling(billing),
                        partition,
                        self._decided_at,
                        len(part),
                        tuple(part),
                    )
                )
        return sorted(found, key=lambda fact: (fact.raw_partition, fact.agreement_id))

    def records(self) -> dict[int, list[OutRecord]]:
        """Records for `<prefix>.metering`, by partition, which is the raw partition."""
        records: dict[int, list[OutRecord]] = {}
        for fact in self.facts():
            key = fact.agreement_id.encode() or None
            record: OutRecord = (key, encode_fact(fact), fact.decided_at, [])
            records.setdefault(fact.raw_partition, []).append(record)
        return records


def _parts(events: Sequence[FactEvent]) -> Iterable[Sequence[FactEvent]]:
    for start in range(0, len(events), FACT_EVENTS_MAX):
        yield events[start : start + FACT_EVENTS_MAX]
