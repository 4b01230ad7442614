"""Every verdict of the acceptance rule, from real bytes, and what a verdict leaves behind.

Goal: each line of docs/authorization-log.md "What a follower does with a record" has a case. Each
case first builds a log in which all is well, then appends the one change in question.
"""

from collections.abc import Callable

import pytest

from schemas.codec import encode
from streams.change_reader import read_change
from streams.changes import KINDS, revoked_scope
from streams.errors import UpgradeNeededError, WrongLogError
from streams.rights import Rights
from tests.unit.streams.acceptance_cases import ACCEPTED, RULE_ROW, VOID, rules_body
from tests.unit.streams.log_building import (
    MID,
    Log,
    agreement_body,
    deliverer_body,
    replayed,
    simple_grant,
    tenant_body,
    token_body,
)

NEVER = -1


@pytest.fixture
def log() -> Log:
    """Tenant acme, a CRID, an agreement of a vendor, one grant in force and one ended."""
    log = Log()
    log.tenant("acme")
    log.tenant("vendor", "AUDITOR")
    log.tenant("closed")
    log.put("TENANT_END", {"tenant_id": "closed"})
    log.put("CRID", {"crid": "C1", "mids": [MID]})
    log.put("AGREEMENT", agreement_body("A1", "vendor"))
    log.tenant("shop", "PLATFORM")
    for token in ("T1", "T9"):
        log.put("MERCHANT_TOKEN", token_body(token, "shop"))
    log.put("MERCHANT_TOKEN_END", {"merchant_token_id": "T9"})
    log.put("REVOCATION", revoked_scope("shop", crid="C1"))
    log.put("RULE_SET", rules_body("r1"))
    log.grant("g1", "acme")
    log.grant("over", "acme")
    log.end("over")
    return log


@pytest.mark.parametrize(("kind", "body", "reason"), VOID)
def test_what_voids_a_change(log, kind, body, reason):
    subjects = dict(log.rights.subjects)
    applied = log.put(kind, body)
    assert (applied.verdict, applied.restricting) == (f"void:{reason}", False)
    assert dict(log.rights.subjects) == subjects, "what is void moves no subject"


@pytest.mark.parametrize(("kind", "body", "restricting"), ACCEPTED)
def test_what_is_accepted_and_whether_it_restricts(log, kind, body, restricting):
    # The flag says "permitting" throughout: the follower's own judgement is what is asked.
    applied = log.put(kind, body, restricting=False)
    assert (applied.verdict, applied.restricting) == ("accepted", restricting)
    assert log.rights.subjects[applied.subject] == applied.offset
    assert applied.body == body


def test_the_flag_of_the_envelope_makes_an_accepted_change_restricting(log):
    assert log.put("GRANT", simple_grant("g2", "acme"), restricting=True).restricting


@pytest.mark.parametrize("kind", ["GRANT", "GRANT_END", "TENANT_END", "CRID", "TERMS"])
def test_the_subject_must_be_the_one_of_the_body(log, kind):
    bodies = {
        "GRANT": simple_grant("g2", "acme"),
        "GRANT_END": {"grant_id": "g1"},
        "TENANT_END": {"tenant_id": "acme"},
        "CRID": {"crid": "C1", "mids": []},
        "TERMS": {"tenant_id": "acme", "terms_version": "1", "accepted": True},
    }
    applied = log.put(kind, bodies[kind], subject="grant/other", base=NEVER)
    assert applied.verdict == "void:subject"


@pytest.mark.parametrize("base", [NEVER, 0, 3, 10**6])
def test_a_base_that_is_not_the_subjects_last_change_voids(log, base):
    assert log.put("GRANT", simple_grant("g1", "acme"), base=base).verdict == "void:base"
    assert log.put("TENANT", tenant_body("acme"), base=base).verdict == "void:base"


def test_ends_move_the_subject_so_that_the_change_that_missed_them_is_void(log):
    base = log.rights.subjects.get("agreement/A2", NEVER)
    log.put("AGREEMENT_SUSPEND", {"agreement_id": "A2"})
    late = log.put("AGREEMENT", agreement_body("A2", "vendor"), base=base)
    assert late.verdict == "void:base"
    assert log.put("AGREEMENT", agreement_body("A2", "vendor")).verdict == "accepted"
    assert not log.rights.agreements["A2"].suspended


