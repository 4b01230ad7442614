"""The router's job as a plain Faust agent with `topic.send`: the yardstick beside our own figure.

What a Faust user writes first: at least once, no rights that change, no ledger, no headers, no
quarantine. Run by the bench as `faust -A tests.bench.naive_agent worker`; it takes its
settings from `NAIVE_BOOTSTRAP`, `NAIVE_RAW`, `NAIVE_PREFIX` and `NAIVE_TENANTS`.
"""

import os
import tempfile
from typing import Any

import faust

from schemas.barcode import owner
from schemas.event_reader import read_event
from tests.bench.workload import Workload

PREFIX = os.environ["NAIVE_PREFIX"]
WORKLOAD = Workload(tenants=int(os.environ["NAIVE_TENANTS"]))

app = faust.App(
    PREFIX,
    broker=f"kafka://{os.environ['NAIVE_BOOTSTRAP']}",
    store="memory://",
    datadir=tempfile.mkdtemp(prefix="naive-faust-"),
    topic_allow_declare=False,
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    producer_acks=-1,
    broker_commit_interval=0.25,
)
raw = app.topic(
    os.environ["NAIVE_RAW"],
    key_type=bytes,
    value_type=bytes,
    key_serializer="raw",
    value_serializer="raw",
)
tenants = [
    app.topic(f"{PREFIX}.tenant.{WORKLOAD.tenant(number)}", key_serializer="raw")
    for number in range(WORKLOAD.tenants)
]
RIGHTS = WORKLOAD.rights()


@app.agent(raw)
async def route(stream: Any) -> None:
    async for event in stream.events():
        facts = read_event(event.value)
        for number in RIGHTS.get(owner(facts.barcode).mid, ()):
            await tenants[number].send(
                key=event.key,
                value=event.value[: facts.restricted_at] + b"\0",
                value_serializer="raw",
            )
