"""[core] The file of `rules apply`: JSON to the body of a RULE_SET, with every error by place.

The form is what `rules show --output json` prints: an object with `rule_set_id`, `effective_from`,
`metered_from`, `source` and `rows`, each row an object with `party_type`, `basis`, `channels` (a
list), `restricted` (true or false) and `metering` (METERED or NO_COST_PARTY).
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from streams.changes import Body
from streams.decision import BASES
from streams.instants import format_instant, parse_instant
from streams.rule_sets import ALWAYS_MS, METERED, NO_COST_PARTY, USPS_RULES, RuleSet, body_of
from streams.structure import body_problems

PARTY_TYPES = tuple(dict.fromkeys(row.party_type for row in USPS_RULES.rows))
METERINGS = (METERED, NO_COST_PARTY)
CHANNELS = ("API", "WEBHOOK", "SEE")
ROWS_MAX = 1_000


class FileError(NamedTuple):
    """One thing wrong: where (`rows[3].basis`), what stands there, what should."""

    place: str
    value: str
    expected: str


def parse_rules(text: str) -> tuple[Body, list[FileError]]:
    """The body, and everything wrong with it; with an error the body is not to be used."""
    try:
        told = json.loads(text)
    except ValueError as error:
        return {}, [FileError("", str(error), "JSON as `midgate rules show --output json`")]
    if isinstance(told, dict) and isinstance(told.get("rules"), dict):
        told = told["rules"]
    if not isinstance(told, dict):
        return {}, [
            FileError("", type(told).__name__, "an object with rule_set_id, rows and so on")
        ]
    errors: list[FileError] = []
    body: Body = {
        "rule_set_id": _text(told, "rule_set_id", errors),
        "effective_from": _instant(told, "effective_from", errors),
        "metered_from": _instant(told, "metered_from", errors),
        "source": _text(told, "source", errors),
        "rows": [],
    }
    rows = told.get("rows")
    if not isinstance(rows, list) or not 0 < len(rows) <= ROWS_MAX:
        errors.append(FileError("rows", _shown(rows), f"a list of 1 to {ROWS_MAX} rows"))
        return body, errors
    for number, row in enumerate(rows, 1):
        body["rows"].append(_row(row, f"rows[{number}]", errors))
    if not errors:
        for field, expected in body_problems("RULE_SET", body):
            errors.append(FileError(field, _shown(body.get(field, "")), expected))
    return body, errors


def shown_rules(rules: RuleSet) -> dict[str, Any]:
    """Rules in the form that `parse_rules` reads; the built-in ones have no first instant."""
    always = rules.effective_from == ALWAYS_MS
    return {
        **body_of(rules),
        "effective_from": "" if always else format_instant(rules.effective_from),
        "metered_from": format_instant(rules.metered_from),
    }


def _row(row: Any, place: str, errors: list[FileError]) -> Body:
    if not isinstance(row, dict):
        errors.append(FileError(place, _shown(row), "an object"))
        return {}
    channels, restricted = row.get("channels"), row.get("restricted")
    if not isinstance(channels, list) or not all(name in CHANNELS for name in channels):
        errors.append(FileError(f"{place}.channels", _shown(channels), f"a list of {CHANNELS}"))
    if not isinstance(restricted, bool):
        errors.append(FileError(f"{place}.restricted", _shown(restricted), "true or false"))
    return {
        "party_type": _symbol(row, "party_type", PARTY_TYPES, place, errors),
        "basis": _symbol(row, "basis", BASES, place, errors),
        "channels": channels,
        "restricted": restricted,
        "metering": _symbol(row, "metering", METERINGS, place, errors),
    }


def _symbol(
    row: Mapping[str, Any], name: str, symbols: tuple[str, ...], place: str, errors: list[FileError]
) -> Any:
    if row.get(name) not in symbols:
        expected = "one of " + ", ".join(symbols)
        errors.append(FileError(f"{place}.{name}", _shown(row.get(name)), expected))
    return row.get(name)


def _text(told: Mapping[str, Any], name: str, errors: list[FileError]) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not value:
        errors.append(FileError(name, _shown(value), "a text that is not empty"))
        return ""
    return value


def _instant(told: Mapping[str, Any], name: str, errors: list[FileError]) -> int:
    try:
        return parse_instant(_text_or_empty(told.get(name)))
    except ValueError as error:
        errors.append(FileError(name, _shown(told.get(name)), str(error)))
        return 0


def _text_or_empty(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    return "" if value is None else str(value)[:100]
