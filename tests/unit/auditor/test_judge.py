"""Every kind of finding is produced by spoiling one thing, and a clean installation has none."""

from collections.abc import Callable

import pytest

from auditor.contents import Contents, Partition, Topic
from auditor.findings import FindingKind, Findings
from auditor.judge import Judgement
from tests.unit.auditor.test_judge_labels import LABEL_SPOILERS
from tests.unit.auditor.world import (
    GARBAGE,
    NOW,
    OWNED,
    RAW,
    VERSION,
    change,
    clean,
    delivered,
    deliverer,
    judge,
    ledger_record,
    ledger_value,
    log_record,
    quarantined,
    raw_record,
    records,
    scan_value,
    tenant,
)

ACME, GLOBEX = "m.tenant.acme", "m.tenant.globex"


def _missing(world: Contents) -> None:
    del records(world, ACME)[1]


def _extra(world: Contents) -> None:
    never = raw_record(0, 3, scan_value(OWNED))
    records(world, ACME).append(delivered(0, 4, never, "g-acme", OWNED))


def _doubled(world: Contents) -> None:
    records(world, ACME).append(delivered(0, 4, RAW[0][2], "g-acme", OWNED))


def _wrong_tenant(world: Contents) -> None:
    records(world, GLOBEX, 1).append(delivered(1, 1, RAW[1][2], "g-globex", OWNED))


def _wrong_partition(world: Contents) -> None:
    moved = records(world, GLOBEX, 1).pop()
    records(world, GLOBEX, 0).append(moved._replace(partition=0, offset=3))


def _not_cut(world: Contents) -> None:
    held = records(world, ACME)
    held[0] = held[0]._replace(value=RAW[0][0].value)


def _wrong_value(world: Contents) -> None:
    held = records(world, ACME)
    held[0] = held[0]._replace(value=held[2].value)


def _wrong_key(world: Contents) -> None:
    held = records(world, ACME)
    held[0] = held[0]._replace(key=b"other")


def _wrong_timestamp(world: Contents) -> None:
    held = records(world, ACME)
    held[0] = held[0]._replace(timestamp=NOW)


def _wrong_headers(world: Contents) -> None:
    held = records(world, ACME)
    changed = (*held[0].headers[:5], ("mg-authz", b"0f8fad5b:9"), held[0].headers[6])
    held[0] = held[0]._replace(headers=changed)


def _out_of_order(world: Contents) -> None:
    held = records(world, GLOBEX)
    held[:] = [held[1]._replace(offset=0), held[0]._replace(offset=2)]


def _undecided(world: Contents) -> None:
    records(world, "m.raw", 1).append(raw_record(1, 3, scan_value(OWNED)))


def _open_transaction(world: Contents) -> None:
    world.ledger.partitions[0].high_watermark += 2


def _ledger_gap(world: Contents) -> None:
    held = records(world, "m.ledger")
    held[1] = ledger_record(0, 2, ledger_value(0, 3, 4))
    del records(world, ACME)[2]
    del records(world, GLOBEX)[1]


def _ledger_overlap(world: Contents) -> None:
    records(world, "m.ledger")[1] = ledger_record(0, 2, ledger_value(0, 1, 4))


def _ledger_future_version(world: Contents) -> None:
    records(world, "m.ledger", 1)[0] = ledger_record(
        1, 0, ledger_value(1, 0, 3, version=VERSION + 1)
    )


def _ledger_version_back(world: Contents) -> None:
    records(world, "m.ledger")[1] = ledger_record(0, 2, ledger_value(0, 2, 4, version=VERSION - 1))
    for name, grant_id in ((ACME, "g-acme"), (GLOBEX, "g-globex")):
        held = records(world, name)
        held[-1] = delivered(
            0, held[-1].offset, RAW[0][2], grant_id, "92748901234567000000000018", VERSION - 1
        )


def _ledger_clock_back(world: Contents) -> None:
    records(world, "m.ledger")[1] = ledger_record(0, 2, ledger_value(0, 2, 4, decided_at=NOW - 1))


