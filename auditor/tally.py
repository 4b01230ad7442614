"""[core] Counts for people."""

from collections import Counter
from dataclasses import dataclass, field

from auditor.entitlement import Entitlement


@dataclass(slots=True)
class Tally:
    """Counts for people.

    `raw` counts the records of raw that were read, `decided` those that the ledger covers, `held`
    those of them that still wait for a label. An event that nobody has had while it waits counts
    by what becomes of it; one that only some tenants wait for counts as first decided, and again
    for those that get it.
    """

    raw: int = 0
    decided: int = 0
    held: int = 0
    due: Counter[str] = field(default_factory=Counter)
    has: Counter[str] = field(default_factory=Counter)
    denied: dict[str, Counter[str]] = field(default_factory=dict)
    withheld: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    never_raw: Counter[str] = field(default_factory=Counter)

    def count(self, answer: Entitlement, times: int, only_tenant: str) -> None:
        """So many events got this answer."""
        if not times:
            return
        for tenant in answer.allowed:
            if only_tenant in ("", tenant):
                self.due[tenant] += times
        for tenant, reason in answer.denied.items():
            if only_tenant in ("", tenant):
                self.denied.setdefault(tenant, Counter())[reason.value] += times
        if not answer.allowed:
            self.withheld[answer.reason.value] += times

    def add(self, other: "Tally") -> None:
        """Take in the counts of another share."""
        self.raw += other.raw
        self.decided += other.decided
        self.held += other.held
        self.due.update(other.due)
        self.has.update(other.has)
        self.withheld.update(other.withheld)
        self.quarantined.update(other.quarantined)
        self.never_raw.update(other.never_raw)
        for tenant, reasons in other.denied.items():
            self.denied.setdefault(tenant, Counter()).update(reasons)
