"""The judge judged: on random worlds with random faults it finds what the naive one finds."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from auditor import shelves
from auditor.contents import Contents, Partition, Record, Share, Topic
from auditor.findings import FindingKind
from auditor.judge import Judgement, merged
from tests.unit.auditor.naive_judge import Found, decided_by, due_for, naive_findings
from tests.unit.auditor.world import (
    APP,
    LABEL_NEEDED,
    NOW,
    OWNED,
    OWNED_TOO,
    UNGRANTED,
    VERSION,
    change,
    changes,
    grant,
    judge,
    ledger_record,
    ledger_value,
    log_record,
    log_topic,
    raw_record,
    scan_value,
    topic,
)

PATIENT = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NUMBERS = [OWNED] * 6 + [OWNED_TOO] * 3 + [UNGRANTED, LABEL_NEEDED, "", "9205590123456700000018"]
FAULTS = (
    *("missing", "doubled", "swapped", "uncut", "value", "key", "timestamp", "headers"),
    *("extra", "claims", "moved", "elsewhere", "nameless"),
)
BY_THE_JUDGE_ALONE = {"ledger_", "log_", "undecided", "open_"}
# What happens to the rights while events are decided: base, kind, subject, body.
LATER_CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("GRANT_END", "grant/g-acme", {"grant_id": "g-acme"}),
    ("GRANT_END", "grant/g-globex", {"grant_id": "g-globex"}),
    ("TENANT_END", "tenant/globex", {"tenant_id": "globex"}),
    ("GRANT", "grant/g-later", grant("g-later", "acme")),
    ("GRANT", "grant/g-short", grant("g-short", "acme", effective_from=NOW, effective_to=NOW + 7)),
    ("HEARTBEAT", "heartbeat", {"nonce": "more"}),
]


@st.composite
def logs(draw: st.DrawFn) -> Topic:
    """The small installation's log, and what changes later."""
    log = log_topic("m")
    records = log.partitions[0].records
    assert isinstance(records, list)
    for kind, subject, body in draw(st.lists(st.sampled_from(LATER_CHANGES), max_size=6)):
        value = change(kind, subject, body, number=1000 + len(records))
        records.append(log_record(len(records), value))
    log.partitions[0].end = log.partitions[0].high_watermark = len(records)
    return log


@st.composite
def raws(draw: st.DrawFn, number: int) -> list[Record]:
    """A raw partition with holes (markers), and some records that cannot be decided."""
    offset, records = draw(st.integers(0, 2)), []
    for _ in range(draw(st.integers(0, 14))):
        value: bytes | None = scan_value(
            draw(st.sampled_from(NUMBERS)),
            draw(st.sampled_from(["SEE"] * 5 + ["API", "UNKNOWN"])),
            draw(st.sampled_from(["JANE DOE", None, "JÉ"])),
        )
        if draw(st.integers(0, 12)) == 0:
            value = draw(st.sampled_from([None, b"", b"\0\0\0\0\2", b"\0\0\0\0\1\2"]))
        records.append(raw_record(number, offset, value, draw(st.sampled_from([b"k", b"l"]))))
        offset += draw(st.sampled_from([1] * 6 + [2]))
    return records


@st.composite
def ledgers(draw: st.DrawFn, raw: list[Record], number: int, last: int) -> list[Record]:
    """Entries that join; versions and clock go forward. The last may reach beyond raw by one."""
    records: list[Record] = []
    if not raw:
        return records
    start, end = raw[0].offset, raw[-1].offset + 1 + draw(st.integers(0, 1))
    version, now = VERSION, NOW
    while start < end:
        following = draw(st.integers(start + 1, end))
        version = draw(st.integers(version, last))
        now += draw(st.sampled_from([0, 1, 5, 10]))
        value = ledger_value(number, start, following, version=version, decided_at=now)
        records.append(ledger_record(number, len(records) * 2, value))
        start = following
    return records


@st.composite
def worlds(draw: st.DrawFn) -> Contents:
    """A world in which everything stands where it must, by the naive judge's own reckoning."""
    log = draw(logs())
    raw = {number: draw(raws(number)) for number in (0, 1)}
    last = log.partitions[0].end
    entries = {number: draw(ledgers(raw[number], number, last)) for number in raw}
    names = {"acme": 1, "globex": 2}
    tenants = {
        f"m.tenant.{name}": Topic(f"m.tenant.{name}", {n: Partition() for n in range(partitions)})
        for name, partitions in names.items()
    }
    quarantine = Topic("m.quarantine", {0: Partition(), 1: Partition()})
    world = Contents(
        "m", APP, log, topic("m.raw", raw), topic("m.ledger", entries), quarantine, tenants
    )
    decided = decided_by(world)
    # Lanes commit in any order; within a lane raw's order holds.
    waiting = {number: list(records) for number, records in raw.items()}
    while any(waiting.values()):
        number = draw(st.sampled_from([n for n in waiting if waiting[n]]))
        record = waiting[number].pop(0)
        entry = decided[record.partition, record.offset]
        for name, one in due_for(world, record, entry).items():
            put(quarantine if name == quarantine.name else tenants[name], one)
    return world


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


