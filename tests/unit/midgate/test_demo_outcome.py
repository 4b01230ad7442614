"""When the demonstration counts as right: every part of it can make it fail."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from auditor.findings import FindingKind, Findings
from auditor.judge import Judgement, Tally
from auditor.report import Report
from midgate.demo.show import show_outcome
from midgate.demo.story import Outcome, Told

DUE = {"harbor-goods": 10, "parcel-desk": 4}


def report(due: dict[str, int], *, wrong: bool = False) -> Report:
    """A recount with these deliveries due and there."""
    findings = Findings()
    if wrong:
        findings.add(FindingKind.MISSING, "it does not stand here", topic="t")
    denied = {"scan-insight": Counter({"agreement_expired": 4})}
    tally = Tally(raw=20, decided=20, due=Counter(due), has=Counter(due), denied=denied)
    return Report(Judgement(findings, tally, [], "log", 9, b"\0" * 32, {}))


SAMPLE = {"event_time": "2026", "event": "01", "barcode": "92", "facility": "10001"}
DENIAL: dict[str, Any] = {
    "input": "0:1",
    "outcome": "withheld",
    "reason": "agreement_expired",
    "barcode": {"number": "92", "verdict": "owned", "mid": "901234567", "readings": []},
    "channel": "see",
    "label": None,
    "decided": {"sentence": "decided"},
    "grants": [],
    "tenants": [],
}
RIGHT = Outcome(
    first=report(DUE),
    last=report(DUE),
    samples={"harbor-goods": [SAMPLE], "scan-insight": []},
    denial=DENIAL,
    told=Told(version=7, platform_before=3, platform_after=0, shipper_after=5),
    seconds=1.0,
)


def test_the_right_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    """And what a person reads of it."""
    assert RIGHT.ok
    assert RIGHT.as_json()["ok"] is True
    show_outcome(RIGHT)
    shown = capsys.readouterr().out
    assert "EQUAL" in shown
    assert "agreement_expired" in shown


@pytest.mark.parametrize(
    "outcome",
    [
        replace(RIGHT, first=report(DUE, wrong=True)),
        replace(RIGHT, last=report(DUE, wrong=True)),
        replace(RIGHT, last=report({**DUE, "scan-insight": 1})),
        replace(RIGHT, last=report({"harbor-goods": 10})),
        replace(RIGHT, denial={**DENIAL, "reason": "no_grant"}),
        replace(RIGHT, told=replace(RIGHT.told, platform_after=1)),
        replace(RIGHT, told=replace(RIGHT.told, platform_before=0)),
        replace(RIGHT, told=replace(RIGHT.told, shipper_after=0)),
    ],
)
def test_whatever_is_wrong_makes_it_fail(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    """A difference, somebody with what is not theirs, a revocation that stopped nothing."""
    assert not outcome.ok
    assert outcome.as_json()["ok"] is False
    show_outcome(outcome)
    assert "DIFFERENT" in capsys.readouterr().out
