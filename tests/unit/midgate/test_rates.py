"""The rates file: which entry counts, and everything wrong with one in one error."""

from decimal import Decimal

import pytest

from midgate.rates import parse_rates, read_rates
from streams.errors import ConfigurationError

GOOD = """
currency = "USD"
[[rate]]
from = "2026-04"
api = "0.0100"
see = "0.0025"
unlimited_month = "4000.00"
[[rate]]
from = "2026-06"
see = "0.0030"
[[rate]]
agreement = "agr-7"
from = "2026-05"
see = "0.0020"
"""


@pytest.mark.parametrize(
    ("what", "agreement", "month", "amount"),
    [
        ("see", "agr-1", "2026-04", "0.0025"),
        ("see", "agr-1", "2026-05", "0.0025"),
        ("see", "agr-1", "2026-06", "0.0030"),
        ("see", "agr-7", "2026-04", "0.0025"),
        ("see", "agr-7", "2026-12", "0.0020"),
        ("api", "agr-7", "2026-12", "0.0100"),
        ("unlimited_month", "agr-1", "2027-01", "4000.00"),
    ],
)
def test_the_latest_entry_of_the_agreement_then_the_general_one(what, agreement, month, amount):
    assert parse_rates(GOOD, "r").amount(what, agreement, month) == Decimal(amount)


@pytest.mark.parametrize(("what", "month"), [("webhook", "2026-04"), ("see", "2026-03")])
def test_a_missing_rate_is_named(what, month):
    with pytest.raises(ConfigurationError, match=f"what {what} costs for agr-1 in {month}"):
        parse_rates(GOOD, "r").amount(what, "agr-1", month)


def test_everything_wrong_is_said_at_once():
    text = """
currency = "dollars"
colour = 1
[[rate]]
from = "2026-13"
see = 0.0025
[[rate]]
from = "2026-04"
api = "-1"
webhok = "1"
[[rate]]
from = "2026-04"
see = "NaN"
[[rate]]
from = "2026-05"
"""
    with pytest.raises(ConfigurationError) as caught:
        parse_rates(text, "rates.toml")
    assert str(caught.value).removeprefix("rates.toml: ").split("; ") == [
        "currency: expected three capital letters, as \"USD\", it is 'dollars'",
        "colour: unknown",
        "rate 1, from: expected a month, as \"2026-04\", it is '2026-13'",
        'rate 1, see: expected an amount as text, as "0.0025", it is 0.0025',
        "rate 2, webhok: unknown",
        "rate 2, api: expected an amount as text, as \"0.0025\", it is '-1'",
        "rate 3, see: expected an amount as text, as \"0.0025\", it is 'NaN'",
        "rate 4: says no amount (api, webhook, see, unlimited_month)",
        "rate 3: another entry begins in 2026-04 for the same agreement",
    ]


@pytest.mark.parametrize("text", ["currency = ", 'currency = "USD"', 'currency = "USD"\nrate = 3'])
def test_what_is_no_rates_file_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_rates(text, "r")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nothing\.toml cannot be read"):
        read_rates(tmp_path / "nothing.toml")
