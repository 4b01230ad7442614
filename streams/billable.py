"""[core] What a batch of the router places under which agreement: the facts metering starts from.

On the hot path: nothing for a copy whose right is not metered (`is_metered`, known with the plan),
and for another one call, which appends to a list or adds to a number. Facts are written in the
router's own transaction, so one is there exactly if its copies are. Copies that make units (billed,
or not billed only because of their date) are listed; all others are counted by reason. What a copy
is billed to, and whether, is the decision's word (`plans.Right`). Format: docs/metering.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.reasons import Billing, UnitBilling
from streams.record_format import OutRecord
from streams.usage_records import UsageFact, encode_fact

if TYPE_CHECKING:  # plans asks here whether a right is metered
    from streams.plans import Right, Route

FACT_EVENTS_MAX = 8_000
"""Events that one record lists; with numbers of 34 digits it stays below 360 kB."""

METERED_COPY_BYTES_MAX = 48
"""What a listed copy adds to the bytes of a transaction, at most."""

# Units are made of these; a number first seen before metering began has had its first event.
_LISTED = (Billing.BILLABLE, Billing.BEFORE_METERING)

_Event = tuple[bytes, int, int]


def is_metered(right: Right) -> bool:
    """Whether `BillableFacts.add` has to be told of copies placed by this right."""
    return bool(right.agreement_id) or right.billing is not Billing.NO_COST_PARTY


class BillableFacts:
    """Facts of one batch, decided at one instant (`decided_at`, Unix ms)."""

    __slots__ = ("_counted", "_decided_at", "_listed", "copies")

    def __init__(self, decided_at: int) -> None:
        self._decided_at = decided_at
        # By raw partition and agreement. An agreement belongs to one tenant, and the rules are the
        # same for a whole batch: so all its copies have one tenant and one billing.
        self._listed: dict[tuple[int, str], tuple[str, Billing, list[_Event]]] = {}
        self._counted: dict[tuple[int, str, str, Billing], int] = {}
        self.copies = 0
        """Copies that `add` was told of."""

    def add(self, partition: int, offset: int, pic: bytes, channel: int, route: Route) -> None:
        """A copy was placed by a metered route; `channel` is its symbol's index."""
        self.copies += 1
        right = route.right
        agreement_id = right.agreement_id
        listed = self._listed.get((partition, agreement_id))
        if listed is None:
            if not agreement_id or right.billing not in _LISTED:
                tenant_id = route.tenant_id if agreement_id else ""
                counted = (partition, agreement_id, tenant_id, right.billing)
                self._counted[counted] = self._counted.get(counted, 0) + 1
                return
            listed = (route.tenant_id, right.billing, [])
            self._listed[partition, agreement_id] = listed
        listed[2].append((pic, channel, offset))

    def add_rest(self, partition: int, copies: int) -> None:
        """Once, at the end: `copies` were placed in all, and those not told of cost nobody.

        They are counted with `partition`, any of the batch: only their sum matters.
        """
        rest = copies - self.copies
        assert rest >= 0, "more copies were told of than were placed"
        if rest:
            counted = (partition, "", "", Billing.NO_COST_PARTY)
            self._counted[counted] = self._counted.get(counted, 0) + rest

    def records(self) -> dict[int, list[OutRecord]]:
        """Records for `<prefix>.metering`, by partition, which is the raw partition."""
        records: dict[int, list[OutRecord]] = {}
        for partition, key, value in self._values():
            records.setdefault(partition, []).append((key, value, self._decided_at, []))
        return records

    def _values(self) -> Iterator[tuple[int, bytes | None, bytes]]:
        for (partition, agreement, tenant, billing), copies in self._counted.items():
            fact = self._fact(partition, agreement, tenant, billing, copies)
            yield partition, agreement.encode() or None, encode_fact(fact, "", (), ())
        for (partition, agreement), (tenant, billing, events) in self._listed.items():
            for start in range(0, len(events), FACT_EVENTS_MAX):
                part = events[start : start + FACT_EVENTS_MAX]
                pics, channels, offsets = zip(*part, strict=True)
                fact = self._fact(partition, agreement, tenant, billing, len(part))
                value = encode_fact(fact, b",".join(pics).decode(), channels, offsets)
                yield partition, agreement.encode(), value

    def _fact(
        self, partition: int, agreement: str, tenant: str, billing: Billing, copies: int
    ) -> UsageFact:
        said = UnitBilling(billing)
        return UsageFact(agreement, tenant, said, partition, self._decided_at, copies, ())
