"""[core] Replays the authorization log step by step, and looks at the log itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from auditor.contents import Contents, Partition, Record, Topic
from auditor.findings import FindingKind, Findings
from auditor.rights import Rights, StoppedError

HEARTBEAT_KEY = b"heartbeat"


@dataclass(slots=True)
class Replay:
    """The log, read as far as is asked for, and the rights after it; only goes forward."""

    topic: Topic
    rights: Rights = field(default_factory=Rights)
    stopped: str = ""
    stopped_at: int = -1
    verdicts: dict[str, int] = field(default_factory=dict)
    read: int = 0
    _coming: Iterator[Record] | None = None
    _next: Record | None = None

    @property
    def end(self) -> int:
        """The highest version anybody can have had."""
        return self.topic.partitions[0].end if 0 in self.topic.partitions else 0

    def advance(self, version: int, findings: Findings) -> bool:
        """Apply every record below `version`; False if the rule stopped before."""
        if self._coming is None:
            self._coming = self.topic.records()
            self._next = next(self._coming, None)
        while self._next is not None and self._next.offset < version and not self.stopped:
            record = self._next
            try:
                verdict = self.rights.feed(record.offset, record.timestamp, record.value)
            except StoppedError as error:
                self.stopped, self.stopped_at = str(error), record.offset
                self.say_stopped(findings)
                break
            name = verdict or "heartbeat"
            self.verdicts[name] = self.verdicts.get(name, 0) + 1
            self.read += 1
            self._next = next(self._coming, None)
        return not self.stopped

    def say_stopped(self, findings: Findings) -> None:
        """The finding that the rule stopped, if it did."""
        if self.stopped:
            findings.add(
                FindingKind.LOG_STOPPED,
                f"nothing may be decided from here on: {self.stopped}",
                topic=self.topic.name,
                partition=0,
                offset=self.stopped_at,
            )

    def go_on(self, topic: Topic) -> None:
        """Read on from a topic whose records begin where this has come to."""
        self.topic, self._coming, self._next = topic, None, None

    def let_go(self) -> None:
        """Read no further, so that this can be looked at in another process."""
        self.topic = Topic(self.topic.name, {0: Partition(end=self.end)})
        self._coming, self._next = iter(()), None


def check_log(contents: Contents, replay: Replay, findings: Findings) -> None:
    """What the log must be like whatever it says. `replay` stands at the end."""
    topic = contents.log.name
    if not replay.read and not replay.stopped:
        findings.add(FindingKind.LOG_STOPPED, "the log is empty", topic=topic)
    _check_records(topic, contents.log.records(), findings)
    tables = replay.rights.tables
    if tables.layout is not None and tables.layout["app_id"] != contents.app_id:
        findings.add(
            FindingKind.LOG_OTHER_LAYOUT,
            f"the layout's app id is {tables.layout['app_id']!r}, not {contents.app_id!r}",
            topic=topic,
        )
    for tenant_id, tenant in sorted(tables.tenants.items()):
        expected = f"{contents.prefix}.tenant.{tenant_id}"
        if tenant["topic"] != expected:
            findings.add(
                FindingKind.LOG_TOPIC_NAME,
                f"tenant {tenant_id} has topic {tenant['topic']!r}, not {expected!r}",
                topic=topic,
            )


def _check_records(topic: str, records: Iterable[Record], findings: Findings) -> None:
    keys: set[bytes | None] = set()
    for record in records:
        if record.key in keys:
            findings.add(
                FindingKind.LOG_KEY_REPEATED,
                f"key {record.key!r} was used before: compaction would change what was decided",
                topic=topic,
                partition=0,
                offset=record.offset,
            )
        if record.key != HEARTBEAT_KEY:
            keys.add(record.key)
        if not record.append_time:
            findings.add(
                FindingKind.LOG_CLOCK,
                "the timestamp is the writer's, not the broker's",
                topic=topic,
                partition=0,
                offset=record.offset,
            )