def _ledger_other_log(world: Contents) -> None:
    records(world, "m.ledger").append(
        ledger_record(0, 3, ledger_value(0, 4, 5, log_id="another", decided_at=NOW + 10))
    )


def _ledger_unreadable(world: Contents) -> None:
    records(world, "m.ledger").append(ledger_record(0, 3, b"\0\0\0\0\2"))


def _ledger_unregistered(world: Contents) -> None:
    records(world, "m.ledger", 1)[0] = ledger_record(
        1, 0, ledger_value(1, 0, 3, registration="nonce-0")
    )


def _quarantine_missing(world: Contents) -> None:
    records(world, "m.quarantine", 1).clear()


def _quarantine_extra(world: Contents) -> None:
    records(world, "m.quarantine", 0).append(quarantined(RAW[0][0], "check_digit", 1))


def _quarantine_doubled(world: Contents) -> None:
    records(world, "m.quarantine", 1).append(quarantined(RAW[1][1], "malformed_record", 1))


def _quarantine_changed(world: Contents) -> None:
    held = records(world, "m.quarantine", 1)
    held[0] = held[0]._replace(value=GARBAGE + b"!")


def _append_to_log(world: Contents, value: bytes, key: bytes | None = None) -> None:
    partition = world.log.partitions[0]
    partition.records.append(log_record(partition.end, value, key))
    partition.end += 1
    partition.high_watermark += 1


def _log_stopped(world: Contents) -> None:
    _append_to_log(world, b"\0\0\0\3\xe7")


def _log_key_repeated(world: Contents) -> None:
    value = change("HEARTBEAT", "heartbeat", {"nonce": "x"}, number=99)
    _append_to_log(world, value, b"key-3")


def _log_clock(world: Contents) -> None:
    held = records(world, "m.authorization")
    held[4] = held[4]._replace(append_time=False)


def _log_other_layout(world: Contents) -> None:
    world.app_id = "another"
    for name in (ACME, GLOBEX):
        for held in (part.records for part in world.tenants[name].partitions.values()):
            for place, record in enumerate(held):
                headers = list(record.headers)
                headers[2] = ("ce_source", b"/midgate/another")
                held[place] = record._replace(headers=tuple(headers))


def _log_topic_name(world: Contents) -> None:
    body = {**tenant("initech"), "topic": "n.tenant.initech"}
    _append_to_log(world, change("TENANT", "tenant/initech", body, number=99))


SPOILERS: dict[FindingKind, Callable[[Contents], None]] = {
    FindingKind.MISSING: _missing,
    FindingKind.EXTRA: _extra,
    FindingKind.DOUBLED: _doubled,
    FindingKind.WRONG_TENANT: _wrong_tenant,
    FindingKind.WRONG_PARTITION: _wrong_partition,
    FindingKind.NOT_CUT: _not_cut,
    FindingKind.WRONG_VALUE: _wrong_value,
    FindingKind.WRONG_KEY: _wrong_key,
    FindingKind.WRONG_TIMESTAMP: _wrong_timestamp,
    FindingKind.WRONG_HEADERS: _wrong_headers,
    FindingKind.OUT_OF_ORDER: _out_of_order,
    FindingKind.UNDECIDED: _undecided,
    FindingKind.OPEN_TRANSACTION: _open_transaction,
    FindingKind.LEDGER_GAP: _ledger_gap,
    FindingKind.LEDGER_OVERLAP: _ledger_overlap,
    FindingKind.LEDGER_FUTURE_VERSION: _ledger_future_version,
    FindingKind.LEDGER_VERSION_BACK: _ledger_version_back,
    FindingKind.LEDGER_CLOCK_BACK: _ledger_clock_back,
    FindingKind.LEDGER_OTHER_LOG: _ledger_other_log,
    FindingKind.LEDGER_UNREADABLE: _ledger_unreadable,
    FindingKind.LEDGER_UNREGISTERED: _ledger_unregistered,
    FindingKind.QUARANTINE_MISSING: _quarantine_missing,
    FindingKind.QUARANTINE_EXTRA: _quarantine_extra,
    FindingKind.QUARANTINE_DOUBLED: _quarantine_doubled,
    FindingKind.QUARANTINE_CHANGED: _quarantine_changed,
    FindingKind.LOG_STOPPED: _log_stopped,
    FindingKind.LOG_KEY_REPEATED: _log_key_repeated,
    FindingKind.LOG_CLOCK: _log_clock,
    FindingKind.LOG_OTHER_LAYOUT: _log_other_layout,
    FindingKind.LOG_TOPIC_NAME: _log_topic_name,
}


