"""What tests of the authorization log share: changes, followers, and a foreign transaction."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from streams import clients
from streams.authorization_writer import AuthorizationWriter
from streams.changes import (
    grant_body,
    grant_change,
    grant_end_change,
    import_close_change,
    tenant_change,
)
from streams.follower import Follower
from streams.log_appender import LogAppender, fresh_key
from streams.settings import AuthorizationSettings, KafkaSettings, LayoutSettings

# Long enough for a busy machine, short enough to see it run out.
LEASE_S = 2.0
WAIT_S_MAX = 20.0


class Written(NamedTuple):
    """A change and its id, as a writer takes them."""

    value: bytes
    change_id: bytes


def stamp(base: int = -1) -> dict[str, Any]:
    return {"base": base, "actor": "test", "reason": "test", "change_id": uuid.uuid4().bytes}


def tenant(layout: LayoutSettings, tenant_id: str = "acme", **changed: Any) -> Written:
    fields = {"base": -1, **stamp(), **changed}
    value = tenant_change(
        tenant_id,
        name=fields.pop("name", tenant_id),
        party_type="SHIPPER",
        topic=layout.topics.tenant(tenant_id),
        partitions=1,
        **fields,
    )
    return Written(value, fields["change_id"])


def grant(grant_id: str, tenant_id: str = "acme", mid: str = "901234567", **more: Any) -> Written:
    fields = {**stamp(), **more}
    body = grant_body(
        grant_id,
        tenant_id=tenant_id,
        basis="OWNER",
        channels=["API", "SEE"],
        effective_from=0,
        mid=mid,
    )
    return Written(grant_change(body, **fields), fields["change_id"])


def revocation(grant_id: str) -> Written:
    fields = stamp()
    return Written(grant_end_change(grant_id, **fields), fields["change_id"])


def whole_import(rows: int, *, tenant_id: str = "acme", broken: bool = False) -> list[Written]:
    """Rows and their close; `broken` ends with a row that cannot be accepted."""
    import_id = uuid.uuid4().bytes
    name = import_id.hex()[:8]
    changes = [
        grant(f"{name}-{row}", tenant_id, mid=f"9{row:08d}", import_id=import_id)
        for row in range(rows)
    ]
    if broken:
        changes.append(grant(f"{name}-broken", "nobody", import_id=import_id))
    digest = hashlib.sha256(b"".join(change.change_id for change in changes)).digest()
    fields = stamp()
    close = import_close_change(import_id, len(changes), digest, **fields)
    return [*changes, Written(close, fields["change_id"])]


@asynccontextmanager
async def following(
    kafka: KafkaSettings,
    layout: LayoutSettings,
    *,
    heartbeat: bool = True,
    lease_s: float = LEASE_S,
    snapshots: Path | None = None,
    ready: bool = True,
) -> AsyncIterator[Follower]:
    """A running follower; `ready`: only once it may decide."""
    settings = AuthorizationSettings(authorization_staleness_s_max=lease_s, snapshot_dir=snapshots)
    follower = Follower(kafka, layout, settings, heartbeat=heartbeat)
    await follower.start(ready_within_s=WAIT_S_MAX if ready else None)
    try:
        yield follower
    finally:
        await follower.stop()


@asynccontextmanager
async def writing(
    kafka: KafkaSettings, layout: LayoutSettings, follower: Follower
) -> AsyncIterator[AuthorizationWriter]:
    writer = AuthorizationWriter(kafka, layout, follower)
    await writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


async def append(kafka: KafkaSettings, layout: LayoutSettings, *changes: Written) -> int:
    """Append without waiting for anybody's verdict; the offset of the first one."""
    appender = LogAppender(kafka, layout.topics.authorization, metadata_max_age_ms=5000)
    try:
        records = [(fresh_key(change_id), value) for value, change_id in changes]
        return (await appender.append_many(records, timeout_s=WAIT_S_MAX))[0]
    finally:
        await appender.close()


@asynccontextmanager
async def foreign_transaction(
    kafka: KafkaSettings, layout: LayoutSettings, value: bytes = b"foreign"
) -> AsyncIterator[AIOKafkaProducer]:
    """A transaction on the log that none of ours would open; aborted at the end if still open."""
    producer = AIOKafkaProducer(
        **clients.connection(kafka),
        transactional_id=f"foreign-{uuid.uuid4().hex}",
        acks="all",
        transaction_timeout_ms=60_000,
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(layout.topics.authorization, value, key=b"f", partition=0)
        yield producer
    finally:
        if producer._txn_manager.state.name == "IN_TRANSACTION":
            await producer.abort_transaction()
        await producer.stop()


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition that a follower or proxy fulfils by itself, with a deadline."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_S_MAX:g} s: {what}"
        await asyncio.sleep(0.02)
