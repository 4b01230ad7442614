"""What `midgate doctor` looks at, one small function a check.

Each looks at one thing delivery rests on and says in one line what it found and what to do. A
check that cannot be made because an earlier one failed is left out, not called failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from schemas.codec import FRAMES, schema_text
from streams import broker_features, clients, installation
from streams.acknowledged import acknowledged, lost
from streams.errors import LogError, MidgateError
from streams.follower import Follower
from streams.heartbeats import KEY, heartbeat
from streams.topics import TENANT_MESSAGE_BYTES_MAX, system_topics
from streams.topics_admin import drift, replication_for
from streams.topics_client import TopicsAdmin, TopicState

if TYPE_CHECKING:
    from streams.rights import Rights
    from streams.settings import Settings

OK, WARN, FAIL = "ok", "warn", "FAIL"

FOLLOW_TIMEOUT_S = 30.0
APPEND_TIMEOUT_S = 10.0
# Grants begin and end by the workers' clocks, the age of records is the broker's.
CLOCK_WARN_S = 1.0
CLOCK_FAIL_S = 5.0
# About 10 s of the network's full sort capacity (13,200 events/s).
LAG_WARN_EVENTS = 132_000
HEADROOM_BYTES = 65_536
APPLY = "run `midgate topics apply`"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the answer."""

    name: str
    status: str
    detail: str
    fix: str = ""