def test_a_suspension_outlives_a_change_of_the_agreement(log):
    log.put("AGREEMENT_SUSPEND", {"agreement_id": "A1"})
    log.put("AGREEMENT", agreement_body("A1", "vendor", payment_account="7"))
    assert log.rights.agreements["A1"].suspended
    log.put("AGREEMENT_RESUME", {"agreement_id": "A1"})
    assert not log.rights.agreements["A1"].suspended


def test_an_unknown_grant_or_tenant_can_be_ended_and_never_begins(log):
    log.end("later")
    log.put("TENANT_END", {"tenant_id": "later"})
    assert log.grant("later", "acme").verdict == "void:terminal"
    assert log.put("TENANT", tenant_body("later")).verdict == "void:terminal"
    assert log.rights.grant_ended("later")
    assert not log.rights.tenant_open("later")


def test_a_change_id_counts_once_whatever_its_first_verdict(log):
    void = log.change("GRANT", simple_grant("g2", "nobody"))
    good = log.change("GRANT", simple_grant("g2", "acme"))
    assert [log.append(v).verdict for v in (void, void)] == ["void:unknown_reference", "repeat"]
    assert [log.append(v).verdict for v in (good, good)] == ["accepted", "repeat"]
    again = log.change("GRANT_END", {"grant_id": "g2"}, change_id=read_change(good).change_id)
    assert log.append(again).verdict == "repeat"


def test_a_second_start_is_void_and_its_id_is_remembered(log):
    change_id = log.change_id()
    assert log.put("LOG_START", {"log_id": "x"}, change_id=change_id).verdict == "void:log_started"
    assert log.rights.log_id != "x"
    assert log.grant("g2", "acme").verdict == "accepted"
    assert log.put("GRANT_END", {"grant_id": "g2"}, change_id=change_id).verdict == "repeat"


def test_a_heartbeat_leaves_nothing_behind(log):
    before = log.rights.chain
    change_id = log.change_id()
    for _ in range(2):
        log.put("HEARTBEAT", {"nonce": "n"}, change_id=change_id)
    assert log.rights.chain == before
    assert log.put("GRANT", simple_grant("g2", "acme"), change_id=change_id).verdict == "accepted"


def _cut_body(log: Log) -> bytes:
    body = encode("grant_end", {"grant_id": "g1"})[:-1]
    return _envelope(log, "GRANT_END", body)


def _envelope(log: Log, kind: str, body: bytes, **fields: object) -> bytes:
    record = {
        "change_id": log.change_id(),
        "subject": "grant/g1",
        "base": NEVER,
        "kind": kind,
        "rule_version": 1,
        "restricting": True,
        "import_id": None,
        "actor": "",
        "reason": "",
        "body": body,
    }
    return encode("authorization_change", {**record, **fields})


MALFORMED: list[Callable[[Log], bytes | None]] = [
    lambda log: None,
    lambda log: b"",
    lambda log: b"\0\0\0\0",
    lambda log: b"\1\0\0\0\x14more",
    lambda log: log.change("GRANT_END", {"grant_id": "g1"})[:-1],
    lambda log: log.change("GRANT_END", {"grant_id": "g1"}) + b"\0",
    _cut_body,
    lambda log: _envelope(log, "GRANT_END", b""),
    lambda log: _envelope(log, "UNKNOWN", b"\0\0\0\0\x1f\x06g1", rule_version=9),
]


@pytest.mark.parametrize("make", MALFORMED)
def test_bytes_that_do_not_decode_whole_are_void(log, make):
    value, chain = make(log), log.rights.chain
    applied = log.append(value)
    assert (applied.verdict, applied.kind, applied.restricting) == ("void:malformed", "", False)
    assert log.rights.chain != chain
    assert not log.rights.grant_ended("g1")


