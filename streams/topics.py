"""Names and settings of every topic: the one table that `topics apply` and `doctor` read."""

import re
from dataclasses import dataclass, field

TENANT_ID = re.compile(r"[a-z0-9](-?[a-z0-9])*")
TENANT_ID_CHARACTERS_MAX = 100

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
RAW_MESSAGE_BYTES_MAX = 1_048_588
# A tenant record is a raw record plus our headers: room for them, or a record that fitted raw
# would stop its tenant.
TENANT_MESSAGE_BYTES_MAX = RAW_MESSAGE_BYTES_MAX + 65_536


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must look like; `config` is what is set on the topic itself."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Topic names under one prefix."""

    prefix: str = "midgate"

    @property
    def raw(self) -> str:
        return f"{self.prefix}.raw"

    @property
    def authorization(self) -> str:
        return f"{self.prefix}.authorization"

    @property
    def ledger(self) -> str:
        return f"{self.prefix}.ledger"

    @property
    def files(self) -> str:
        return f"{self.prefix}.files"

    @property
    def labels(self) -> str:
        return f"{self.prefix}.labels"

    @property
    def holds(self) -> str:
        return f"{self.prefix}.holds"

    @property
    def metering(self) -> str:
        return f"{self.prefix}.metering"

    @property
    def usage(self) -> str:
        return f"{self.prefix}.usage"

    @property
    def quarantine(self) -> str:
        return f"{self.prefix}.quarantine"

    @property
    def reveals(self) -> str:
        return f"{self.prefix}.reveals"

    def of_lanes(self) -> set[str]:
        """What a lane writes in its transactions beside tenant topics, and raw."""
        return {self.raw, self.ledger, self.quarantine, self.holds, self.metering}

    def tenant(self, tenant_id: str) -> str:
        return f"{self.prefix}.tenant.{tenant_id}"


def is_tenant_id(text: str) -> bool:
    """True for an id that is no prefix of another up to a separator."""
    return len(text) <= TENANT_ID_CHARACTERS_MAX and TENANT_ID.fullmatch(text) is not None


def system_topics(
    names: TopicNames, partitions: int, audit_retention_ms: int = 35 * DAY_MS
) -> list[TopicSpec]:
    """Every topic that `topics apply` makes; `partitions` is P."""
    delete = {"cleanup.policy": "delete", "retention.ms": str(audit_retention_ms)}
    compact = {"cleanup.policy": "compact"}
    return [
        TopicSpec(
            names.raw, partitions, {**delete, "max.message.bytes": str(RAW_MESSAGE_BYTES_MAX)}
        ),
        TopicSpec(
            names.authorization,
            1,
            # Heartbeats are some 50,000 records a day and the only ones that compaction takes;
            # it takes nothing from an open segment, which lasts 7 days by default.
            {
                **compact,
                "message.timestamp.type": "LogAppendTime",
                "segment.ms": str(DAY_MS),
                "min.cleanable.dirty.ratio": "0.1",
            },
        ),
        TopicSpec(names.ledger, partitions, delete),
        TopicSpec(names.files, 1, compact),
        # Who looked at personal data: kept for ever, and when is the broker's word, not the
        # looker's.
        TopicSpec(
            names.reveals,
            1,
            {
                "cleanup.policy": "delete",
                "retention.ms": "-1",
                "message.timestamp.type": "LogAppendTime",
            },
        ),
        TopicSpec(names.metering, partitions, delete),
        TopicSpec(names.usage, partitions, compact),
        TopicSpec(
            names.labels,
            partitions,
            # What a PIC's history was at some position must be known as long as a decision made
            # there can be asked about: the record before is not compacted away any sooner.
            {**compact, "min.compaction.lag.ms": str(audit_retention_ms)},
        ),
        TopicSpec(
            names.holds,
            partitions,
            # A held event and, within hours, its end. Compaction takes both, and takes nothing from
            # an open segment. An event that fitted raw must fit here, with where it came from.
            {
                **compact,
                "segment.ms": str(HOUR_MS),
                "max.message.bytes": str(TENANT_MESSAGE_BYTES_MAX),
            },
        ),
        TopicSpec(
            names.quarantine,
            partitions,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(30 * DAY_MS),
                "max.message.bytes": str(TENANT_MESSAGE_BYTES_MAX),
            },
        ),
    ]


def tenant_topic(
    names: TopicNames, tenant_id: str, partitions: int = 1, retention_ms: int = 7 * DAY_MS
) -> TopicSpec:
    """The topic of one tenant; partitions is n and divides P."""
    return TopicSpec(
        names.tenant(tenant_id),
        partitions,
        {
            "cleanup.policy": "delete",
            "retention.ms": str(retention_ms),
            "max.message.bytes": str(TENANT_MESSAGE_BYTES_MAX),
        },
    )
