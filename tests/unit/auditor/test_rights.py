"""Verdicts of the acceptance rule, one case a line of docs/authorization-log.md."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from auditor.avro_reader import encode
from auditor.rights import FIRST_HASH, Rights, StoppedError
from tests.unit.auditor.world import LAYOUT, LOG_ID, agreement, change, change_id, grant, tenant

Body = dict[str, Any]


class Log:
    """A log being written: feeds each change at the next offset and keeps the verdicts."""

    def __init__(self) -> None:
        self.rights = Rights()
        self.offset = 0
        self.clock = 1_000_000
        self.add("LOG_START", "log", {"log_id": LOG_ID})

    def feed(self, value: bytes | None, *, after_ms: int = 1) -> str | None:
        """Append bytes; answer the verdict."""
        self.clock += after_ms
        self.offset += 1
        return self.rights.feed(self.offset - 1, self.clock, value)

    def add(self, kind: str, subject: str, body: Body | bytes, **envelope: Any) -> str | None:
        """Append a change; its number is its offset unless given."""
        after_ms = envelope.pop("after_ms", 1)
        envelope.setdefault("number", self.offset)
        return self.feed(change(kind, subject, body, **envelope), after_ms=after_ms)

    def grant(self, grant_id: str = "g", tenant_id: str = "acme", **fields: Any) -> str | None:
        """Append a grant; envelope fields base, import_id, number and after_ms are taken out."""
        names = ("base", "import_id", "number", "after_ms")
        envelope = {name: fields.pop(name) for name in names if name in fields}
        return self.add(
            "GRANT", f"grant/{grant_id}", grant(grant_id, tenant_id, **fields), **envelope
        )

    def close(self, numbers: list[int], import_id: bytes, **envelope: Any) -> str | None:
        """Close an import of rows with these change numbers."""
        digest = hashlib.sha256(b"".join(change_id(number) for number in numbers)).digest()
        body = {
            "rows": envelope.pop("rows", len(numbers)),
            "digest": envelope.pop("digest", digest),
        }
        subject = envelope.pop("subject", f"import/{import_id.hex()}")
        return self.add("IMPORT_CLOSE", subject, body, import_id=import_id, **envelope)


@pytest.fixture
def log() -> Log:
    """Start, layout (offset 1), tenants acme (2) and globex (3), agreement a of globex (4)."""
    made = Log()
    assert made.add("LAYOUT", "layout", LAYOUT) == "accepted"
    assert made.add("TENANT", "tenant/acme", tenant("acme")) == "accepted"
    body = tenant("globex", "AUDITOR", 2)
    assert made.add("TENANT", "tenant/globex", body) == "accepted"
    assert made.add("AGREEMENT", "agreement/a", agreement("a", "globex")) == "accepted"
    return made


IMPORT = b"i" * 16


def test_the_hash_runs_over_offset_bytes_and_verdict() -> None:
    """Recomputed by hand for two records and a heartbeat between them."""
    rights = Rights()
    start = change("LOG_START", "x", {"log_id": LOG_ID}, number=1)
    assert rights.feed(0, 5, start) == "accepted"
    beat = change("HEARTBEAT", "", {"nonce": ""}, number=2)
    assert rights.feed(1, 6, beat) is None
    assert rights.feed(2, 7, None) == "void:malformed"
    first = hashlib.sha256(
        FIRST_HASH + bytes(8) + len(start).to_bytes(4, "big") + start + b"accepted"
    ).digest()
    second = hashlib.sha256(first + (2).to_bytes(8, "big") + bytes(4) + b"void:malformed").digest()
    assert rights.chain == second
    assert (rights.version, rights.log_id) == (3, LOG_ID)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"junk",
        change("LAYOUT", "layout", LAYOUT, number=1),
        change("HEARTBEAT", "", {"nonce": ""}, number=1),
        change("LOG_START", "x", b"\0\0\0\0\x15", number=1),
    ],
)
def test_a_log_that_does_not_begin_with_its_start_stops(value: bytes | None) -> None:
    """Nothing but a LOG_START may stand at offset 0."""
    with pytest.raises(StoppedError):
        Rights().feed(0, 1, value)


def test_a_log_whose_beginning_is_lost_stops() -> None:
    """The first record read must be that at offset 0."""
    with pytest.raises(StoppedError):
        Rights().feed(1, 1, change("LOG_START", "x", {"log_id": LOG_ID}, number=1))


@pytest.mark.parametrize(
    "value",
    [
        b"\0\0\0\3\xe7",
        encode("tenant_end/v1", {"tenant_id": "x"}),
        change("TENANT_END", "tenant/x", {"tenant_id": "x"}, number=9, rule_version=2),
        change("UNKNOWN", "x", encode("heartbeat/v1", {"nonce": ""}), number=9),
        change("TENANT_END", "tenant/x", encode("grant_end/v1", {"grant_id": "x"}), number=9),
        change("TENANT_END", "tenant/x", b"\0\0\0\3\xe7", number=9),
        change("TENANT", "tenant/x", tenant("x", "UNKNOWN"), number=9),
        change("GRANT", "grant/x", grant("x", "acme", channels=["SEE", "UNKNOWN"]), number=9),
    ],
)
def test_what_is_of_a_newer_version_stops(log: Log, value: bytes) -> None:
    """Unknown frames, rules, kinds and symbols."""
    before = log.rights.chain
    with pytest.raises(StoppedError):
        log.feed(value)
    assert log.rights.chain == before


GOOD = change("TENANT_END", "tenant/x", {"tenant_id": "x"}, number=50)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\0\0\0\0",
        b"\1" + GOOD[1:],
        GOOD[:-1],
        GOOD + b"\0",
        change("TENANT_END", "tenant/x", b"", number=50, rule_version=7),
        change("TENANT_END", "tenant/x", b"\0\0\0\0\x18\x02", number=50),
        change("TENANT_END", "tenant/x", b"\0\0\0\0\x18\x80\x00", number=50),
        change("UNKNOWN", "x", b"\1", number=50),
        change(
            "AGREEMENT",
            "agreement/b",
            agreement("b", "globex", effective_from=2**62),
            number=50,
        ),
    ],
)
def test_malformed_bytes_are_void_and_leave_nothing(log: Log, value: bytes | None) -> None:
    """The change id of a malformed record is not remembered."""
    assert log.feed(value) == "void:malformed"
    assert log.feed(GOOD) == "accepted"


def test_a_change_counts_once(log: Log) -> None:
    """Whatever became of the first copy."""
    assert log.grant(number=77) == "accepted"
    assert log.grant("other", number=77) == "repeat"
    assert log.grant("bad", base=3, number=78) == "void:base"
    assert log.grant("bad", number=78) == "repeat"
    assert log.grant("start", number=0) == "repeat"
    assert log.add("LOG_START", "x", {"log_id": "y"}, number=77) == "void:log_started"
    assert log.add("LOG_START", "x", {"log_id": "y"}, number=79) == "void:log_started"
    assert log.grant("late", number=79) == "repeat"


def _tenant(**fields: Any) -> Callable[[Log], str | None]:
    envelope = {"base": fields.pop("base")} if "base" in fields else {}
    subject = fields.pop("subject", None)

    def add(log: Log) -> str | None:
        body = {**tenant("new"), **fields}
        return log.add("TENANT", subject or f"tenant/{body['tenant_id']}", body, **envelope)

    return add


def _grant(**fields: Any) -> Callable[[Log], str | None]:
    return lambda log: log.grant(**fields)


def _agreement(**fields: Any) -> Callable[[Log], str | None]:
    envelope = {"base": fields.pop("base")} if "base" in fields else {}

    def add(log: Log) -> str | None:
        body = {**agreement("b", "globex"), **fields}
        return log.add("AGREEMENT", f"agreement/{body['agreement_id']}", body, **envelope)

    return add


def _crid(crid: str, mids: list[str], base: int = -1) -> Callable[[Log], str | None]:
    return lambda log: log.add("CRID", f"crid/{crid}", {"crid": crid, "mids": mids}, base=base)


IP = {"tenant_id": "globex", "basis": "IP_AGREEMENT", "agreement_id": "a"}
CASES: list[tuple[str, Callable[[Log], str | None]]] = [
    ("accepted", _tenant()),
    ("void:subject", _tenant(subject="tenant/other")),
    ("void:invalid", _tenant(tenant_id="a--b", topic="m.tenant.a--b")),
    ("void:invalid", _tenant(tenant_id="x" * 101, topic="m.tenant." + "x" * 101)),
    ("void:invalid", _tenant(partitions=0)),
    ("void:invalid", _tenant(partitions=3)),
    ("void:invalid", _tenant(topic="m.tenant.acme")),
    ("void:base", _tenant(base=2)),
    ("void:base", _tenant(tenant_id="acme", topic="m.tenant.acme")),
    ("accepted", _tenant(tenant_id="acme", topic="m.tenant.acme", base=2)),
    ("void:fixed", _tenant(tenant_id="acme", topic="n.tenant.acme", base=2)),
    ("void:fixed", _tenant(tenant_id="acme", topic="m.tenant.acme", partitions=2, base=2)),
    ("void:invalid", lambda log: log.add("LAYOUT", "layout", {**LAYOUT, "lanes": 3}, base=1)),
    ("void:base", lambda log: log.add("LAYOUT", "layout", LAYOUT, base=1)),
    ("accepted", _crid("C1", ["901234567", "123456"])),
    ("accepted", _crid("C1", [])),
    ("void:invalid", _crid("", [])),
    ("void:invalid", _crid("C" * 19, [])),
    ("void:invalid", _crid("C-1", [])),
    ("void:invalid", _crid("C1", ["812345678"])),
    ("void:invalid", _crid("C1", ["123456", "123456"])),
    ("void:base", _crid("C1", [], base=0)),
    ("accepted", _agreement()),
    ("void:invalid", _agreement(agreement_id="-b")),
    ("void:invalid", _agreement(mids=["12345"])),
    ("void:invalid", _agreement(effective_from=5, effective_to=5)),
    ("void:unknown_reference", _agreement(tenant_id="nobody")),
    ("void:fixed", _agreement(agreement_id="a", tenant_id="acme", base=4)),
    ("accepted", _agreement(agreement_id="a", base=4)),
    ("accepted", _grant()),
    ("accepted", _grant(**IP)),
    ("void:invalid", _grant(grant_id="g g")),
    ("void:invalid", _grant(grant_id="g" * 101)),
    ("void:invalid", _grant(mid="812345678")),
    ("void:invalid", _grant(crid="C1")),
    ("void:invalid", _grant(scope="CRID", mid="", crid="")),
    ("void:invalid", _grant(scope="CRID", crid="C1")),
    ("void:invalid", _grant(channels=[])),
    ("void:invalid", _grant(channels=["SEE", "SEE"])),
    ("void:invalid", _grant(effective_from=7, effective_to=7)),
    ("void:invalid", _grant(data_from=7, data_to=7)),
    ("void:invalid", _grant(agreement_id="a")),
    ("void:invalid", _grant(basis="IP_AGREEMENT")),
    ("void:base", _grant(base=4)),
    ("void:unknown_reference", _grant(tenant_id="nobody")),
    ("void:unknown_reference", _grant(scope="CRID", mid="", crid="C1")),
    ("void:unknown_reference", _grant(**{**IP, "agreement_id": "none"})),
    ("void:unknown_reference", _grant(**{**IP, "tenant_id": "acme"})),
    (
        "void:unknown_reference",
        lambda log: log.add(
            "AGREEMENT_RESUME", "agreement/z", {"agreement_id": "z"}
        ),
    ),
    (
        "void:unknown_reference",
        lambda log: log.add(
            "TERMS", "terms/z", {"tenant_id": "z", "terms_version": "", "accepted": True}
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "add"), CASES)
def test_verdicts_of_single_changes(
    log: Log, verdict: str, add: Callable[[Log], str | None]
) -> None:
    """Each on the small world of the fixture."""
    assert add(log) == verdict


def test_a_tenant_needs_a_layout() -> None:
    """Its partitions must divide P, which nobody knows yet."""
    assert Log().add("TENANT", "tenant/acme", tenant("acme")) == "void:unknown_reference"


def test_ends_need_no_base_and_bind_ids_never_seen(log: Log) -> None:
    """An ended grant id and a closed tenant stay so, known or not."""
    assert log.add("GRANT_END", "grant/g", {"grant_id": "g"}, base=99) == "accepted"
    assert log.grant(base=5) == "void:terminal"
    assert log.add("GRANT_END", "grant/x", {"grant_id": "y"}) == "void:subject"
    assert log.add("TENANT_END", "tenant/t", {"tenant_id": "t"}) == "accepted"
    body = tenant("t")
    assert log.add("TENANT", "tenant/t", body, base=log.offset - 1) == "void:terminal"
    assert log.add("TENANT_END", "tenant/acme", {"tenant_id": "acme"}) == "accepted"
    assert log.grant("h") == "void:unknown_reference"


def test_a_grant_keeps_what_is_fixed(log: Log) -> None:
    """Tenant, scope, MID, CRID and basis never change; the window may."""
    log.grant()
    assert log.grant(base=5, effective_to=9) == "accepted"
    assert log.grant(base=6, mid="123456") == "void:fixed"
    assert log.grant(base=6, tenant_id="globex") == "void:fixed"
    assert log.grant(base=6, basis="MID_AUTHORIZATION") == "void:fixed"
    assert log.grant(base=5) == "void:base"


def test_suspending_an_agreement_not_known_only_moves_the_subject(log: Log) -> None:
    """The record that would create it is void by its base; one that knows better is not."""
    end = {"agreement_id": "b"}
    assert log.add("AGREEMENT_SUSPEND", "agreement/b", end) == "accepted"
    assert _agreement()(log) == "void:base"
    assert _agreement(base=5)(log) == "accepted"
    assert "b" not in log.rights.tables.suspended
    assert log.add("AGREEMENT_SUSPEND", "agreement/b", end) == "accepted"
    assert "b" in log.rights.tables.suspended
    assert log.add("AGREEMENT_RESUME", "agreement/b", end, base=8) == "accepted"
    assert "b" not in log.rights.tables.suspended


def test_a_registration_must_fit_the_layout(log: Log) -> None:
    """A void one may not start."""
    body = {
        "nonce": "n", "transactional_id": "app-router-0", "producer_id": 1, "producer_epoch": 0,
        "kind": "LANE", "app_id": "app", "lane": 0, "lanes": 2, "partitions": 2,
        "ack_group": "", "ack_topic": "", "ack_partition": 0, "build": "",
    }  # fmt: skip
    subject = "deliverer/app-router-0"
    assert log.add("DELIVERER", subject, body) == "accepted"
    assert log.add("DELIVERER", subject, {**body, "lanes": 1, "nonce": "o"}) == "void:layout"
    assert log.add("DELIVERER", subject, {**body, "app_id": "b", "nonce": "o"}) == "void:layout"
    assert log.add("DELIVERER", "deliverer/x", body) == "void:subject"
    assert list(log.rights.registrations) == ["n"]


def test_an_import_takes_effect_at_its_close(log: Log) -> None:
    """Nothing before; all rows at the closing record's offset."""
    assert log.grant("r1", import_id=IMPORT, number=91) == "staged"
    assert log.grant("r2", import_id=IMPORT, number=92) == "staged"
    assert log.grant("r2", import_id=IMPORT, number=92) == "repeat"
    assert "r1" not in log.rights.tables.grants
    assert log.close([91, 92], IMPORT) == "accepted"
    assert log.rights.tables.changed_at["grant/r1"] == 8
    assert log.grant("r1", base=8, effective_to=4) == "accepted"
    assert log.close([91, 92], IMPORT) == "void:import_count"


