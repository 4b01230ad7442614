"""[core] Replays the authorization log into rights: plain, slow, from the page alone.

Source: docs/authorization-log.md, rule version 1. `Rights.feed` is called with every record in
the order of the log and returns the verdict that goes into the running hash.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from auditor import avro_reader
from auditor.structure import PERMANENT, Tables, ends_need_no_base, subject_of, void_reason

RULE_VERSION = 1
IMPORT_ROWS_MAX = 1_000_000
IMPORT_AGE_MS_MAX = 600_000
FIRST_HASH = hashlib.sha256(b"midgate authorization 1").digest()
# A kind's record, by the kind's symbol.
BODY_OF_KIND = {
    "LOG_START": "log_start",
    "LAYOUT": "layout",
    "TENANT": "tenant",
    "TENANT_END": "tenant_end",
    "TERMS": "terms",
    "CRID": "crid",
    "AGREEMENT": "agreement",
    "AGREEMENT_SUSPEND": "agreement_suspend",
    "AGREEMENT_RESUME": "agreement_resume",
    "GRANT": "grant",
    "GRANT_END": "grant_end",
    "IMPORT_CLOSE": "import_close",
    "DELIVERER": "deliverer",
    "HEARTBEAT": "heartbeat",
    "RULE_SET": "rule_set",
    "MERCHANT_TOKEN": "merchant_token",
    "MERCHANT_TOKEN_END": "merchant_token_end",
    "REVOCATION": "revocation",
    "REVOCATION_LIFT": "revocation_lift",
    "GRANT_CONFIRM": "grant_confirm",
    "GRANT_CORRECTION": "grant_correction",
}


class StoppedError(Exception):
    """The rule cannot be applied any further: not a Midgate log, or one of a newer version."""


class _Envelope(NamedTuple):
    change_id: bytes
    subject: str
    base: int
    kind: str
    import_id: bytes | None
    body: dict[str, Any]


class _Row(NamedTuple):
    envelope: _Envelope
    timestamp: int


class Registration(NamedTuple):
    """An accepted registration of a deliverer."""

    offset: int
    transactional_id: str
    nonce: str


@dataclass(slots=True)
class Rights:
    """The rights after all records fed so far; `version` is the last one's offset plus one."""

    log_id: str = ""
    version: int = 0
    chain: bytes = FIRST_HASH
    tables: Tables = field(default_factory=Tables)
    registrations: dict[str, Registration] = field(default_factory=dict)
    _seen: set[bytes] = field(default_factory=set)
    _imports: dict[bytes, list[_Row]] = field(default_factory=dict)

    def feed(self, offset: int, timestamp: int, value: bytes | None) -> str | None:
        """Take the next record; answer its verdict, None for a heartbeat.

        Raises StoppedError where the page says "stop"; nothing may be fed afterwards.
        """
        if self.log_id == "" and offset != 0:
            raise StoppedError(f"the first record stands at offset {offset}, not 0")
        verdict = self._verdict(offset, timestamp, value)
        self.version = offset + 1
        if verdict is None:
            return None
        data = value or b""
        self.chain = hashlib.sha256(
            self.chain
            + offset.to_bytes(8, "big")
            + len(data).to_bytes(4, "big")
            + data
            + verdict.encode()
        ).digest()
        return verdict

    def _verdict(self, offset: int, timestamp: int, value: bytes | None) -> str | None:
        if offset == 0:
            return self._start(value)
        try:
            envelope = self._open(value)
        except avro_reader.UnreadableError:
            self._drop_old_imports(timestamp, keep=None)
            return "void:malformed"
        if envelope["kind"] == "HEARTBEAT":
            return None
        try:
            change = self._body(envelope)
        except avro_reader.UnreadableError:
            self._drop_old_imports(timestamp, keep=None)
            return "void:malformed"
        closes = change.import_id if change.kind == "IMPORT_CLOSE" else None
        self._drop_old_imports(timestamp, keep=closes)
        if change.kind == "LOG_START":
            self._seen.add(change.change_id)
            return "void:log_started"
        if change.change_id in self._seen:
            return "repeat"
        self._seen.add(change.change_id)
        if change.kind == "IMPORT_CLOSE":
            return self._close(offset, timestamp, change)
        if change.import_id is not None:
            return self._stage(change, timestamp)
        reason = self._judge(self.tables, change)
        if reason:
            return f"void:{reason}"
        self._take(self.tables, change, offset)
        if change.kind == "DELIVERER":
            self._register(change, offset)
        return "accepted"

    def _start(self, value: bytes | None) -> str:
        try:
            envelope = self._open(value)
            change = self._body(envelope)
        except avro_reader.UnreadableError as error:
            raise StoppedError(f"record 0 is no start of a log: {error}") from error
        if change.kind != "LOG_START":
            raise StoppedError(f"record 0 is {change.kind}, not LOG_START")
        self.log_id = change.body["log_id"]
        self._seen.add(change.change_id)
        return "accepted"

    def _open(self, value: bytes | None) -> dict[str, Any]:
        try:
            name, envelope = avro_reader.read(value)
        except avro_reader.UnknownFrameError as error:
            raise StoppedError(str(error)) from error
        if name != "authorization_change":
            raise StoppedError(f"a {name} stands in the authorization log")
        return envelope

    def _body(self, envelope: dict[str, Any]) -> _Envelope:
        """The whole change. Bytes are judged before meaning, so malformed comes before a stop."""
        try:
            name, body = avro_reader.read(envelope["body"])
        except avro_reader.UnknownFrameError as error:
            raise StoppedError(str(error)) from error
        kind = envelope["kind"]
        if envelope["rule_version"] != RULE_VERSION:
            raise StoppedError(f"rule version {envelope['rule_version']} is not known")
        if kind == "UNKNOWN" or BODY_OF_KIND[kind] != name:
            raise StoppedError(f"kind {kind} with a body of {name}")
        if _holds_unknown(name, body):
            raise StoppedError(f"a {name} holds a symbol that is not known")
        if name == "grant":
            # What version 1 could not say.
            body = {"merchant_token_id": "", "restricted": False, **body}
        return _Envelope(
            envelope["change_id"],
            envelope["subject"],
            envelope["base"],
            kind,
            envelope["import_id"],
            body,
        )

    def _judge(self, tables: Tables, change: _Envelope) -> str:
        """Why a change is void on these tables; empty if it is to be accepted."""
        subject = subject_of(change.kind, change.body)
        if change.subject != subject:
            return "subject"
        base_fits = ends_need_no_base(change.kind) or (
            change.base == tables.changed_at.get(subject, -1)
            and (change.kind not in PERMANENT or change.base == -1)
        )
        return void_reason(tables, change.kind, change.body, base_fits=base_fits)

    def _take(self, tables: Tables, change: _Envelope, offset: int) -> None:
        tables.changed_at[change.subject] = offset
        tables.put(change.kind, change.body)

    def _register(self, change: _Envelope, offset: int) -> None:
        body = change.body
        self.registrations[body["nonce"]] = Registration(
            offset, body["transactional_id"], body["nonce"]
        )

    def _stage(self, change: _Envelope, timestamp: int) -> str:
        if change.kind != "GRANT":
            return "void:not_importable"
        assert change.import_id is not None  # the caller asked
        rows = self._imports.setdefault(change.import_id, [])
        if len(rows) >= IMPORT_ROWS_MAX:
            return "void:import_too_long"
        rows.append(_Row(change, timestamp))
        return "staged"

    def _close(self, offset: int, timestamp: int, change: _Envelope) -> str:
        if change.import_id is None or change.subject != f"import/{change.import_id.hex()}":
            return "void:subject"
        rows = self._imports.pop(change.import_id, [])
        if not rows or len(rows) != change.body["rows"]:
            return "void:import_count"
        digest = hashlib.sha256(b"".join(row.envelope.change_id for row in rows)).digest()
        if digest != change.body["digest"]:
            return "void:import_digest"
        if timestamp - rows[0].timestamp > IMPORT_AGE_MS_MAX:
            return "void:import_late"
        trial = self.tables.copy()
        for row in rows:
            if self._judge(trial, row.envelope):
                return "void:import_row"
            self._take(trial, row.envelope, offset)
        trial.changed_at[change.subject] = offset
        self.tables = trial
        return "accepted"

    def _drop_old_imports(self, timestamp: int, keep: bytes | None) -> None:
        old = [
            import_id
            for import_id, rows in self._imports.items()
            if import_id != keep and timestamp - rows[0].timestamp > IMPORT_AGE_MS_MAX
        ]
        for import_id in old:
            del self._imports[import_id]


def _holds_unknown(name: str, body: dict[str, Any]) -> bool:
    """Whether any enum of the body, an enum in a list too, says UNKNOWN."""
    enums = {
        "tenant": ["party_type"],
        "agreement": ["fee_model", "status"],
        "grant": ["scope", "basis", "status", "channels"],
        "deliverer": ["kind"],
        "revocation": ["scope"],
        "revocation_lift": ["scope"],
        "grant_confirm": ["side"],
        "grant_correction": ["finding"],
    }
    if name == "rule_set":
        in_rows = ("party_type", "basis", "channels", "metering")
        return any(_unknown(row[field_name]) for row in body["rows"] for field_name in in_rows)
    return any(_unknown(body[field_name]) for field_name in enums.get(name, []))


def _unknown(value: Any) -> bool:
    return value == "UNKNOWN" or (isinstance(value, list) and "UNKNOWN" in value)
