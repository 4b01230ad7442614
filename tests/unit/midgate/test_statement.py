"""Statements against numbers worked out by hand."""

from dataclasses import replace
from decimal import Decimal

import pytest

from midgate.rates import parse_rates
from midgate.statement import make_statement, month_bounds
from schemas.reasons import UnitBilling
from streams.errors import ConfigurationError
from streams.facts import Agreement
from streams.instants import parse_instant
from tests.metering_support import APRIL_MS, DAY_MS

RATES = parse_rates(
    """
currency = "USD"
[[rate]]
from = "2026-04"
api = "0.0125"
webhook = "0.0025"
see = "0.0033"
unlimited_month = "4000"
""",
    "r",
)
AGREEMENT = Agreement(
    "agr-1", "acme", "", "", "TRANSACTION", frozenset(), "ACTIVE", APRIL_MS, None, False, 3
)
UNITS = {
    ("API", UnitBilling.BILLABLE): 1_000,
    ("API", UnitBilling.CALL_FAILED): 17,
    ("API", UnitBilling.AGREEMENT_NOT_ACTIVE): 2,
    ("WEBHOOK", UnitBilling.BILLABLE): 1_234,
    ("SEE", UnitBilling.BILLABLE): 1_001,
}
COPIES = {UnitBilling.NOT_FIRST_EVENT: 22_345, UnitBilling.UNREADABLE: 0}


def made(agreement=AGREEMENT, month="2026-04", units=UNITS, rates=RATES):
    return make_statement(agreement, month, units, COPIES, metered_from_ms=APRIL_MS, rates=rates)


def test_units_cost_their_rate_and_the_rest_keeps_its_reason():
    # 1,000 × 0.0125 = 12.5; 1,234 × 0.0025 = 3.085, half up 3.09; 1,001 × 0.0033 = 3.3033.
    found = made()
    assert [(x.what, x.count, x.rate, x.amount) for x in found.billed] == [
        ("api", 1_000, Decimal("0.0125"), Decimal("12.50")),
        ("webhook", 1_234, Decimal("0.0025"), Decimal("3.09")),
        ("see", 1_001, Decimal("0.0033"), Decimal("3.30")),
    ]
    assert found.total == Decimal("18.89")
    assert [(x.reason.value, x.channel, x.count) for x in found.not_billed] == [
        ("agreement_not_active", "API", 2),
        ("call_failed", "API", 17),
        ("not_first_event", "", 22_345),
    ]


def test_a_flat_fee_is_all_there_is_to_pay():
    found = made(replace(AGREEMENT, fee_model="UNLIMITED"))
    assert [(x.what, x.count, str(x.amount)) for x in found.billed] == [
        ("api", 1_000, "0.00"),
        ("webhook", 1_234, "0.00"),
        ("see", 1_001, "0.00"),
        ("month", 1, "4000.00"),
    ]
    assert found.total == Decimal(4000)


@pytest.mark.parametrize(
    ("begins", "ends", "month", "is_due"),
    [
        ("2026-01-01", None, "2026-03", False),  # nothing is metered yet
        ("2026-01-01", None, "2026-04", True),
        ("2026-04-30T23:59:59Z", None, "2026-04", True),
        ("2026-05-01", None, "2026-04", False),
        ("2026-04-01", "2026-05-01", "2026-05", False),
        ("2026-04-01", "2026-05-01T00:00:01Z", "2026-05", True),
        ("2026-01-01", "2026-04-01", "2026-04", False),
    ],
)
def test_a_flat_fee_is_due_for_months_in_which_the_agreement_was_in_force(
    begins, ends, month, is_due
):
    agreement = replace(
        AGREEMENT,
        fee_model="UNLIMITED",
        effective_from=parse_instant(begins),
        effective_to=parse_instant(ends) if ends else None,
    )
    found = made(agreement, month, {}, replace_since(RATES))
    assert [x.what for x in found.billed] == (["month"] if is_due else [])
    assert found.total == (Decimal(4000) if is_due else Decimal(0))


def replace_since(rates):
    return replace(rates, entries=[replace(one, since="2026-01") for one in rates.entries])


def test_a_pending_agreement_owes_no_fee():
    assert made(replace(AGREEMENT, fee_model="UNLIMITED", status="PENDING"), units={}).billed == ()


def test_without_rates_there_are_units_and_no_amounts():
    found = made(rates=None)
    assert [(x.what, x.count, x.amount) for x in found.billed] == [
        ("api", 1_000, None),
        ("webhook", 1_234, None),
        ("see", 1_001, None),
    ]
    assert (found.total, found.currency) == (None, "")


def test_a_missing_rate_is_an_error_and_no_zero():
    with pytest.raises(ConfigurationError, match="what api costs"):
        made(month="2026-03")


def test_months_are_of_utc():
    assert month_bounds("2026-04") == (APRIL_MS, APRIL_MS + 30 * DAY_MS)
    assert month_bounds("2026-12") == (parse_instant("2026-12-01"), parse_instant("2027-01-01"))


def test_amounts_are_text_in_every_output():
    found = made()
    assert found.as_record()["total"] == "18.89"
    assert found.as_record()["billed"][1] == {
        "what": "webhook",
        "count": 1_234,
        "rate": "0.0025",
        "amount": "3.09",
    }
    rows = found.as_rows()
    assert [row["line"] for row in rows] == ["billed"] * 3 + ["not billed"] * 3 + ["total"]
    assert rows[-1]["amount"] == "18.89"
    assert len({tuple(row) for row in rows}) == 1, "all rows have the same columns"