@pytest.mark.parametrize(
    ("verdict", "close"),
    [
        ("void:import_count", {"rows": 2}),
        ("void:import_digest", {"digest": b"x" * 32}),
        ("void:import_late", {"after_ms": 600_001}),
        ("accepted", {"after_ms": 600_000}),
        ("void:subject", {"subject": "import/00"}),
    ],
)
def test_closing_records_that_do_not_fit(log: Log, verdict: str, close: dict[str, Any]) -> None:
    """In the order subject, count, digest, late."""
    log.grant("r1", import_id=IMPORT, number=91)
    assert log.close([91], IMPORT, **close) == verdict
    again = "accepted" if verdict == "void:subject" else "void:import_count"
    assert log.close([91], IMPORT, number=95) == again


def test_an_import_is_all_or_nothing(log: Log) -> None:
    """One row that would be void takes the others with it; an end between is one such cause."""
    log.grant("r1", import_id=IMPORT, number=91)
    log.grant("r2", import_id=IMPORT, number=92)
    log.add("GRANT_END", "grant/r2", {"grant_id": "r2"})
    assert log.close([91, 92], IMPORT) == "void:import_row"
    assert "r1" not in log.rights.tables.grants
    log.grant("r3", import_id=IMPORT, number=93)
    log.grant("r3", import_id=IMPORT, number=94)
    assert log.close([93, 94], IMPORT) == "void:import_row"


