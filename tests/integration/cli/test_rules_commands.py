"""Rules, tokens, revocations and confirmations, as an operator types them, on a real broker."""

import json
from collections.abc import Callable

import pytest

from streams.grant_csv import HEADER

pytestmark = pytest.mark.broker

MID = "901234567"
NUMBER = "9205590123456700000017"
Midgate = Callable[..., tuple[int, dict]]


@pytest.fixture
def reason(midgate) -> Callable[..., str]:
    """Why a tenant gets, or does not get, an event of the MID."""

    def asked(tenant: str, channel: str = "see") -> str:
        arguments = ("explain", NUMBER, "--tenant", tenant, "--channel", channel)
        return midgate(*arguments)[1]["explain"]["reason"]

    return asked


def make(midgate: Midgate, *arguments: str) -> dict:
    code, answer = midgate(*arguments)
    assert code == 0, midgate.errors
    return answer


def test_a_pending_grant_counts_once_both_sides_confirmed_and_not_while_revoked(midgate, reason):
    make(midgate, "tenant", "add", "shop", "--party-type", "platform")
    given = ("--tenant", "shop", "--mid", MID, "--basis", "mid-authorization", "--id", "g-1")
    make(midgate, "grant", "add", *given, "--from", "2026-04-01", "--pending", "--restricted")
    assert reason("shop") == "grant_pending"
    first = make(midgate, "grant", "confirm", "g-1", "--as", "tenant")["change"]
    assert (first["verdict"], first["status"]) == ("accepted", "PENDING")
    shown = make(midgate, "grant", "show", "g-1")["grant"]
    assert (shown["status"], shown["confirmed_by"], shown["restricted"]) == (
        *("PENDING", ["tenant"]),
        True,
    )
    second = make(midgate, "grant", "confirm", "g-1", "--as", "grantor")["change"]
    assert second["status"] == "ACTIVE"
    assert reason("shop") == "allowed"

    about = ("--tenant", "shop", "--mid", MID)
    assert midgate("revocation", "lift", *about)[0] == 2, "nothing is revoked"
    assert make(midgate, "revocation", "add", *about, "--dry-run", "--yes")
    assert make(midgate, "revocation", "list")["revocations"] == []
    make(midgate, "revocation", "add", *about, "--reason", "the owner says no", "--yes")
    assert reason("shop") == "right_revoked"
    [row] = make(midgate, "revocation", "list")["revocations"]
    assert (row["scope"], row["reason"]) == (f"MID {MID}", "the owner says no")
    make(midgate, "revocation", "lift", *about)
    assert reason("shop") == "allowed"


def test_a_token_carries_its_grants_until_it_ends(midgate, reason):
    make(midgate, "tenant", "add", "shop", "--party-type", "platform")
    given = ("--tenant", "shop", "--mid", MID, "--basis", "merchant-token", "--channels", "api")
    assert midgate("grant", "add", *given)[0] == 2, "the token must be named"
    assert midgate("grant", "add", *given, "--token", "T-1")[0] == 7, "and known"
    make(midgate, "token", "add", "T-1", "--tenant", "shop", "--merchant", "Sweets Ltd")
    make(midgate, "grant", "add", *given, "--token", "T-1", "--from", "2026-04-01")
    assert reason("shop", "api") == "merchant_token_missing", "no label is known"
    shown = make(midgate, "token", "show", "T-1")["token"]
    assert (shown["state"], shown["merchant"], shown["grants"]) == ("active", "Sweets Ltd", 1)
    make(midgate, "token", "end", "T-1", "--yes")
    assert reason("shop", "api") == "merchant_token_ended"
    assert make(midgate, "token", "list")["tokens"] == []
    assert make(midgate, "token", "list", "--all")["tokens"][0]["state"] == "ended"
    assert midgate("token", "add", "T-1", "--tenant", "shop")[0] == 7
    assert "terminal" in midgate.errors


def test_a_rule_change_is_a_record_with_a_first_instant(midgate, reason, tmp_path):
    make(midgate, "tenant", "add", "acme", "--party-type", "shipper", "--accept-terms", "2026-04")
    given = ("--tenant", "acme", "--mid", MID, "--basis", "owner", "--channels", "api+see")
    make(midgate, "grant", "add", *given, "--from", "2026-04-01")
    rules = make(midgate, "rules", "show")["rules"]
    assert rules["rule_set_id"] == "usps-2026-04-01"
    file = tmp_path / "rules.json"
    rules |= {"rule_set_id": "r-2", "effective_from": "2026-05-01T00:00:00Z"}
    rules["rows"][0]["channels"] = ["SEE"]
    file.write_text(json.dumps(rules))
    plan = make(midgate, "rules", "apply", str(file), "--dry-run")["plan"]
    assert plan["changes"] == ["SHIPPER OWNER: channels API+WEBHOOK+SEE to SEE"]
    assert reason("acme", "api") == "allowed"
    make(midgate, "rules", "apply", str(file), "--yes")
    assert reason("acme", "api") == "basis_not_for_channel"
    assert reason("acme") == "allowed"
    assert make(midgate, "rules", "show")["rules"]["rule_set_id"] == "r-2"
    before = make(midgate, "rules", "show", "--at", "2026-04-30")
    assert before["rules"]["rule_set_id"] == "usps-2026-04-01"
    assert [one["in_force"] for one in before["rule_sets"]] == [True, False]
    assert midgate("rules", "apply", str(file), "--yes")[0] == 7, "an id names one set for ever"
    file.write_text(json.dumps(rules | {"rows": [{"party_type": "FRIEND"}]}))
    code, answer = midgate("rules", "apply", str(file), "--yes")
    assert code == 2
    assert [error["place"] for error in answer["errors"]][:2] == [
        *("rows[1].channels", "rows[1].restricted")
    ]


def test_an_import_names_what_conflicts_by_row_and_column(midgate, tmp_path):
    make(midgate, "tenant", "add", "shop", "--party-type", "platform")
    make(midgate, "token", "add", "T-1", "--tenant", "shop")
    head = ",".join((*HEADER, "token", "data_from", "data_to", "restricted"))
    good = f",shop,MID,{MID},,api,MERCHANT_TOKEN,,2026-04-01,,,T-1,2026-01-01,,no"
    file = tmp_path / "grants.csv"
    wrong = [
        good.replace("2026-01-01", "2026-02-01"),  # overlaps the first
        good.replace(MID, "123456").replace("2026-04-01,,", "2026-04-01,2026-04-02,"),
        good.replace(MID, "234567").replace("T-1", "T-2"),
    ]
    file.write_text("\n".join([head, good, *wrong]))
    code, answer = midgate("grant", "import", str(file))
    assert code == 2
    found = [(error["line"], error["column"]) for error in answer["errors"]]
    assert found == [(3, "from"), (4, "to"), (5, "token")]
    assert make(midgate, "grant", "list")["total"] == 0
    file.write_text("\n".join([head, good]))
    assert make(midgate, "grant", "import", str(file))["import"]["new"] == 1
    [row] = make(midgate, "grant", "list")["grants"]
    assert (row["token"], row["data_from"]) == ("T-1", "2026-01-01T00:00:00Z")
