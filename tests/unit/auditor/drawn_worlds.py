"""Worlds drawn at random in which everything stands where it must, labels and waiting included."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from auditor.avro_reader import encode, read
from auditor.contents import Contents, Partition, Record, Scope, Topic
from tests.unit.auditor.label_world import label, label_record
from tests.unit.auditor.naive_judge import (
    Found,
    History,
    decide,
    history_of,
    labels_for,
    tenants_by_topic,
)
from tests.unit.auditor.world import (
    APP,
    LABEL_NEEDED,
    NOW,
    OWNED,
    OWNED_MID,
    OWNED_TOO,
    UNGRANTED,
    VERSION,
    change,
    grant,
    ledger_record,
    ledger_value,
    log_record,
    log_topic,
    raw_record,
    tenant,
    topic,
)

FOREIGN = "RA123456785US"
EVENT_TIME, MAILED, HOUR_MS = 1_779_999_930_000, 20_600, 3_600_000

NUMBERS = [OWNED] * 6 + [OWNED_TOO] * 3 + [LABEL_NEEDED] * 4 + [FOREIGN] * 2
NUMBERS += [UNGRANTED, "", "9205590123456700000018"]
LABELLED = [LABEL_NEEDED, LABEL_NEEDED, FOREIGN, OWNED]
TENANTS = {"acme": 1, "globex": 2, "initech": 1}
HOLD_MS = 30
# A platform with a token, before everything that changes later.
PLATFORM: list[tuple[str, str, dict[str, Any]]] = [
    ("TENANT", "tenant/initech", tenant("initech", "PLATFORM")),
    ("MERCHANT_TOKEN", "token/T1", {"merchant_token_id": "T1", "tenant_id": "initech"}),
    (
        "GRANT",
        "grant/g-token",
        grant(
            "g-token",
            "initech",
            basis="MERCHANT_TOKEN",
            channels=["API", "WEBHOOK"],
            merchant_token_id="T1",
        ),
    ),
]
# What happens to the rights while events are decided: kind, subject, body.
LATER_CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("GRANT_END", "grant/g-acme", {"grant_id": "g-acme"}),
    ("GRANT_END", "grant/g-globex", {"grant_id": "g-globex"}),
    ("TENANT_END", "tenant/globex", {"tenant_id": "globex"}),
    ("GRANT", "grant/g-later", grant("g-later", "acme")),
    ("GRANT", "grant/g-whole", grant("g-whole", "acme", restricted=True)),
    ("GRANT", "grant/g-short", grant("g-short", "acme", effective_from=NOW, effective_to=NOW + 7)),
    ("GRANT", "grant/g-data", grant("g-data", "acme", data_from=EVENT_TIME - 10 * HOUR_MS)),
    ("MERCHANT_TOKEN_END", "token/T1", {"merchant_token_id": "T1"}),
    ("HEARTBEAT", "heartbeat", {"nonce": "more"}),
]


@st.composite
def logs(draw: st.DrawFn) -> Topic:
    """The small installation's log, a platform, and what changes later."""
    log = log_topic("m")
    records = log.partitions[0].records
    assert isinstance(records, list)
    later = draw(st.lists(st.sampled_from(LATER_CHANGES), max_size=6))
    for kind, subject, body in [*PLATFORM, *later]:
        value = change(kind, subject, body, number=1000 + len(records))
        records.append(log_record(len(records), value))
    log.partitions[0].end = log.partitions[0].high_watermark = len(records)
    return log


@st.composite
def scans(draw: st.DrawFn) -> bytes:
    """A scan of some number, which may say more of its piece, or less of its time."""
    name = draw(st.sampled_from(["JANE DOE", None, "JÉ"]))
    return encode(
        "tracking_event/v1",
        {
            "barcode": draw(st.sampled_from(NUMBERS)),
            "event_code": "01",
            "event_time": EVENT_TIME,
            "time_basis": draw(st.sampled_from(["UTC"] * 5 + ["LOCAL", "AMBIGUOUS"])),
            "facility_zip": "90009",
            "mailing_date": draw(st.sampled_from([None] * 5 + [MAILED])),
            "channel": draw(st.sampled_from(["SEE"] * 4 + ["API"] * 4 + ["UNKNOWN"])),
            "unique_tracking_id": draw(st.sampled_from([None] * 5 + ["U1", ""])),
            "restricted": None if name is None else {"recipient_name": name, "firm": None},
        },
    )


@st.composite
def raws(draw: st.DrawFn, number: int) -> list[Record]:
    """A raw partition with holes (markers), and some records that cannot be decided."""
    offset, records = draw(st.integers(0, 2)), []
    for _ in range(draw(st.integers(0, 14))):
        value: bytes | None = draw(scans())
        if draw(st.integers(0, 12)) == 0:
            value = draw(st.sampled_from([None, b"", b"\0\0\0\0\2", b"\0\0\0\0\1\2"]))
        records.append(raw_record(number, offset, value, draw(st.sampled_from([b"k", b"l"]))))
        offset += draw(st.sampled_from([1] * 6 + [2]))
    return records


