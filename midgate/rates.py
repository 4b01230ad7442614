"""What use costs: the rates file of `usage statement`.

    currency = "USD"

    [[rate]]
    from = "2026-04"            # first month, UTC; a later entry takes its place
    api = "0.0100"              # for each unit, fee model transaction
    webhook = "0.0025"
    see = "0.0025"
    unlimited_month = "4000.00" # for each month, fee model unlimited

    [[rate]]
    agreement = "agr-7"         # only for this one; what it does not say, the general entry says
    from = "2026-06"
    see = "0.0020"

Amounts are text, read as decimals: a number in TOML is a binary fraction.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from streams.errors import ConfigurationError

MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
CURRENCY = re.compile(r"[A-Z]{3}")
UNLIMITED = "unlimited_month"
AMOUNTS = ("api", "webhook", "see", UNLIMITED)
HINT = "docs/metering.md shows a rates file"


@dataclass(frozen=True, slots=True)
class Rate:
    """One entry: amounts by name (AMOUNTS) from a month on; empty `agreement_id`: for all."""

    since: str
    agreement_id: str
    amounts: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Rates:
    """All entries of a file, and its name for errors."""

    currency: str
    entries: Sequence[Rate]
    name: str

    def amount(self, what: str, agreement_id: str, month: str) -> Decimal:
        """What one of `what` (AMOUNTS) costs in a month: the agreement's own latest entry that says
        so, else the latest general one. Raises ConfigurationError when none does.
        """
        for owner in (agreement_id, ""):
            found = [
                rate
                for rate in self.entries
                if rate.agreement_id == owner and rate.since <= month and what in rate.amounts
            ]
            if found:
                return max(found, key=lambda rate: rate.since).amounts[what]
        raise ConfigurationError(
            f"{self.name}: no rate says what {what} costs for {agreement_id} in {month}",
            hint=f'add {what} = "…" to an entry from {month} or earlier',
        )


def read_rates(path: Path) -> Rates:
    """The rates in a file. Raises ConfigurationError with everything that is wrong, by entry."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the rates file {path} cannot be read: {error}", hint="mend MIDGATE_RATES_FILE"
        ) from error
    return parse_rates(text, str(path))


def parse_rates(text: str, name: str) -> Rates:
    """The rates in a text; `name` is for errors. Raises ConfigurationError."""
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is no TOML: {error}", hint=HINT) from error
    wrong: list[str] = []
    currency = body.get("currency")
    if not isinstance(currency, str) or CURRENCY.fullmatch(currency) is None:
        wrong.append(f'currency: expected three capital letters, as "USD", it is {currency!r}')
    wrong += [f"{key}: unknown" for key in body if key not in ("currency", "rate")]
    listed = body.get("rate")
    if not isinstance(listed, list) or not listed:
        wrong.append("rate: expected at least one [[rate]]")
        listed = []
    entries = [_entry(f"rate {n}", one, wrong) for n, one in enumerate(listed, 1)]
    places = [(entry.agreement_id, entry.since) for entry in entries]
    wrong += [
        f"rate {n}: another entry begins in {place[1]} for the same agreement"
        for n, place in enumerate(places, 1)
        if place in places[: n - 1]
    ]
    if wrong:
        raise ConfigurationError(f"{name}: " + "; ".join(wrong), hint=HINT)
    return Rates(str(currency), entries, name)


def _entry(place: str, body: Any, wrong: list[str]) -> Rate:
    if not isinstance(body, dict):
        wrong.append(f"{place}: expected a table")
        return Rate("", "", {})
    since, agreement_id = body.get("from"), body.get("agreement", "")
    if not isinstance(since, str) or MONTH.fullmatch(since) is None:
        wrong.append(f'{place}, from: expected a month, as "2026-04", it is {since!r}')
    if not isinstance(agreement_id, str):
        wrong.append(f"{place}, agreement: expected an agreement's id, it is {agreement_id!r}")
    known = ("from", "agreement", *AMOUNTS)
    wrong += [f"{place}, {key}: unknown" for key in body if key not in known]
    amounts = {key: _amount(place, key, body[key], wrong) for key in AMOUNTS if key in body}
    if not amounts:
        wrong.append(f"{place}: says no amount ({', '.join(AMOUNTS)})")
    return Rate(str(since), str(agreement_id), amounts)


def _amount(place: str, key: str, value: Any, wrong: list[str]) -> Decimal:
    try:
        if isinstance(value, str):
            amount = Decimal(value)
            if amount.is_finite() and amount >= 0:
                return amount
    except InvalidOperation:
        pass
    wrong.append(f'{place}, {key}: expected an amount as text, as "0.0025", it is {value!r}')
    return Decimal(0)