def test_every_kind_of_finding_has_a_spoiler() -> None:
    """One is shown below; those of labels and of what waits in test_judge_labels.py."""
    elsewhere = set(LABEL_SPOILERS) | {FindingKind.WRONGLY_CUT}
    assert set(SPOILERS) == set(FindingKind) - elsewhere


def _kinds(judgement: Judgement) -> dict[FindingKind, int]:
    return dict(judgement.findings.counts)


def test_a_clean_installation_has_no_finding() -> None:
    """And its counts are those one counts by hand."""
    judgement = judge(clean())
    assert _kinds(judgement) == {}
    assert judgement.tally.due == {"acme": 3, "globex": 3}
    assert judgement.tally.has == {"acme": 3, "globex": 3}
    assert judgement.tally.withheld == {"label_needed": 1, "no_grant": 1}
    assert judgement.tally.quarantined == {"malformed_record": 1}
    assert judgement.tally.never_raw == {"line_unreadable": 1}
    assert (judgement.tally.raw, judgement.tally.decided) == (6, 6)
    assert judgement.version == VERSION
    assert judgement.notes == []


@pytest.mark.parametrize("kind", list(SPOILERS))
def test_each_fault_is_found_once_and_as_nothing_else(kind: FindingKind) -> None:
    """A judge that cannot fail is worth nothing."""
    world = clean()
    SPOILERS[kind](world)
    judgement = judge(world)
    assert _kinds(judgement) == {kind: 1}, judgement.findings.kept
    finding = judgement.findings.kept[0]
    assert finding.kind is kind
    assert finding.topic.startswith(("m.", "n."))
    assert finding.sentence


def test_a_finding_says_where_it_stands_and_which_raw_record_it_is_about() -> None:
    """Enough to look at both records."""
    world = clean()
    _wrong_tenant(world)
    finding = judge(world).findings.kept[0]
    assert (finding.topic, finding.partition, finding.offset) == (GLOBEX, 1, 1)
    assert finding.raw == (1, 2)
    assert "no_grant" in finding.sentence


def test_a_record_without_position_is_named_and_leaves_its_own_missing() -> None:
    """Headers that cannot be read cannot stand for a delivery."""
    world = clean()
    held = records(world, ACME)
    held[0] = held[0]._replace(headers=())
    assert _kinds(judge(world)) == {FindingKind.WRONG_HEADERS: 1, FindingKind.MISSING: 1}


def test_a_value_of_another_event_under_the_right_position_is_found() -> None:
    """The position in the header is only a claim."""
    world = clean()
    held = records(world, ACME)
    held[0] = held[0]._replace(value=held[2].value)
    assert _kinds(judge(world)) == {FindingKind.WRONG_VALUE: 1}


def test_a_topic_of_nobody_must_be_empty() -> None:
    """A topic under the tenants' prefix which no tenant has is read, too."""
    world = clean()
    name = "m.tenant.nobody"
    record = delivered(0, 0, RAW[0][0], "g-acme", OWNED)
    world.tenants[name] = Topic(name, {0: Partition(0, 1, 1, [record])})
    assert _kinds(judge(world)) == {FindingKind.WRONG_TENANT: 1}


def test_a_delivery_after_a_revocation_is_found() -> None:
    """The ledger names the version: what was revoked below it may not be delivered."""
    world = clean()
    body = {"grant_id": "g-acme"}
    _append_to_log(world, change("GRANT_END", "grant/g-acme", body, number=99))
    records(world, "m.ledger")[1] = ledger_record(0, 2, ledger_value(0, 2, 4, version=VERSION + 1))
    held = records(world, GLOBEX)
    held[1] = delivered(0, 2, RAW[0][2], "g-globex", "92748901234567000000000018", VERSION + 1)
    judgement = judge(world)
    assert _kinds(judgement) == {FindingKind.WRONG_TENANT: 1}
    assert "grant_revoked" in judgement.findings.kept[0].sentence
    assert judgement.tally.denied == {"acme": {"grant_revoked": 1}}


