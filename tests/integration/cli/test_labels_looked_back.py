"""Breach and plan where owner or right rest on a label, on what a worker really routed."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from midgate import breach_replay
from schemas.codec import encode
from streams.label_csv import HEADER as LABEL_HEADER
from tests.integration.cli.test_explain import ACME, GLOBEX, NOBODY, RETAIL, Stage, route, stage
from tests.router_support import barcode, event

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

__all__ = ["stage"]

SOLD, UNKNOWN = barcode(ACME, 1), barcode(ACME, 2)
EARLY, LATE = barcode(GLOBEX, 1), barcode(GLOBEX, 2)
OTHERS = "9400111206206406260787"


def by_api(number: str, code: str) -> tuple[bytes, bytes]:
    fields = {"event_time": 1_785_000_000_000, "time_basis": "UTC", "facility_zip": "90009"}
    record = {"barcode": number, "event_code": code, "channel": "API", **fields}
    return number.encode(), encode("tracking_event", record)


def do(stage: Stage, *arguments: str) -> dict[str, Any]:
    code, answer = stage(*arguments)
    assert code == 0, stage.errors
    return answer


def rows_of(stage: Stage, grant: str) -> list[dict[str, str]]:
    code, _ = stage("breach", "--grant", grant, "--output", "csv", output="csv")
    assert code == 0, stage.errors
    return list(csv.DictReader(io.StringIO(stage.text)))


def told(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return sorted((row["kind"], row["barcode"], row["event_code"]) for row in rows)


@pytest.fixture
def looked_back(stage: Stage, tmp_path: Path) -> Stage:
    """Two numbers that waited for their label, and were scanned once more with it.

    acme owns a MID, shop has a right to it by a merchant's token; a pending right of shop's by
    another token should have counted for another MID.
    """
    for name, party in (("acme", "shipper"), ("globex", "shipper"), ("shop", "platform")):
        do(stage, "tenant", "add", name, "--party-type", party, "--accept-terms", "2026-04")
    for token in ("T-1", "T-2"):
        do(stage, "token", "add", token, "--tenant", "shop")
    since = ("--from", "2026-04-01")
    token = ("--tenant", "shop", "--basis", "merchant-token", "--channels", "api", *since)
    owned = ("--tenant", "acme", "--basis", "owner", *since)
    do(stage, "grant", "add", "--id", "g1", *owned, "--mid", ACME)
    do(stage, "grant", "add", "--id", "g2", *token, "--mid", ACME, "--token", "T-1")
    do(stage, "grant", "add", "--id", "g3", *token, "--mid", GLOBEX, "--token", "T-2", "--pending")

    def import_labels(*rows: str) -> None:
        file = tmp_path / "labels.csv"
        file.write_text("\n".join([",".join(LABEL_HEADER), *rows]))
        do(stage, "labels", "import", str(file))

    first = [event(RETAIL, code="03"), by_api(SOLD, "03"), by_api(UNKNOWN, "03")]
    route(stage, tmp_path, (None, [*first, by_api(EARLY, "03")]))
    window = "2026-07-20,2026-08-20,,"
    import_labels(
        f"{RETAIL},l-1,{ACME},acme,,,{window}",
        f"{SOLD},l-2,{ACME},shop,T-1,,{window}",
        f"{EARLY},l-3,{GLOBEX},shop,T-2,,{window}",
        f"{LATE},l-4,{GLOBEX},shop,T-2,,{window}",
        f"{OTHERS},l-5,{NOBODY},acme,,,{window}",
    )
    later = [event(RETAIL, code="10"), by_api(SOLD, "10"), by_api(LATE, "10"), event(OTHERS)]
    route(stage, tmp_path, (None, later))
    return stage


def test_a_breach_judges_by_the_labels_that_were_known_and_at_the_end_of_a_wait(looked_back):
    stage = looked_back
    for grant in ("g1", "g2"):
        do(stage, "grant", "correct", grant, "--wrong-from", "2026-04-01")
    found = rows_of(stage, "g1")
    wrong = "delivered_wrongly"
    assert told(found) == [(wrong, RETAIL, "03"), (wrong, RETAIL, "10")]
    assert {row["tenant"] for row in found} == {"acme"}
    assert told(rows_of(stage, "g2")) == [(wrong, SOLD, "03"), (wrong, SOLD, "10")]
    for row in (*found, *rows_of(stage, "g2")):
        explained = stage.explain(row["position"])
        assert row["version"] == str(explained["decided"]["version"])
        assert row["decided_at"] == explained["decided"]["at"], "the decision that ended the wait"
        assert ("held" in explained) is (row["event_code"] == "03")

    missing = ("--wrong-from", "2026-04-01", "--should-have-counted")
    do(stage, "grant", "correct", "g3", *missing)
    unknown = ("would_have_waited", EARLY, "03")
    assert told(rows_of(stage, "g3")) == [("not_delivered", LATE, "10"), unknown]
    head = do(stage, "breach", "--grant", "g3")["breach"]
    assert head["would_have_waited"] == 1, "a label came, but nobody waited for it"
    assert {"kind": "would_have_waited", "tenant": "shop", "events": 1} in head["counts"]
    assert [row["barcode"] for row in head["events"] if row["kind"] == unknown[0]] == [EARLY]
    assert "1 events (would_have_waited) are not judged" in stage.errors


def test_waits_that_began_before_the_findings_and_a_plan_by_the_present_labels(
    looked_back, monkeypatch
):
    stage = looked_back
    monkeypatch.setattr(breach_replay, "LEDGER_SLACK_MS", 0)

    def end_of_wait(number: str) -> str:
        first = stage.explain(number)["events"][0]
        assert first["event"]["event_code"] == "03"
        assert first["held"]["first"]["at"] < first["decided"]["at"]
        ended: str = first["decided"]["at"]
        return ended

    do(stage, "grant", "correct", "g2", "--wrong-from", end_of_wait(SOLD))
    assert ("delivered_wrongly", SOLD, "03") in told(rows_of(stage, "g2"))
    until = ("--wrong-from", "2026-04-01", "--wrong-to", end_of_wait(RETAIL))
    do(stage, "grant", "correct", "g1", *until)
    assert rows_of(stage, "g1") == [], "not yet delivered then"

    plan = do(stage, "grant", "plan", "--revoke", "g1", "--revoke", "g2")["plan"]
    lost = {row["tenant"]: row["lost"] for row in plan["tenants"]}
    assert lost == {"acme": 2, "shop": 2}
    numbers = {
        row["tenant"]: {one["barcode"] for one in row["examples"]["lost"]}
        for row in plan["tenants"]
    }
    assert numbers == {"acme": {RETAIL}, "shop": {SOLD}}
    assert any(note.startswith("1 events have no label that counts") for note in plan["notes"])