@st.composite
def labels(draw: st.DrawFn, number: int) -> list[Record]:
    """Histories that grow, and records without effect, or of a number that is gone."""
    offset, records = 0, []
    histories: dict[str, list[dict[str, Any]]] = {}
    for _ in range(draw(st.integers(0, 10))):
        pic = draw(st.sampled_from(LABELLED))
        more = label(
            f"l{offset}",
            mid=draw(st.sampled_from([OWNED_MID] * 4 + ["361212"])),
            generated_by=draw(st.sampled_from(["initech", "initech", "acme"])),
            merchant_token_id=draw(st.sampled_from(["T1", "T1", ""])),
            valid_from=EVENT_TIME
            + draw(st.sampled_from([-20, -20, -20, -20, -13, 0, 1])) * HOUR_MS,
            valid_to=EVENT_TIME + draw(st.sampled_from([20, 20, 20, 20, 20, 11, 0])) * HOUR_MS,
            mailing_date=draw(st.sampled_from([None, None, MAILED, MAILED + 1])),
            unique_tracking_id=draw(st.sampled_from(["", "", "U1", "U2"])),
        )
        history = [*histories.get(pic, []), more]
        record = label_record(number, offset, pic, *history)
        odd = draw(st.integers(0, 20))
        if odd == 0:
            record = record._replace(value=b"\0\0\0\0\4\1")
        elif odd == 1:
            record = record._replace(key=OWNED_TOO.encode())
        elif odd == 2:
            record = label_record(number, offset, pic, {**more, "valid_to": 1 << 60})
        elif odd == 3:
            record, history = record._replace(value=None), []
        elif odd == 4:
            record = record._replace(key=b"writer.mark", value=b"\0\0\0\1\0")
        if odd not in (0, 1, 2, 4):
            histories[pic] = history
        records.append(record)
        offset += draw(st.sampled_from([1, 1, 2]))
    return records


@st.composite
def ledgers(draw: st.DrawFn, world: Contents, number: int) -> list[Record]:
    """A lane at work: entries that join; version, clock and label position go forward."""
    raw = {one.offset: one for one in held(world.raw, number)}
    records: list[Record] = []
    if not raw:
        return records
    start, end = min(raw), max(raw) + 1 + draw(st.integers(0, 1))
    last, labels_end = world.log.partitions[0].end, world.labels.partitions[number].end
    version, now, position = VERSION, NOW, draw(st.sampled_from([0, 0, 0, -1]))
    waiting: dict[int, int] = {}
    for _ in range(40):
        version = draw(st.integers(version, last))
        now += draw(st.sampled_from([0, 1, 5, 10]))
        position = draw(st.integers(position, min(labels_end, position + 2)))
        known = [o for o in sorted(waiting) if labels_for(world, raw[o], position)]
        anew = known[: draw(st.integers(0, len(known)))] if draw(st.booleans()) else known
        late = [o for o in waiting if now >= waiting[o] + HOLD_MS and o not in known]
        given_up = late if anew == known and draw(st.booleans()) else []
        following = start
        if anew == known and start < end:
            following = draw(st.integers(start, end))
        entry = {"version": version, "decided_at": now, "label_position": position}
        asked = read(ledger_value(number, start, following, **entry))[1]
        needing = [
            o
            for o in range(start, following)
            if o in raw and position >= 0 and decide(world, raw[o], asked).needs
        ]
        no_room = [o for o in needing if draw(st.integers(0, 7)) == 0]
        if anew or given_up or no_room or draw(st.integers(0, 3)) == 0:
            lists = {"decided_anew": anew, "given_up": given_up, "not_held": no_room}
            entry |= {**lists, "hold_ms": HOLD_MS}
        if following > start or anew or given_up:
            value = ledger_value(number, start, following, **entry)
            records.append(ledger_record(number, len(records) * 2, value))
        waiting = {o: at for o, at in waiting.items() if o not in (*anew, *given_up)}
        waiting |= {o: now for o in needing if o not in no_room}
        start = following
        if start == end and draw(st.booleans()):
            break
    return records


@st.composite
def worlds(draw: st.DrawFn) -> Contents:
    """A world in which everything stands where it must, by the naive judge's own reckoning."""
    tenants = {
        f"m.tenant.{name}": Topic(f"m.tenant.{name}", {n: Partition() for n in range(partitions)})
        for name, partitions in TENANTS.items()
    }
    world = Contents(
        "m",
        APP,
        draw(logs()),
        topic("m.raw", {number: draw(raws(number)) for number in (0, 1)}),
        topic("m.ledger", {}),
        Topic("m.quarantine", {0: Partition(), 1: Partition()}),
        tenants,
        Scope(at_rest=False),
        topic("m.labels", {number: draw(labels(number)) for number in (0, 1)}),
    )
    entries = {number: draw(ledgers(world, number)) for number in (0, 1)}
    world.ledger = topic("m.ledger", entries)
    found: list[Found] = []
    history = history_of(world, found)
    assert found == []
    # Lanes commit in any order; within a lane they deliver in the order of their entries.
    waiting = {number: list(placements(world, history, number)) for number in (0, 1)}
    while any(waiting.values()):
        number = draw(st.sampled_from([n for n in waiting if waiting[n]]))
        for name, one in waiting[number].pop(0).items():
            put(world.quarantine if name == world.quarantine.name else tenants[name], one)
    return world


def placements(world: Contents, history: History, number: int) -> Iterator[dict[str, Record]]:
    """What a lane places, event by event."""
    tenant_of = tenants_by_topic(world)
    for record in held(world.ledger, number):
        _, entry = read(record.value)
        for offset in entry.get("decided_anew", ()):
            wait = history.waits[number, offset]
            yield {t: one for t, one in wait.anew.due.items() if wait.is_for(tenant_of[t])}
        for offset in range(entry["raw_from"], entry["raw_next"]):
            yield history.decided[number, offset].due


def put(where: Topic, record: Record) -> None:
    """Append to its partition, leaving room for a marker."""
    partition = where.partitions[record.partition]
    assert isinstance(partition.records, list)
    partition.records.append(record._replace(offset=partition.end))
    partition.end += 2
    partition.high_watermark = partition.end


def held(where: Topic, number: int) -> list[Record]:
    records = where.partitions[number].records
    assert isinstance(records, list)
    return records