NEWER: list[Callable[[Log], bytes]] = [
    lambda log: b"\0\0\0\x03\xe7what",
    lambda log: encode("grant_end", {"grant_id": "g1"}),
    lambda log: _envelope(log, "GRANT_END", b"\0\0\0\x03\xe7what"),
    lambda log: _envelope(log, "UNKNOWN", encode("grant_end", {"grant_id": "g1"})),
    lambda log: _envelope(log, "GRANT", encode("grant_end", {"grant_id": "g1"})),
    lambda log: _envelope(
        log, "GRANT_END", encode("grant_end", {"grant_id": "g1"}), rule_version=2
    ),
    lambda log: log.change("TENANT", tenant_body("new", "UNKNOWN")),
    lambda log: log.change("AGREEMENT", agreement_body("A2", "vendor", fee_model="UNKNOWN")),
    lambda log: log.change("GRANT", simple_grant("g2", "acme", scope="UNKNOWN")),
    lambda log: log.change("GRANT", simple_grant("g2", "acme", channels=["SEE", "UNKNOWN"])),
    lambda log: log.change("DELIVERER", deliverer_body(kind="UNKNOWN")),
    lambda log: log.change("GRANT_CONFIRM", {"grant_id": "g1", "side": "UNKNOWN"}),
    lambda log: log.change("REVOCATION", {**revoked_scope("shop", mid=MID), "scope": "UNKNOWN"}),
    lambda log: log.change("RULE_SET", rules_body("r2", {**RULE_ROW, "basis": "UNKNOWN"})),
    lambda log: log.change("RULE_SET", rules_body("r2", {**RULE_ROW, "channels": ["UNKNOWN"]})),
]


@pytest.mark.parametrize("make", NEWER)
def test_what_a_newer_version_wrote_stops_and_changes_nothing(log, make):
    before = (log.rights.version, log.rights.chain, log.rights.dump())
    with pytest.raises(UpgradeNeededError):
        log.append(make(log))
    assert (log.rights.version, log.rights.chain, log.rights.dump()) == before


def test_a_log_begins_with_its_start_at_offset_0(log):
    start = log.values[0][2]
    for offset, value in ((0, None), (0, b"\0\0\0\x03\xe7"), (1, start), (0, log.values[1][2])):
        with pytest.raises(WrongLogError):
            Rights().apply(offset, 0, value)
    heartbeat = log.change("HEARTBEAT", {"nonce": "n"})
    with pytest.raises(WrongLogError):
        Rights().apply(0, 0, heartbeat)
    assert Rights().apply(0, 0, start).verdict == "accepted"


def test_a_record_below_the_version_is_refused(log):
    with pytest.raises(WrongLogError):
        log.rights.apply(log.rights.version - 1, 0, log.values[-1][2])


def test_offsets_may_have_gaps(log):
    """Heartbeats are compacted away, and markers take offsets."""
    log.rights.version += 10
    assert log.grant("g2", "acme").offset == log.rights.version - 1


def test_the_running_hash_is_a_function_of_the_records(log):
    assert replayed(log.values).chain == log.rights.chain
    other = [*log.values[:-1], (log.values[-1][0] + 1, *log.values[-1][1:])]
    assert replayed(other).chain != log.rights.chain


def test_what_restricted_needs_no_flag_to_be_seen(log):
    """Taking the right to the restricted part back is a restriction of a grant that carries it."""
    log.put("GRANT", simple_grant("g1", "acme", restricted=True))
    applied = log.put("GRANT", simple_grant("g1", "acme"), restricting=False)
    assert (applied.verdict, applied.restricting) == ("accepted", True)


def test_what_older_versions_wrote_reads_as_before_and_new_kinds_stop_them():
    """A grant that says nothing new is in version 1; each new kind is in an envelope that a build
    without it cannot know."""
    log = Log()
    plain = log.change("GRANT", simple_grant("g2", "acme"))
    assert plain[:5] == encode("authorization_change", ENVELOPE)[:5]
    assert read_change(plain).body["restricted"] is False
    for kind, spec in KINDS.items():
        assert (spec.envelope > 1) == (list(KINDS).index(kind) >= 14), kind
    lift = log.change("REVOCATION_LIFT", revoked_scope("shop", mid=MID))
    assert lift[:5] == encode("authorization_change", ENVELOPE, 2)[:5]


ENVELOPE: dict[str, object] = {
    "change_id": bytes(16),
    "subject": "",
    "base": -1,
    "kind": "GRANT",
    "rule_version": 1,
    "restricting": False,
    "actor": "",
    "reason": "",
    "body": b"",
}
