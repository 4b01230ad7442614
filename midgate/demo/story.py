"""What happens in the demonstration, step by step, and whether it went as it must."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midgate.demo import scenario
from midgate.demo.stage import DemoError, Stage, finished, until_decided
from midgate.rights_session import Session, open_session

if TYPE_CHECKING:
    from auditor.report import Report
    from streams.settings import Settings

EVENTS_FIRST, EVENTS_SECOND = 50_000, 20_000
RATE_SECOND = 4_000
MIDS = 12
SAMPLES_EACH = 2


@dataclass(frozen=True, slots=True)
class Told:
    """What the story was told of the second file: who got how much before and after."""

    version: int
    platform_before: int
    platform_after: int
    shipper_after: int

    @property
    def stopped(self) -> bool:
        """Nothing for the platform under the new rights, while the shipper went on."""
        return not self.platform_after and self.platform_before > 0 and self.shipper_after > 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole demonstration."""

    first: Report
    last: Report
    samples: dict[str, list[dict[str, Any]]]
    denial: dict[str, Any]
    told: Told
    seconds: float

    @property
    def ok(self) -> bool:
        """The recount finds no difference, and everybody got, or did not get, what they must."""
        tenants = self.last.as_json()["tenants"]
        due = {name: tenants[name]["due"] if name in tenants else 0 for name in scenario.WHO}
        right = due[scenario.SHIPPER] > due[scenario.PLATFORM] > 0 == due[scenario.ANALYST]
        denied = self.denial["reason"] == "agreement_expired"
        return self.first.ok and self.last.ok and right and denied and self.told.stopped

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        last = self.last.as_json()
        names = ["raw", "tenants", "withheld", "quarantined", "quarantined_before_raw"]
        names += ["findings_by_kind", "findings", "log_id", "version"]
        return {
            "ok": self.ok,
            **{name: last[name] for name in names},
            "revocation": {
                "version": self.told.version,
                "platform_events_before": self.told.platform_before,
                "platform_events_after": self.told.platform_after,
                "shipper_events_after": self.told.shipper_after,
            },
            "denial": {name: self.denial[name] for name in ("input", "outcome", "reason")},
            "seconds": round(self.seconds, 1),
        }


async def play(stage: Stage, effective: Settings, say: Callable[[str], None]) -> Outcome:
    """Run the demonstration on a broker that answers; `say` hears each step."""
    from streams.topics_admin import apply_topics

    began = time.monotonic()
    say("making topics, tenants, an agreement and grants")
    await apply_topics(stage.kafka, stage.layout)
    private = effective.authorization.model_copy(update={"snapshot_dir": stage.folder / "rights"})
    effective = effective.model_copy(
        update={"kafka": stage.kafka, "layout": stage.layout, "authorization": private}
    )
    async with open_session(effective, writing=True) as session, commands_ended(stage):
        await scenario.establish(session)
        with stage.worker() as worker:
            say(f"generating {EVENTS_FIRST:,} scans, starting a worker")
            first_file, _ = await asyncio.gather(
                generated(stage, "first.see", EVENTS_FIRST, seed=1), worker.until_ready()
            )
            say("ingesting the first file")
            await finished(stage.command("ingest", "see", str(first_file), "--output", "json"))
            await until_decided(stage)
            first = await recount(stage)
            samples = {tenant: await newest(stage, tenant) for tenant in scenario.WHO}
            denial = await denied(stage)
            say(f"ingesting a second file of {EVENTS_SECOND:,} scans; revoking in its middle")
            told = await second_file(stage, session)
        say("recounting every topic, with code that shares nothing with the router")
        last = await recount(stage)
    return Outcome(first, last, samples, denial, told, time.monotonic() - began)


@asynccontextmanager
async def commands_ended(stage: Stage) -> AsyncIterator[None]:
    """Before the loop ends: it waits for the threads that wait for these commands."""
    try:
        yield
    finally:
        stage.end_commands()