@st.composite
def faulty(draw: st.DrawFn) -> Contents:
    """A world with up to six faults in deliveries or quarantine."""
    world = draw(worlds())
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from([*world.tenants, *world.tenants, world.quarantine.name]))
        where = world.quarantine if name == world.quarantine.name else world.tenants[name]
        number = draw(st.sampled_from(sorted(where.partitions)))
        records = held(where, number)
        if records:
            spoil(draw, world, where, records)
    return world


def spoil(draw: st.DrawFn, world: Contents, where: Topic, records: list[Record]) -> None:
    """One fault."""
    at = draw(st.integers(0, len(records) - 1))
    other = draw(st.integers(0, len(records) - 1))
    record = records[at]
    fault = draw(
        st.sampled_from(
            [
                "missing",
                "doubled",
                "swapped",
                "uncut",
                "value",
                "key",
                "timestamp",
                "headers",
                "extra",
                "claims",
                "moved",
                "elsewhere",
                "nameless",
            ]
        )
    )
    event(fault)
    inside = where is world.quarantine
    if fault == "missing":
        del records[at]
    elif fault == "doubled":
        put(where, record)
    elif fault == "swapped":
        first, second = records[at], records[other]
        records[at] = second._replace(offset=first.offset)
        records[other] = first._replace(offset=second.offset)
    elif fault == "uncut":
        records[at] = record._replace(value=(record.value or b"\0")[:-1] + b"\2\0\0")
    elif fault == "value":
        records[at] = record._replace(value=draw(st.sampled_from([None, b"", b"\0\0\0\0\1\0"])))
    elif fault == "key":
        records[at] = record._replace(key=draw(st.sampled_from([None, b"other"])))
    elif fault == "timestamp":
        records[at] = record._replace(timestamp=1)
    elif fault == "headers" and not inside:
        changed = (("mg-grant", b"g-other"),)
        records[at] = record._replace(headers=record.headers[:6] + changed)
    elif fault in ("extra", "claims"):
        partition = draw(st.integers(0, 2 if fault == "extra" else 1))
        claim = b"%d-%d" % (partition, draw(st.integers(0, 20)))
        name, text = ("mg-origin", b"raw:" + claim) if inside else ("ce_id", claim)
        headers = tuple((n, text if n == name else v) for n, v in record.headers)
        if fault == "extra":
            put(where, record._replace(headers=headers))
        else:
            records[at] = record._replace(headers=headers)
    elif fault == "moved":
        put(where, records.pop(at)._replace(partition=draw(st.sampled_from([*where.partitions]))))
    elif fault == "elsewhere" and not inside:
        target = world.tenants[draw(st.sampled_from(sorted(world.tenants)))]
        put(target, record._replace(partition=draw(st.sampled_from([*target.partitions]))))
    elif fault == "nameless":
        records[at] = record._replace(headers=())


def found_by(judgement: Judgement) -> list[Found]:
    return [
        (one.kind.value, one.topic, one.partition, one.offset, one.raw)
        for one in judgement.findings.kept
    ]


@PATIENT
@given(worlds())
def test_what_is_right_has_no_finding(world: Contents) -> None:
    """However lanes interleave, and whatever the rights do meanwhile."""
    assert found_by(judge(world)) == naive_findings(world) == []


@PATIENT
@given(faulty())
def test_it_finds_what_the_naive_judge_finds(world: Contents) -> None:
    """The same kinds at the same places about the same raw records."""
    assert Counter(found_by(judge(world))) == Counter(naive_findings(world))


@PATIENT
@given(faulty())
def test_shares_together_find_the_same(world: Contents) -> None:
    """Judged by two, each a raw partition."""
    both = merged([judge(world, Share(number, 2)) for number in (0, 1)])
    whole = judge(world)
    assert Counter(found_by(both)) == Counter(found_by(whole))
    assert both.tally == whole.tally
    assert both.judged_to == whole.judged_to


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits in memory, plans are forgotten, and raw is read anew at every jump."""
    monkeypatch.setattr("auditor.shelves.HELD_MAX", 0)
    monkeypatch.setattr("auditor.shelves.FETCHED_BACK", 1)
    monkeypatch.setattr("auditor.expected.PLANS_MAX", 1)
    monkeypatch.setattr("auditor.course.READ_ON_MAX", 0)
    monkeypatch.setattr("auditor.spill.ROWS_AT_ONCE", 1)


class InPieces:
    """Records as they come from a broker: a few at a time."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def pieces(self, start: int) -> Any:
        rest = [one for one in self.records if one.offset >= start]
        for at in range(0, len(rest), 2):
            yield rest[at : at + 2]


@settings(PATIENT, suppress_health_check=list(HealthCheck))
@given(world=faulty())
def test_it_finds_the_same_without_room(no_room: None, world: Contents) -> None:
    """What waits, waits on disk, in order; pieces are small."""
    expected = Counter(naive_findings(world))
    for each in world.all_topics():
        for partition in each.partitions.values():
            assert isinstance(partition.records, list)
            partition.records = InPieces(partition.records)
    assert Counter(found_by(judge(world))) == expected


def test_the_naive_judge_knows_every_kind_about_deliveries() -> None:
    """What is found about ledger and log is shown one by one in test_judge.py."""
    delivery_kinds = {
        kind.value for kind in FindingKind if not kind.value.startswith(tuple(BY_THE_JUDGE_ALONE))
    }
    assert delivery_kinds >= {"missing", "extra", "doubled", "out_of_order", "not_cut"}
    assert shelves.HELD_MAX > 0
    assert len(changes()) == VERSION
