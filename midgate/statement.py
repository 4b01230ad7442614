"""A month's statement of one agreement: units billed, units not billed and why, amounts.

Pure. A month is one in UTC. Amounts are decimals; each line is rounded to hundredths, half up, and
the total is the sum of the lines. The fee model is that of the agreement as it stands now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from midgate.rates import UNLIMITED, Rates
from schemas.reasons import UnitBilling
from streams.facts import Agreement

CENT = Decimal("0.01")
ZERO = Decimal("0.00")

Units = Mapping[tuple[str, UnitBilling], int]
"""Units by channel (API, WEBHOOK, SEE) and billing."""
Copies = Mapping[UnitBilling, int]
"""Copies that made no unit, by reason."""


@dataclass(frozen=True, slots=True)
class BilledLine:
    """Units of a channel (or, for a flat fee, the month), at a rate; None: no rates are set."""

    what: str
    count: int
    rate: Decimal | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class NotBilledLine:
    """What was not billed: units of a channel, or copies that made no unit (channel empty)."""

    reason: UnitBilling
    channel: str
    count: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One agreement, one month."""

    agreement_id: str
    tenant_id: str
    month: str
    from_ms: int
    to_ms: int
    fee_model: str
    currency: str
    billed: tuple[BilledLine, ...]
    not_billed: tuple[NotBilledLine, ...]
    total: Decimal | None

    def as_record(self) -> dict[str, Any]:
        """For JSON; amounts are text, so that no reader makes binary fractions of them."""
        return {
            "agreement": self.agreement_id,
            "tenant": self.tenant_id,
            "month": self.month,
            "fee_model": self.fee_model,
            "currency": self.currency,
            "billed": [
                {"what": x.what, "count": x.count, "rate": _text(x.rate), "amount": _text(x.amount)}
                for x in self.billed
            ],
            "not_billed": [
                {
                    "reason": x.reason.value,
                    "what": "units" if x.channel else "events",
                    "channel": x.channel.lower(),
                    "count": x.count,
                }
                for x in self.not_billed
            ],
            "total": _text(self.total),
        }

    def as_rows(self) -> list[dict[str, str]]:
        """For a table and CSV: one kind of row for all lines."""
        same = {"agreement": self.agreement_id, "month": self.month}
        empty = {"reason": "", "count": "", "rate": "", "amount": "", "currency": self.currency}
        rows = [
            {
                **same,
                "line": "billed",
                "what": x.what,
                **empty,
                "count": str(x.count),
                "rate": _text(x.rate) or "",
                "amount": _text(x.amount) or "",
            }
            for x in self.billed
        ]
        rows += [
            {
                **same,
                "line": "not billed",
                "what": x.channel.lower() or "events",
                **empty,
                "reason": x.reason.value,
                "count": str(x.count),
            }
            for x in self.not_billed
        ]
        total = {**same, "line": "total", "what": "", **empty, "amount": _text(self.total) or ""}
        return [*rows, total]


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def month_bounds(month: str) -> tuple[int, int]:
    """First instant of a month as 2026-04, and of the next one; Unix ms, UTC."""
    year, number = int(month[:4]), int(month[5:])
    next_year, next_number = (year + 1, 1) if number == 12 else (year, number + 1)
    first = datetime(year, number, 1, tzinfo=UTC)
    return (
        int(first.timestamp()) * 1000,
        int(datetime(next_year, next_number, 1, tzinfo=UTC).timestamp()) * 1000,
    )


def make_statement(
    agreement: Agreement,
    month: str,
    units: Units,
    copies: Copies,
    *,
    metered_from_ms: int,
    rates: Rates | None,
) -> Statement:
    """The statement of what was metered in a month. Without rates it has no amounts.

    With a flat fee, units cost nothing and each month costs the fee in which the agreement was in
    force for some time and metering had begun. Raises ConfigurationError when a rate is missing.
    """
    from_ms, to_ms = month_bounds(month)
    flat = agreement.fee_model == "UNLIMITED"
    billed = []
    for channel in ("API", "WEBHOOK", "SEE"):
        count = units.get((channel, UnitBilling.BILLABLE), 0)
        if count and rates is not None:
            rate = (
                Decimal(0) if flat else rates.amount(channel.lower(), agreement.agreement_id, month)
            )
            billed.append(BilledLine(channel.lower(), count, rate, _cents(count * rate)))
        elif count:
            billed.append(BilledLine(channel.lower(), count, None, None))
    if flat and _was_in_force(agreement, max(from_ms, metered_from_ms), to_ms):
        fee = rates.amount(UNLIMITED, agreement.agreement_id, month) if rates else None
        billed.append(BilledLine("month", 1, fee, None if fee is None else _cents(fee)))
    not_billed = [
        NotBilledLine(billing, channel, count)
        for (channel, billing), count in units.items()
        if billing is not UnitBilling.BILLABLE and count
    ]
    not_billed += [NotBilledLine(billing, "", count) for billing, count in copies.items() if count]
    return Statement(
        agreement.agreement_id,
        agreement.tenant_id,
        month,
        from_ms,
        to_ms,
        agreement.fee_model.lower(),
        rates.currency if rates is not None else "",
        tuple(billed),
        tuple(sorted(not_billed, key=lambda line: (line.reason, line.channel))),
        None if rates is None else sum((line.amount or ZERO for line in billed), ZERO),
    )


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _was_in_force(agreement: Agreement, from_ms: int, to_ms: int) -> bool:
    ends = agreement.effective_to
    begins = max(agreement.effective_from, from_ms)
    return agreement.status == "ACTIVE" and begins < to_ms and (ends is None or begins < ends)