def test_an_old_import_is_dropped_by_any_record_but_a_heartbeat(log: Log) -> None:
    """Heartbeats are compacted away and may not matter."""
    log.grant("r1", import_id=IMPORT, number=91)
    log.add("HEARTBEAT", "", {"nonce": ""}, after_ms=700_000)
    assert log.close([91], IMPORT) == "void:import_late"
    log.grant("r1", import_id=IMPORT, number=92)
    assert log.feed(b"junk", after_ms=700_000) == "void:malformed"
    assert log.close([92], IMPORT) == "void:import_count"
    log.grant("r1", import_id=IMPORT, number=96)
    log.grant("r2", import_id=IMPORT, number=97, after_ms=700_000)
    assert log.close([97], IMPORT) == "accepted"


def test_only_grants_can_be_imported(log: Log) -> None:
    """Everything else is void at once."""
    body = tenant("new")
    assert log.add("TENANT", "tenant/new", body, import_id=IMPORT) == "void:not_importable"
    close = {"rows": 0, "digest": hashlib.sha256(b"").digest()}
    assert log.add("IMPORT_CLOSE", "import/", close) == "void:subject"
    assert log.add("IMPORT_CLOSE", f"import/{IMPORT.hex()}", close, import_id=IMPORT) == (
        "void:import_count"
    )


def test_an_import_has_a_limit(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row too many is void, the others stay."""
    monkeypatch.setattr("auditor.rights.IMPORT_ROWS_MAX", 1)
    assert log.grant("r1", import_id=IMPORT, number=91) == "staged"
    assert log.grant("r2", import_id=IMPORT, number=92) == "void:import_too_long"
    assert log.close([91], IMPORT) == "accepted"