async def generated(stage: Stage, name: str, events: int, *, seed: int) -> Path:
    """A generated file."""
    path = stage.folder / name
    process = stage.command(
        *("generate", "see", "--events", str(events), "--mids", str(MIDS), "--seed", str(seed)),
        *("--mid", scenario.SHARED_MID, "--mid", scenario.OWN_MID, "--out", str(path)),
    )
    _, err = await asyncio.to_thread(process.communicate)
    if process.returncode:
        raise DemoError(f"generating a file failed: {err.strip()}")
    return path


async def second_file(stage: Stage, session: Session) -> Told:
    """Ingest at a steady rate, and revoke the platform's grant half way."""
    path = await generated(stage, "second.see", EVENTS_SECOND, seed=2)
    before = await counted(stage, scenario.PLATFORM, 0)
    ingest = stage.command(
        *("ingest", "see", str(path), "--rate", str(RATE_SECOND), "--output", "json")
    )
    # In the middle: a third of what the file holds for the platform has come through.
    share = before[0] * EVENTS_SECOND // EVENTS_FIRST // 3
    while (await counted(stage, scenario.PLATFORM, 0))[0] < before[0] + share:
        if ingest.poll() is not None:
            break
        await asyncio.sleep(0.2)
    version = await scenario.revoke_platform(session)
    await finished(ingest)
    await until_decided(stage)
    below, above = await counted(stage, scenario.PLATFORM, version)
    _, shipper_above = await counted(stage, scenario.SHIPPER, version)
    return Told(version, below - before[0] if below else 0, above, shipper_above)


async def counted(stage: Stage, tenant: str, version: int) -> tuple[int, int]:
    """Events of a tenant decided under versions below, and from, `version` (0: all, none)."""
    from midgate.reading import partitions_of, reading, records_between

    below = above = 0
    async with reading(stage.kafka) as consumer:
        places = await partitions_of(consumer, stage.layout.topics.tenant(tenant))
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            for record in await records_between(consumer, place, 0, ends[place]):
                authz = dict(record.headers)["mg-authz"]
                decided_under = int(authz.rpartition(b":")[2])
                if version and decided_under >= version:
                    above += 1
                else:
                    below += 1
    return below, above


async def newest(stage: Stage, tenant: str) -> list[dict[str, Any]]:
    """The newest events of a tenant, decoded as `tail` shows them."""
    from midgate.commands.tail import shown_record
    from midgate.reading import last_records, reading

    async with reading(stage.kafka) as consumer:
        topic = stage.layout.topics.tenant(tenant)
        return [shown_record(one) for one in await last_records(consumer, topic, SAMPLES_EACH)]


async def denied(stage: Stage) -> dict[str, Any]:
    """Why the analytics company did not get an event that the platform got."""
    from midgate.explanation import Decided, Question, explain_event
    from midgate.ledger_reading import LedgerSearch
    from midgate.reading import last_records, one_record, reading
    from midgate.rights_history import replayed

    async with reading(stage.kafka) as consumer:
        topic = stage.layout.topics.tenant(scenario.PLATFORM)
        found = await last_records(consumer, topic, 1)
    if not found:
        raise DemoError(f"{topic} is empty, and must not be")
    place = dict(found[0].headers)["ce_id"].decode()
    partition, offset = map(int, place.split("-"))
    record = await one_record(stage.kafka, stage.layout.topics.raw, partition, offset)
    async with reading(stage.kafka) as consumer:
        ledger = stage.layout.topics.ledger
        line, _ = await LedgerSearch(consumer, ledger).find(record)
    if line is None:
        raise DemoError(f"the ledger has no entry for raw {place}")
    decided = Decided.by(line.entry)
    snapshot = (await replayed(stage.kafka, stage.layout, [decided.version]))[decided.version]
    asked = Question(tenant=scenario.ANALYST, channel=0, now_ms=decided.at_ms)
    return explain_event(record, snapshot, decided, asked)


async def recount(stage: Stage) -> Report:
    """The independent judge's report."""
    from auditor.run import audit
    from streams.clients import connection

    return await audit(connection(stage.kafka), stage.layout.prefix, stage.layout.app_id)
