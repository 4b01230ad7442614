"""[core] The judge's answer for people and programs."""

from dataclasses import dataclass
from typing import Any

from auditor.findings import Finding
from auditor.judge import Judgement

FINDINGS_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What was judged and what is wrong; `ok` means nothing is."""

    judgement: Judgement

    @property
    def ok(self) -> bool:
        """Whether every topic holds exactly what it must."""
        return not self.judgement.findings.counts

    @property
    def findings(self) -> list[Finding]:
        """The findings kept, in the order they were made."""
        return self.judgement.findings.kept

    def as_json(self) -> dict[str, Any]:
        """Plain values with fixed names."""
        judgement = self.judgement
        tally = judgement.tally
        return {
            "ok": self.ok,
            "log_id": judgement.log_id,
            "version": judgement.version,
            "log_chain": judgement.chain.hex(),
            "log_verdicts": dict(sorted(judgement.verdicts.items())),
            "raw": tally.raw,
            "decided": tally.decided,
            "held": tally.held,
            "tenants": {
                tenant: {
                    "due": tally.due[tenant],
                    "has": tally.has[tenant],
                    "denied": dict(sorted(tally.denied.get(tenant, {}).items())),
                }
                for tenant in sorted({*tally.due, *tally.has, *tally.denied})
            },
            "withheld": dict(sorted(tally.withheld.items())),
            "quarantined": dict(sorted(tally.quarantined.items())),
            "quarantined_before_raw": dict(sorted(tally.never_raw.items())),
            "findings_by_kind": dict(sorted(judgement.findings.counts.items())),
            "findings": [_finding(one) for one in self.findings[:FINDINGS_SHOWN_MAX]],
            "judged": {
                str(number): {
                    "to": judgement.judged_to.get(number, 0),
                    "raw_end": end,
                }
                for number, end in sorted(judgement.raw_end.items())
            },
            "notes": self.notes,
        }

    @property
    def notes(self) -> list[str]:
        """What people should know beside the findings."""
        left_out = self.judgement.left_out
        return self.judgement.notes + [
            f"{count} {what}; not judged" for what, count in sorted(left_out.items())
        ]

    def as_text(self) -> str:
        """A page for a terminal."""
        shown = self.as_json()
        lines = [
            f"log {shown['log_id']}, version {shown['version']}, hash {shown['log_chain'][:16]}",
            f"raw records {shown['raw']}, decided {shown['decided']}",
        ]
        if shown["held"]:
            lines.append(f"held for a label {shown['held']}")
        for tenant, counts in shown["tenants"].items():
            lines.append(f"tenant {tenant}: due {counts['due']}, has {counts['has']}")
            lines += [f"  denied, {why}: {n}" for why, n in counts["denied"].items()]
        lines += [f"withheld, {why}: {n}" for why, n in shown["withheld"].items()]
        lines += [f"quarantined, {why}: {n}" for why, n in shown["quarantined"].items()]
        lines += [
            f"quarantined before raw, {why}: {n}"
            for why, n in shown["quarantined_before_raw"].items()
        ]
        lines += [
            f"raw partition {number}: judged up to offset {judged['to']} of {judged['raw_end']}"
            for number, judged in shown["judged"].items()
        ]
        lines += [f"note: {note}" for note in shown["notes"]]
        lines += [f"WRONG, {kind}: {n}" for kind, n in shown["findings_by_kind"].items()]
        lines += [sentence(one) for one in self.findings[:FINDINGS_SHOWN_MAX]]
        lines.append("ok: every topic holds what it must" if self.ok else "NOT ok")
        return "\n".join(lines)


def sentence(finding: Finding) -> str:
    """One finding in one line."""
    place = finding.topic
    if finding.partition >= 0:
        place += f" {finding.partition}"
    if finding.offset >= 0:
        place += f"-{finding.offset}"
    about = f" (raw {finding.raw.partition}-{finding.raw.offset})" if finding.raw else ""
    return f"{finding.kind.value}: {place}{about}: {finding.sentence}"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "topic": finding.topic,
        "partition": finding.partition,
        "offset": finding.offset,
        "raw": None if finding.raw is None else f"{finding.raw.partition}-{finding.raw.offset}",
        "sentence": finding.sentence,
    }
