"""Every world of `tests/unit/worlds` through the router on a real broker, and the judge over it.

Worlds share an installation: their tenants, MIDs and other names are made distinct. After each of
the worlds' steps one lane decides the events of that step, at the instants that the worlds say, so
its clock only goes forward. Rules are everybody's: a world with rules has an installation of its
own.
"""

import asyncio
import itertools
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from auditor.run import audit
from connectors.labels.registry import LabelRegistry, partition_of
from schemas.barcode import check_digit
from schemas.codec import decode, encode
from streams.authorization_writer import AuthorizationWriter
from streams.changes import KINDS, Body, change
from streams.follower import Follower
from streams.garbage import BetweenBatches
from streams.holds import HOLD_HEADER
from streams.label_history import Label
from streams.label_store import LabelStores
from streams.lane import Lane
from streams.metrics import Metrics
from streams.settings import (
    AuthorizationSettings,
    KafkaSettings,
    LayoutSettings,
    Settings,
    StoreSettings,
)
from streams.topics import tenant_topic
from streams.topics_admin import apply_topics, ensure_topics
from streams.topics_client import TopicsAdmin
from tests.rights_support import RightsOffice
from tests.router_support import committed, lane_layout, offer, placed, placed_in
from tests.transaction_support import eventually
from tests.unit.streams.worlds import World, WorldEvent, load, paths

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

ALWAYS = (0, -(1 << 45), 1 << 45, None, "")
NAMED = ("grant_id", "agreement_id", "merchant_token_id", "rule_set_id")


@dataclass
class Clock:
    """The instant at which lanes decide."""

    now: int = 0

    def __call__(self) -> int:
        return self.now


@dataclass(eq=False)
class Names:
    """The names of one world, made distinct from those of all others."""

    world: int
    serials: Iterable[int]
    mids: dict[str, str] = field(default_factory=dict)

    def name(self, name: str) -> str:
        return f"w{self.world}-{name}" if name else ""

    def told(self, name: str) -> str:
        """The name as the world tells it."""
        return name.removeprefix(f"w{self.world}-")

    def mid(self, mid: str) -> str:
        if mid and mid not in self.mids:
            serial = next(iter(self.serials))
            self.mids[mid] = f"9{serial:08d}" if len(mid) == 9 else f"{serial:06d}"
        return self.mids[mid] if mid else ""

    def body(self, body: Body, layout: LayoutSettings) -> Body:
        """A change of the world, under these names."""
        changed: dict[str, Any] = dict(body)
        for name in body.keys() & {*NAMED, "tenant_id"}:
            changed[name] = self.name(body[name])
        if body.get("crid"):
            changed["crid"] = f"W{self.world}{body['crid']}"
        if "mid" in body:
            changed["mid"] = self.mid(body["mid"])
        if "mids" in body:
            changed["mids"] = [self.mid(mid) for mid in body["mids"]]
        if "topic" in body:
            changed["topic"] = layout.topics.tenant(changed["tenant_id"])
        return changed


@dataclass
class Staged:
    """An event of a world with its number, which stands in the partition of its step."""

    world: Names
    name: str
    event: WorldEvent
    number: str

    def record(self) -> tuple[bytes, bytes]:
        """The raw record."""
        value = encode(
            "tracking_event",
            {
                "barcode": self.number,
                "event_code": "01",
                "event_time": self.event.time_ms,
                "time_basis": self.event.time_basis,
                "facility_zip": "90009",
                "channel": self.event.channel,
                "restricted": {"recipient_name": "J DOE", "firm": None},
            },
        )
        return self.number.encode(), value

    def label(self) -> list[Label]:
        """Its label, which covers any scan, if it has one."""
        made = self.event.label
        if made is None:
            return []
        by, token = self.world.name(made.generated_by), self.world.name(made.merchant_token_id)
        return [Label("l1", self.world.mid(made.mid), by, token, *ALWAYS)]


def stage(worlds: dict[Names, World], steps: int) -> list[Staged]:
    """Give every event a number under AI 92 or 93 that no other event has."""
    staged = []
    for names, world in worlds.items():
        serials = itertools.count(1)
        for name, event in world.events.items():
            while True:
                mid, serial = names.mid(event.mid), next(serials)
                digits = 11 if len(mid) == 9 else 14
                number = f"{'92748' if len(mid) == 9 else '93748'}{mid}{serial:0{digits}d}"
                number += str(check_digit(number.encode()))
                if partition_of(number.encode(), steps) == event.after:
                    break
            staged.append(Staged(names, name, event, number))
    return staged


