"""[core] What the judge can find wrong: a closed list, and the sentences that go with it."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

# A wholly wrong topic would otherwise make as many findings as records; the counts stay exact.
FINDINGS_KEPT_MAX = 10_000


class FindingKind(StrEnum):
    """Every way in which deliveries, ledger or log can be wrong."""

    MISSING = "missing"
    EXTRA = "extra"
    DOUBLED = "doubled"
    WRONG_TENANT = "wrong_tenant"
    WRONG_PARTITION = "wrong_partition"
    NOT_CUT = "not_cut"
    WRONGLY_CUT = "wrongly_cut"
    WRONG_VALUE = "wrong_value"
    WRONG_KEY = "wrong_key"
    WRONG_TIMESTAMP = "wrong_timestamp"
    WRONG_HEADERS = "wrong_headers"
    OUT_OF_ORDER = "out_of_order"
    UNDECIDED = "undecided"
    OPEN_TRANSACTION = "open_transaction"
    LEDGER_GAP = "ledger_gap"
    LEDGER_OVERLAP = "ledger_overlap"
    LEDGER_FUTURE_VERSION = "ledger_future_version"
    LEDGER_VERSION_BACK = "ledger_version_back"
    LEDGER_CLOCK_BACK = "ledger_clock_back"
    LEDGER_OTHER_LOG = "ledger_other_log"
    LEDGER_UNREADABLE = "ledger_unreadable"
    LEDGER_UNREGISTERED = "ledger_unregistered"
    LEDGER_LABELS_BACK = "ledger_labels_back"
    LEDGER_FUTURE_LABELS = "ledger_future_labels"
    HOLD_NOT_WAITING = "hold_not_waiting"
    HOLD_STILL_NEEDED = "hold_still_needed"
    HOLD_GIVEN_UP = "hold_given_up"
    HOLD_OVERTAKEN = "hold_overtaken"
    HOLD_NOT_NEEDED = "hold_not_needed"
    LABELS_STOPPED = "labels_stopped"
    QUARANTINE_MISSING = "quarantine_missing"
    QUARANTINE_EXTRA = "quarantine_extra"
    QUARANTINE_DOUBLED = "quarantine_doubled"
    QUARANTINE_CHANGED = "quarantine_changed"
    LOG_STOPPED = "log_stopped"
    LOG_KEY_REPEATED = "log_key_repeated"
    LOG_CLOCK = "log_clock"
    LOG_OTHER_LAYOUT = "log_other_layout"
    LOG_TOPIC_NAME = "log_topic_name"


class RawPosition(NamedTuple):
    """Partition and offset in the raw topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, where it stands, and which raw record it is about.

    `partition` and `offset` are -1 where the finding is about something that does not stand there.
    """

    kind: FindingKind
    topic: str
    partition: int
    offset: int
    raw: RawPosition | None
    sentence: str


@dataclass(slots=True)
class Findings:
    """All findings: exact counts, and the first ones whole."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[FindingKind] = field(default_factory=Counter)

    def add(
        self,
        kind: FindingKind,
        sentence: str,
        *,
        topic: str,
        partition: int = -1,
        offset: int = -1,
        raw: RawPosition | None = None,
    ) -> None:
        """Count a finding, and keep it while there is room."""
        self.counts[kind] += 1
        if len(self.kept) < FINDINGS_KEPT_MAX:
            self.kept.append(Finding(kind, topic, partition, offset, raw, sentence))

    def take_in(self, other: "Findings") -> None:
        """Add what another share found."""
        self.counts.update(other.counts)
        self.kept += other.kept[: FINDINGS_KEPT_MAX - len(self.kept)]
