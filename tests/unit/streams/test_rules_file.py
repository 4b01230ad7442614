"""The file of `rules apply`: what `rules show` prints is read back; mistakes are named by place."""

import json
from typing import Any

import pytest

from streams.rule_sets import USPS_RULES, body_of, rule_set_of
from streams.rules_file import PARTY_TYPES, parse_rules, shown_rules


def told(**changed: Any) -> dict[str, Any]:
    shown = shown_rules(USPS_RULES)
    return {**shown, "rule_set_id": "r2", "effective_from": "2027-01-01T00:00:00Z", **changed}


def places(rules: Any) -> list[str]:
    _, errors = parse_rules(json.dumps(rules))
    return [error.place for error in errors]


def with_row(**changed: Any) -> dict[str, Any]:
    rules = told()
    rules["rows"] = [dict(row) for row in rules["rows"]]
    rules["rows"][2] |= changed
    return rules


def test_what_is_shown_is_read_back():
    for form in (told(), {"schema_version": 1, "rules": told()}):
        body, errors = parse_rules(json.dumps(form))
        assert errors == []
        assert rule_set_of(body, 9).rows == USPS_RULES.rows
        assert body["metered_from"] == USPS_RULES.metered_from
        assert body_of(rule_set_of(body, 9)) == body


def test_the_built_in_rules_must_be_given_an_instant_and_an_id_of_their_own():
    """They hold since ever; what is applied holds from an instant on."""
    assert places(shown_rules(USPS_RULES)) == ["effective_from"]


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        (told(rule_set_id=""), "rule_set_id"),
        (told(rule_set_id="r 2"), "rule_set_id"),
        (told(effective_from="soon"), "effective_from"),
        (told(metered_from=5), "metered_from"),
        (told(source=None), "source"),
        (told(rows=[]), "rows"),
        (told(rows="all"), "rows"),
        (told(rows=["x"]), "rows[1]"),
        (with_row(party_type="FRIEND"), "rows[3].party_type"),
        (with_row(basis="UNKNOWN"), "rows[3].basis"),
        (with_row(metering=True), "rows[3].metering"),
        (with_row(restricted="no"), "rows[3].restricted"),
        (with_row(channels=["FAX"]), "rows[3].channels"),
        (with_row(channels=[]), "rows[3].channels"),
        (with_row(party_type="SHIPPER", basis="OWNER"), "rows[3]"),
    ],
)
def test_each_mistake_is_named_by_place(rules, place):
    assert places(rules) == [place]


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"x"', "7"])
def test_what_is_no_such_file_is_one_error(text):
    assert len(parse_rules(text)[1]) == 1


def test_every_party_type_can_be_named():
    assert len(PARTY_TYPES) == 10