async def append_step(
    office: RightsOffice, worlds: dict[Names, World], step: int, layout: LayoutSettings
) -> None:
    """What changes in every world at its `step`th step, each change on the base in force."""
    changes: list[tuple[str, Body]] = []
    for names, world in worlds.items():
        if step < len(world.marks):
            first = world.marks[step - 1] if step else 0
            for kind, body in world.history[first : world.marks[step]]:
                if kind not in ("LOG_START", "LAYOUT"):
                    changes.append((kind, names.body(body, layout)))
    while changes:
        subjects: set[str] = set()
        now, later = [], []
        for kind, body in changes:
            subject = KINDS[kind].subject(body)
            (later if subject in subjects else now).append((kind, body))
            subjects.add(subject)
        known = office.follower.rights.subjects
        records = []
        for kind, body in now:
            change_id = uuid.uuid4().bytes
            base = known.get(KINDS[kind].subject(body), -1)
            stamp = {"base": base, "actor": "test", "reason": "", "change_id": change_id}
            records.append((change(kind, body, **stamp), change_id))
        await office.append_all(records)
        changes = later


@asynccontextmanager
async def open_office(kafka: KafkaSettings, layout: LayoutSettings) -> AsyncIterator[RightsOffice]:
    """An office whose follower keeps the lease, as a worker's does."""
    office = RightsOffice(kafka, layout)
    office.follower = Follower(kafka, layout, AuthorizationSettings(), heartbeat=True)
    office.writer = AuthorizationWriter(kafka, layout, office.follower)
    await office.follower.start(ready_within_s=20)
    try:
        await office.writer.start()
        yield office
    finally:
        await office.writer.stop()
        await office.follower.stop()


async def make_tenant_topics(
    kafka: KafkaSettings, layout: LayoutSettings, worlds: dict[Names, World]
) -> None:
    """One topic for every tenant of every world."""
    tenants = [
        names.name(tenant) for names, world in worlds.items() for tenant in world.log.rights.tenants
    ]
    specs = [tenant_topic(layout.topics, tenant) for tenant in tenants]
    admin = TopicsAdmin(kafka)
    await asyncio.to_thread(lambda: ensure_topics(admin, specs, dry_run=False))


@asynccontextmanager
async def running_lane(office: RightsOffice, number: int) -> AsyncIterator[Lane]:
    """A lane as the router runs it."""

    async def still_owner() -> bool:
        return True

    lane = Lane(
        number,
        lane_layout(office.layout),
        Settings(kafka=office.kafka, layout=office.layout),
        follower=office.follower,
        writer=office.writer,
        metrics=Metrics("test"),
        garbage=BetweenBatches(),
        stores=LabelStores(None),
        still_owner=still_owner,
        on_ended=lambda lane: None,
        build="test",
    )
    lane.start()
    try:
        yield lane
    finally:
        await lane.stop(5)


async def run_worlds(
    kafka: KafkaSettings, worlds: dict[Names, World], clock: Clock
) -> tuple[LayoutSettings, list[Staged]]:
    """Everything that the worlds say happens."""
    steps = max(len(world.marks) for world in worlds.values())
    prefix = f"t{uuid.uuid4().hex[:8]}"
    layout = LayoutSettings(prefix=prefix, app_id=prefix, partitions=steps, lanes=steps)
    await apply_topics(kafka, layout)
    staged = stage(worlds, steps)
    await make_tenant_topics(kafka, layout, worlds)
    async with LabelRegistry(kafka, layout, StoreSettings()) as registry:
        await registry.register({one.number: one.label() for one in staged if one.label()})
    async with open_office(kafka, layout) as office:
        for step in range(steps):
            await append_step(office, worlds, step, layout)
            events = [one for one in staged if one.event.after == step]
            if events:
                async with running_lane(office, step):
                    await decide_step(kafka, layout, events, step, clock)
    return layout, staged