def test_an_entry_under_a_replaced_registration_is_found() -> None:
    """The old owner of a lane decided after the new one had registered."""
    world = clean()
    subject = "deliverer/app-router-1"
    _append_to_log(world, change("DELIVERER", subject, deliverer(1, "nonce-new"), number=99))
    held = records(world, "m.ledger", 1)
    held[0] = ledger_record(1, 0, ledger_value(1, 0, 3, version=VERSION + 1))
    for name, grant_id, number, place in ((ACME, "g-acme", 0, 1), (GLOBEX, "g-globex", 1, 0)):
        there = records(world, name, number)
        old = there[place]
        there[place] = delivered(number, old.offset, RAW[1][0], grant_id, OWNED, VERSION + 1)
    assert _kinds(judge(world)) == {FindingKind.LEDGER_UNREGISTERED: 1}


def test_a_log_that_does_not_start_is_found() -> None:
    """Record 0 lost: nobody can know the rights."""
    world = clean()
    del records(world, "m.authorization")[0]
    assert FindingKind.LOG_STOPPED in _kinds(judge(world))


def test_an_empty_installation_without_log_is_found() -> None:
    """`topics apply` was not run."""
    names = ("m.authorization", "m.raw", "m.ledger", "m.quarantine")
    world = Contents("m", "app", *(Topic(name, {0: Partition()}) for name in names))
    assert _kinds(judge(world)) == {FindingKind.LOG_STOPPED: 1}


def test_a_ledger_that_starts_after_raw_is_a_gap() -> None:
    """Nothing was ever deleted, so the first records must have an entry, too."""
    world = clean()
    del records(world, "m.ledger")[0]
    for name in (ACME, GLOBEX):
        del records(world, name)[0]
    assert _kinds(judge(world)) == {FindingKind.LEDGER_GAP: 1}


def test_a_closed_tenant_whose_topic_was_removed_is_excused() -> None:
    """Closing is in the log; removing the topic is allowed after it, and only after it."""
    world = clean()
    world.tenants[ACME] = Topic(ACME, exists=False)
    assert _kinds(judge(world)) == {FindingKind.MISSING: 3}
    _append_to_log(world, change("TENANT_END", "tenant/acme", {"tenant_id": "acme"}, number=99))
    assert _kinds(judge(world)) == {}


def test_a_redriven_record_is_told_by_its_last_origin() -> None:
    """A raw record may bring an origin of its own; ours stands after it."""
    world = clean()
    brought = (("mg-origin", b"raw:9-9"), ("mg-reason", b"check_digit"))
    raw = records(world, "m.raw", 1)
    raw[1] = raw[1]._replace(headers=brought)
    records(world, "m.quarantine", 1)[0] = quarantined(raw[1], "malformed_record")
    assert _kinds(judge(world)) == {}


def test_only_the_first_findings_are_kept_but_all_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wholly wrong topic must not fill the memory with sentences."""
    monkeypatch.setattr("auditor.findings.FINDINGS_KEPT_MAX", 2)
    findings = Findings()
    for _ in range(5):
        findings.add(FindingKind.EXTRA, "x", topic="t")
    assert (len(findings.kept), findings.counts[FindingKind.EXTRA]) == (2, 5)


def test_a_record_cut_against_a_right_to_the_restricted_part_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Were Acme's right to carry it, its three records would have to stand whole."""
    world = clean()
    monkeypatch.setattr("auditor.expected.gets_restricted", lambda _, tenant: tenant == "acme")
    assert _kinds(judge(world)) == {FindingKind.WRONGLY_CUT: 3}
    held = records(world, ACME)
    whole = [RAW[0][0].value, RAW[1][0].value, RAW[0][2].value]
    held[:] = [one._replace(value=value) for one, value in zip(held, whole, strict=True)]
    assert _kinds(judge(world)) == {}
