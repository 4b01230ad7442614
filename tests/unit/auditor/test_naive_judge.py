"""The judge judged: on random worlds with random faults it finds what the naive one finds."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from auditor import shelves
from auditor.avro_reader import read
from auditor.contents import Contents, Record, Share, Topic
from auditor.findings import FindingKind
from auditor.judge import Judgement, merged
from tests.unit.auditor.drawn_worlds import HOLD_MS, held, put, worlds
from tests.unit.auditor.naive_judge import (
    Found,
    naive_findings,
)
from tests.unit.auditor.world import (
    VERSION,
    changes,
    judge,
    ledger_value,
)

PATIENT = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FAULTS = (
    *("missing", "doubled", "swapped", "uncut", "value", "key", "timestamp", "headers"),
    *("extra", "claims", "moved", "elsewhere", "nameless", "ledger", "ledger"),
)
BY_THE_JUDGE_ALONE = {"ledger_", "log_", "labels_", "undecided", "open_"}


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
    fault = draw(st.sampled_from(FAULTS))
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
    elif fault == "ledger":
        spoil_ledger(draw, world)


def spoil_ledger(draw: st.DrawFn, world: Contents) -> None:
    """An entry says of one event more, or less, that waited or did not."""
    number = draw(st.sampled_from([0, 1]))
    entries = held(world.ledger, number) if number in world.ledger.partitions else []
    if not entries:
        return
    at = draw(st.integers(0, len(entries) - 1))
    _, entry = read(entries[at].value)
    lists = {name: list(entry.get(name, ())) for name in ("decided_anew", "given_up", "not_held")}
    chosen = lists[draw(st.sampled_from(sorted(lists)))]
    if chosen and draw(st.booleans()):
        chosen.pop(draw(st.integers(0, len(chosen) - 1)))
    else:
        chosen.insert(draw(st.integers(0, len(chosen))), draw(st.integers(0, entry["raw_next"])))
    if entry["raw_from"] < entry["raw_next"] or lists["decided_anew"] or lists["given_up"]:
        del entry["partition"]
        changed = {**entry, **lists, "hold_ms": HOLD_MS}
        value = ledger_value(number, changed.pop("raw_from"), changed.pop("raw_next"), **changed)
        entries[at] = entries[at]._replace(value=value)


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