@dataclass
class Doctor:
    """The checks in order; what one learns the later ones use."""

    settings: Settings
    local: bool
    checks: list[Check] = field(default_factory=list)
    brokers: dict[int, Any] = field(default_factory=dict)
    states: dict[str, TopicState] = field(default_factory=dict)
    rights: Rights | None = None

    async def examine(self) -> list[Check]:
        """Make every check that can be made."""
        await self._run("config", self._config)
        if self.local:
            await self._run("java", self._java)
        await self._run("schemas", self._schemas)
        await self._run("broker", self._broker)
        if not self.brokers:
            return self.checks
        await self._run("transactions", self._transactions)
        await self._run("broker settings", self._broker_settings)
        await self._run("replication", self._replication)
        await self._run("topics", self._topics)
        names = self.settings.layout.topics
        if names.authorization in self.states:
            await self._run("authorization log", self._log)
            await self._run("clock", self._clock)
        if self.rights is not None:
            await self._run("layout", self._layout)
            await self._run("tenant topics", self._tenant_topics)
            await self._run("acknowledgements", self._acknowledgements)
        if names.raw in self.states:
            await self._run("offsets", self._offsets)
        return self.checks

    async def _run(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            await check()
        except MidgateError as error:
            self._say(name, FAIL, str(error), error.hint)
        except (KafkaError, OSError) as error:
            self._say(name, FAIL, f"{error!r}", "see the broker's log")

    def _say(self, name: str, status: str, detail: str, fix: str = "") -> None:
        self.checks.append(Check(name, status, detail, fix))

    async def _config(self) -> None:
        kafka, layout = self.settings.kafka, self.settings.layout
        if layout.partitions % layout.lanes:
            detail = f"{layout.lanes} lanes do not divide {layout.partitions} partitions"
            self._say("config", FAIL, detail, "set MIDGATE_LANES to a divisor")
            return
        detail = f"prefix {layout.prefix}, app id {layout.app_id}, {kafka.security_protocol}"
        self._say("config", OK, detail)

    async def _java(self) -> None:
        import os

        from deploy.local_kafka.java import find_java

        java = await asyncio.to_thread(find_java, os.environ)
        self._say("java", OK, f"Java {java.major} by {java.origin}: {java.executable}")

    async def _schemas(self) -> None:
        for frame in FRAMES:
            schema_text(frame)
        self._say("schemas", OK, f"{len(FRAMES)} frame ids; no registry is set to compare with")

    async def _broker(self) -> None:
        admin = TopicsAdmin(self.settings.kafka)
        started = time.monotonic()
        cluster = await asyncio.to_thread(admin.cluster)
        took_ms = (time.monotonic() - started) * 1000
        self.brokers = dict(cluster.brokers)
        detail = f"{len(self.brokers)} at {self.settings.kafka.bootstrap}, {took_ms:.0f} ms"
        self._say("broker", OK, detail)
        start = f"{self.settings.layout.prefix}."
        names = [name for name in cluster.topics if name.startswith(start)]
        self.states = await asyncio.to_thread(admin.states, names)

    async def _transactions(self) -> None:
        client = AIOKafkaClient(**clients.connection(self.settings.kafka))
        try:
            await client.bootstrap()
            level = await broker_features.transaction_version(client, min(self.brokers))
        finally:
            await client.close()
        if level < broker_features.TRANSACTION_VERSION_MIN:
            self._say(
                "transactions",
                FAIL,
                f"transaction.version is {level}: a late end of one transaction can end the next",
                broker_features.TRANSACTION_VERSION_HINT,
            )
            return
        self._say("transactions", OK, f"transaction.version {level}")

    async def _broker_settings(self) -> None:
        wanted = {
            "auto.create.topics.enable": ("false", "a mistyped topic would be made"),
            "transaction.partition.verification.enable": (
                "true",
                "a record could join a transaction that has ended",
            ),
        }
        admin = TopicsAdmin(self.settings.kafka)
        bad = 0
        for broker in sorted(self.brokers):
            config = await asyncio.to_thread(admin.broker_config, broker)
            for name, (value, why) in wanted.items():
                if config.get(name) != value:
                    bad += 1
                    detail = f"{name} is {config.get(name)} on broker {broker}: {why}"
                    self._say("broker settings", FAIL, detail, f"set {name}={value} there")
        if not bad:
            self._say("broker settings", OK, "auto.create off, partition verification on")

    async def _replication(self) -> None:
        wanted = replication_for(len(self.brokers))
        low = [state.name for state in self.states.values() if state.replication < wanted]
        if low:
            self._say(
                "replication",
                FAIL,
                f"less than {wanted} copies: {', '.join(sorted(low)[:5])}",
                "reassign their partitions to more brokers",
            )
        elif wanted == 1 and not self.local:
            self._say(
                "replication",
                WARN,
                f"{len(self.brokers)} broker(s): a lost disk loses acknowledged records",
                "use three brokers or more in production",
            )
        else:
            self._say("replication", OK, f"{wanted} of each partition")

    async def _topics(self) -> None:
        layout = self.settings.layout
        for spec in system_topics(layout.topics, layout.partitions):
            state = self.states.get(spec.name)
            if state is None:
                self._say(f"topic {spec.name}", FAIL, "does not exist", APPLY)
            elif state.partitions != spec.partitions:
                self._say(
                    f"topic {spec.name}",
                    FAIL,
                    f"{state.partitions} partitions, {spec.partitions} wanted",
                    f"set MIDGATE_PARTITIONS={state.partitions}, or use another prefix",
                )
            elif different := drift(spec, state):
                detail = ", ".join(
                    f"{key} is {state.config.get(key)}, not {value}"
                    for key, value in different.items()
                )
                self._say(f"topic {spec.name}", FAIL, detail, APPLY)
            else:
                self._say(f"topic {spec.name}", OK, f"{state.partitions} partitions")

    async def _log(self) -> None:
        settings = self.settings
        follower = Follower(
            settings.kafka, settings.layout, settings.authorization, heartbeat=False
        )
        started = time.monotonic()
        try:
            await follower.start(ready_within_s=FOLLOW_TIMEOUT_S)
            rights = follower.rights
            took_s = time.monotonic() - started
            age_s = follower.lease_age_s()
        finally:
            await follower.stop()
        if not rights.log_id:
            raise LogError("it has no log id", hint=APPLY)
        self.rights = rights
        self._say(
            "authorization log",
            OK,
            f"log {rights.log_id[:8]}, version {rights.version}, {len(rights.grants)} grants of"
            f" {len(rights.tenants)} tenants, read in {took_s:.1f} s",
        )
        lease_s = settings.authorization.authorization_staleness_s_max
        if age_s > lease_s / 2:
            self._say(
                "lease",
                WARN,
                f"the log's end was confirmed {age_s:.1f} s ago, the lease is {lease_s:g} s",
                "the broker answers slowly: workers would stop deciding now and then",
            )
        else:
            self._say("lease", OK, f"confirmed {age_s:.1f} s ago, lease {lease_s:g} s")

    async def _clock(self) -> None:
        kafka, topic = self.settings.kafka, self.settings.layout.topics.authorization
        producer = clients.idempotent_producer(kafka)
        await clients.start(producer, kafka)
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                before = time.time()
                written = await producer.send_and_wait(topic, heartbeat(), key=KEY, partition=0)
                after = time.time()
        finally:
            await producer.stop()
        difference_s = _outside(written.timestamp / 1000, before, after)
        detail = f"this machine's and the broker's differ by {abs(difference_s):.2f} s"
        if abs(difference_s) >= CLOCK_FAIL_S:
            self._say("clock", FAIL, detail, "set both by NTP: grants begin and end by them")
        elif abs(difference_s) >= CLOCK_WARN_S:
            self._say("clock", WARN, detail, "set both by NTP: grants begin and end by them")
        else:
            self._say("clock", OK, detail)

    async def _layout(self) -> None:
        rights, layout = self.rights, self.settings.layout
        assert rights is not None, "checked by the caller"
        if rights.layout is None:
            self._say("layout", FAIL, "the log holds no layout", APPLY)
            return
        installation.refuse_other_layout(rights, layout)
        self._say("layout", OK, f"{layout.partitions} partitions, {layout.lanes} lanes, as the log")

    async def _tenant_topics(self) -> None:
        assert self.rights is not None, "checked by the caller"
        raw = self.states.get(self.settings.layout.topics.raw)
        raw_max = int(raw.config["max.message.bytes"]) if raw else TENANT_MESSAGE_BYTES_MAX
        open_tenants = [tenant for tenant in self.rights.tenants.values() if not tenant.closed]
        bad = 0
        for tenant in open_tenants:
            problem = _tenant_problem(
                self.states.get(tenant.topic), tenant.partitions, raw_max + HEADROOM_BYTES
            )
            if problem:
                bad += 1
                fix = f"mend it, or run `midgate tenant add {tenant.tenant_id}` again"
                self._say(f"topic {tenant.topic}", FAIL, problem, fix)
        if not bad:
            self._say("tenant topics", OK, f"{len(open_tenants)}, each takes more than raw")

    async def _acknowledgements(self) -> None:
        assert self.rights is not None, "checked by the caller"
        layout = self.settings.layout
        keys = [TopicPartition(layout.topics.ledger, lane) for lane in range(layout.lanes)]
        found = await installation.committed_offsets(self.settings.kafka, layout.router_group, keys)
        versions = []
        for key, committed in found.items():
            said = acknowledged(committed)
            problem = lost(said, self.rights, self.rights.version)
            if problem:
                self._say(
                    "acknowledgements",
                    FAIL,
                    f"lane {key.partition}: {problem}",
                    "find out what was restored; do not start workers before",
                )
                return
            versions.append(f"lane {key.partition} at {said.version}")
        detail = ", ".join(versions) or "no lane has decided anything yet"
        self._say("acknowledgements", OK, detail)

    async def _offsets(self) -> None:
        layout, admin = self.settings.layout, TopicsAdmin(self.settings.kafka)
        numbers = range(self.states[layout.topics.raw].partitions)
        partitions = [TopicPartition(layout.topics.raw, number) for number in numbers]
        found = await installation.committed_offsets(
            self.settings.kafka, layout.router_group, partitions
        )
        starts = await asyncio.to_thread(admin.start_offsets, layout.topics.raw, numbers)
        ends = await asyncio.to_thread(admin.end_offsets, layout.topics.raw, numbers)
        lag = 0
        for partition in partitions:
            number = partition.partition
            committed = found[partition].offset if partition in found else None
            problem = _offset_problem(committed, starts[number], ends[number])
            if committed is None or problem:
                fix = APPLY if committed is None else "stop; find out what was lost or restored"
                self._say("offsets", FAIL, f"{layout.topics.raw}-{number}: {problem}", fix)
                return
            lag += ends[number] - committed
        if lag >= LAG_WARN_EVENTS:
            self._say("lag", WARN, f"{lag:,} events", "start more workers, or see why they wait")
        else:
            self._say("lag", OK, f"{lag:,} events")


def _outside(instant: float, before: float, after: float) -> float:
    """Seconds by which the instant lies outside of the span; 0 inside."""
    return min(0.0, instant - before) or max(0.0, instant - after)


def _offset_problem(committed: int | None, start: int, end: int) -> str:
    if committed is None:
        return "no offset is committed"
    if committed < start:
        return f"the committed offset {committed} lies before the log's start {start}"
    if committed > end:
        return f"the committed offset {committed} lies beyond the log's end {end}"
    return ""


def _tenant_problem(state: TopicState | None, partitions: int, bytes_min: int) -> str:
    if state is None:
        return "does not exist"
    if state.partitions != partitions:
        return f"has {state.partitions} partitions, the log says {partitions}"
    largest = int(state.config["max.message.bytes"])
    if largest < bytes_min:
        return f"max.message.bytes is {largest}, less than raw's and headers ({bytes_min})"
    return ""


def failed(checks: list[Check]) -> Iterator[Check]:
    """The checks that failed."""
    return (check for check in checks if check.status == FAIL)