async def decide_step(
    kafka: KafkaSettings, layout: LayoutSettings, events: list[Staged], step: int, clock: Clock
) -> None:
    """The events of a step, each at its instant."""
    place, done = (layout.topics.raw, step), 0
    for at_ms, some in itertools.groupby(
        sorted(events, key=lambda one: one.event.at_ms), key=lambda one: one.event.at_ms
    ):
        clock.now = at_ms
        records = [one.record() for one in some]
        await offer(kafka, layout.topics.raw, records)
        done += len(records)

        async def is_decided(wanted: int = done) -> bool:
            return (await committed(kafka, layout))[place].offset >= wanted

        await eventually(is_decided, f"{done} events of step {step} are decided")


async def delivered(
    kafka: KafkaSettings, layout: LayoutSettings, staged: list[Staged]
) -> dict[Names, set[str]]:
    """What stands in the tenants' topics, in the words of each world, without what is billed."""
    by_number = {one.number: one for one in staged}
    tenants = {
        one.world.name(tenant): tenant
        for one in staged
        for tenant in WORLDS[one.world.world].log.rights.tenants
    }
    lines: dict[Names, set[str]] = defaultdict(set)
    topics = {layout.topics.tenant(known): known for known in tenants}
    for topic, records in (await placed_in(kafka, topics)).items():
        known = topics[topic]
        for record in records:
            one = by_number[record.key.decode()]
            assert known == one.world.name(tenants[known]), "a tenant of another world"
            grant_id = one.world.told(dict(record.headers)["mg-grant"].decode())
            uncut = decode(record.value)[1]["restricted"] is not None
            line = f"{one.name} {tenants[known]} {grant_id}{' uncut' if uncut else ''}"
            assert line not in lines[one.world], "delivered once"
            lines[one.world].add(line)
    return lines


async def waited(
    kafka: KafkaSettings, layout: LayoutSettings, staged: list[Staged]
) -> dict[Names, set[str]]:
    """Who was made to wait for a label, in the words of each world."""
    by_number = {one.number: one for one in staged}
    lines: dict[Names, set[str]] = defaultdict(set)
    for record in await placed(kafka, layout.topics.holds):
        if record.value is not None:
            one = by_number[record.key.partition(b"/")[0].decode()]
            for known in dict(record.headers)[HOLD_HEADER].decode().split("/")[3:]:
                lines[one.world].add(f"{one.name} {one.world.told(known)}")
    return lines


WORLDS = [load(path) for path in paths()]
WITH_RULES = [number for number, world in enumerate(WORLDS) if world.log.rights.rule_sets]
GROUPS = [
    [number for number in range(len(WORLDS)) if number not in WITH_RULES],
    *([number] for number in WITH_RULES),
]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: paths()[group[0]].stem)
async def test_each_tenant_has_what_the_world_says_and_the_judge_agrees(
    monkeypatch: pytest.MonkeyPatch, kafka_settings: KafkaSettings, group: list[int]
) -> None:
    clock = Clock()
    monkeypatch.setattr("streams.lane.now_ms", clock)
    serials = itertools.count(1)
    worlds = {Names(number, serials): WORLDS[number] for number in group}
    layout, staged = await run_worlds(kafka_settings, worlds, clock)
    got = await delivered(kafka_settings, layout, staged)
    waits = await waited(kafka_settings, layout, staged)
    denied: dict[str, Counter[str]] = defaultdict(Counter)
    for names, world in worlds.items():
        path = paths()[names.world].name
        told = {cut_billing(line) for line in world.expected.delivered}
        assert got[names] == told, path
        assert waits[names] == world.expected.awaits, path
        for line in world.expected.denied:
            _, tenant, reason = line.split()
            denied[names.name(tenant)][reason] += 1
    options = {"bootstrap_servers": kafka_settings.bootstrap}
    report = await audit(options, layout.prefix, layout.app_id)
    assert report.ok, report.as_text()
    assert report.judgement.tally.denied == denied
    assert report.judgement.tally.decided == len(staged)


def cut_billing(line: str) -> str:
    """What a record shows of a line: event, tenant, grant, and whether it is whole."""
    event, tenant, grant_id, *more = line.split()
    return " ".join([event, tenant, grant_id, *(["uncut"] if "uncut" in more else [])])
