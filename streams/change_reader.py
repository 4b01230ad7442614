"""[core] Bytes of the authorization log to a `Change`, or the reason why there is none.

`schemas.codec` decides what decodes. The walkers below read the plainest form of an envelope and of
a grant, which is what nearly every record of a large log is, in less than half the time. Whatever
is not plain is left to the codec: a walker may give up and return None, but what it returns is what
the codec would return (property test).
"""

from itertools import permutations
from typing import NamedTuple

from schemas.codec import UnknownFrameError, decode, frame_id
from schemas.strict_avro import TIMESTAMP_MS_MAX, TIMESTAMP_MS_MIN, read_number
from streams.changes import ENVELOPE, KINDS, LATER_FIELDS, RULE_VERSION, UNKNOWN, Body
from streams.errors import UpgradeNeededError

_ENVELOPE_FRAME = b"\0" + frame_id(ENVELOPE).to_bytes(4, "big")
_GRANT_FRAME = b"\0" + frame_id("grant").to_bytes(4, "big")
_GRANT_2_FRAME = b"\0" + frame_id("grant", 2).to_bytes(4, "big")
# Index n of an enum or union is the byte 2n. UNKNOWN, index 0, is not plain. Symbols stand in the
# order of the schemas (tested).
_KINDS = {
    2 * index: kind for index, (kind, spec) in enumerate(KINDS.items(), 1) if spec.envelope == 1
}
_SCOPES = {2: "MID", 4: "CRID"}
_BASES = {2: "OWNER", 4: "MERCHANT_TOKEN", 6: "MID_AUTHORIZATION", 8: "IP_AGREEMENT"}
_STATUSES = {2: "PENDING", 4: "ACTIVE"}
# Every array of channels that names none twice: one block and a zero.
_CHANNELS = {
    bytes((2 * size, *(2 * index for index, _ in some), 0)): tuple(name for _, name in some)
    for size in (1, 2, 3)
    for some in permutations(((1, "API"), (2, "WEBHOOK"), (3, "SEE")), size)
}
# Rule version, restricting, branch of import_id -> restricting.
_FLAGS = {
    bytes((2 * RULE_VERSION, restricting, branch)): restricting == 1
    for restricting in (0, 1)
    for branch in (0, 2)
}
_PRESENT = 2
_THREE_NULLS = b"\0\0\0"
# By its first byte, how far it is from the start of a string of up to 63 bytes to what follows; a
# negative or longer length leads out of any record.
_STEPS = tuple(1 + (n >> 1) if n < 128 and not n & 1 else 1 << 31 for n in range(256))
_UPGRADE_HINT = "upgrade this program; nothing is decided until then"


class Change(NamedTuple):
    """A change as it stands in the log; `import_id` is None unless it belongs to an import."""

    change_id: bytes
    subject: str
    base: int
    kind: str
    restricting: bool
    import_id: bytes | None
    actor: str
    reason: str
    body: Body


def read_change(value: bytes | None) -> Change:
    """The change in a record's value; of a heartbeat the body is left unread.

    Raises MalformedRecordError for what does not decode whole, and UpgradeNeededError for a frame,
    a rule version, a kind or a symbol that is not of this version.
    """
    envelope = None if value is None else _plain_envelope(value)
    if envelope is None:
        envelope = _envelope(value)
    rule_version, body_bytes, fields = envelope
    kind = fields[3]
    if kind == "HEARTBEAT":
        return Change(*fields, {})
    body = _plain_grant(body_bytes) if kind == "GRANT" else None
    if body is None:
        body = _body(kind, body_bytes)
    if rule_version != RULE_VERSION:
        raise _upgrade(f"rule version {rule_version}")
    return Change(*fields, body)


def _upgrade(what: str) -> UpgradeNeededError:
    return UpgradeNeededError(f"the log holds {what}, which is newer than us", hint=_UPGRADE_HINT)


_Fields = tuple[bytes, str, int, str, bool, bytes | None, str, str]
"""A change but for its body."""


def _envelope(value: bytes | None) -> tuple[int, bytes, _Fields]:
    try:
        name, record = decode(value or b"")
    except UnknownFrameError as error:
        raise _upgrade(f"frame {error.frame}") from error
    if name != ENVELOPE:
        raise _upgrade(f"a record {name}")
    fields = (
        record["change_id"],
        record["subject"],
        record["base"],
        record["kind"],
        record["restricting"],
        record["import_id"],
        record["actor"],
        record["reason"],
    )
    return record["rule_version"], record["body"], fields


def _body(kind: str, body_bytes: bytes) -> Body:
    try:
        name, body = decode(body_bytes)
    except UnknownFrameError as error:
        raise _upgrade(f"frame {error.frame}") from error
    spec = KINDS.get(kind)
    if spec is None or name != spec.record:
        raise _upgrade(f"kind {kind} with a record {name}")
    for field in spec.enums:
        if UNKNOWN in _symbols(body, field):
            raise _upgrade(f"an unknown {field} of {kind}")
    later = LATER_FIELDS.get(kind)
    return body if later is None else {**later, **body}


def _symbols(body: Body, field: str) -> list[str]:
    """All symbols in a field, in a list, or (`rows.basis`) in the rows of a list."""
    name, _, inner = field.partition(".")
    found = [row[inner] for row in body[name]] if inner else [body[name]]
    return [symbol for one in found for symbol in (one if isinstance(one, list) else [one])]


def _plain_envelope(value: bytes) -> tuple[int, bytes, _Fields] | None:
    """Envelope of a known kind and rule version, in ASCII, no string above 63 bytes."""
    if value[:5] != _ENVELOPE_FRAME:
        return None
    steps = _STEPS
    try:
        base_at = 21 + steps[value[21]]
        base, at = read_number(value, base_at)
        kind = _KINDS[value[at]]
        flags = value[at + 1 : at + 4]  # rule version, restricting, branch of import_id
        restricting = _FLAGS[flags]
        import_id = None
        actor_at = at = at + 4
        if flags[2]:
            import_id = value[at : at + 16]
            actor_at = at = at + 16
        reason_at = at + steps[value[at]]
        size_at = reason_at + steps[value[reason_at]]
        size, at = read_number(value, size_at)
    except (IndexError, KeyError, ValueError):
        return None
    if size < 0 or at + size != len(value) or not value[21:base_at].isascii():
        return None
    said = value[actor_at:size_at]
    if not said.isascii():
        return None
    text = said.decode("latin-1")
    fields = (
        value[5:21],
        value[22:base_at].decode("latin-1"),
        base,
        kind,
        restricting,
        import_id,
        text[1 : reason_at - actor_at],
        text[reason_at - actor_at + 1 :],
    )
    return RULE_VERSION, value[at:], fields


def _plain_grant(value: bytes) -> Body | None:
    """A grant in ASCII, no string above 63 bytes, no channel twice."""
    frame = value[:5]
    if frame not in (_GRANT_FRAME, _GRANT_2_FRAME):
        return None
    steps = _STEPS
    try:
        tenant_at = 5 + steps[value[5]]
        grantor_at = tenant_at + steps[value[tenant_at]]
        scope_at = grantor_at + steps[value[grantor_at]]
        crid_at = scope_at + 1 + steps[value[scope_at + 1]]
        channels_at = crid_at + steps[value[crid_at]]
        basis_at = channels_at + (value[channels_at] >> 1) + 2
        status_at = basis_at + 1 + steps[value[basis_at + 1]]
        scope = _SCOPES[value[scope_at]]
        channels = _CHANNELS[value[channels_at:basis_at]]
        basis = _BASES[value[basis_at]]
        status = _STATUSES[value[status_at]]
        effective_from, at = read_number(value, status_at + 1)
        effective_to = data_from = data_to = None
        if value[at : at + 3] == _THREE_NULLS:
            at += 3
        else:
            effective_to, at = _instant_or_null(value, at)
            data_from, at = _instant_or_null(value, at)
            data_to, at = _instant_or_null(value, at)
        token, restricted = b"", 0
        if frame == _GRANT_2_FRAME:
            restricted_at = at + steps[value[at]]
            token, restricted = value[at + 1 : restricted_at], value[restricted_at]
            at = restricted_at + 1
    except (IndexError, KeyError, ValueError):
        return None
    if at != len(value) or restricted > 1 or not token.isascii():
        return None
    said = value[:status_at]
    if not said.isascii() or not TIMESTAMP_MS_MIN <= effective_from <= TIMESTAMP_MS_MAX:
        return None
    text = said.decode("latin-1")
    return {
        "grant_id": text[6:tenant_at],
        "tenant_id": text[tenant_at + 1 : grantor_at],
        "grantor_crid": text[grantor_at + 1 : scope_at],
        "scope": scope,
        "mid": text[scope_at + 2 : crid_at],
        "crid": text[crid_at + 1 : channels_at],
        "channels": list(channels),
        "basis": basis,
        "agreement_id": text[basis_at + 2 : status_at],
        "status": status,
        "effective_from": effective_from,
        "effective_to": effective_to,
        "data_from": data_from,
        "data_to": data_to,
        "merchant_token_id": token.decode("latin-1"),
        "restricted": restricted == 1,
    }


def _instant_or_null(value: bytes, at: int) -> tuple[int | None, int]:
    branch = value[at]
    if branch == 0:
        return None, at + 1
    instant, end = read_number(value, at + 1)
    if branch != _PRESENT or not TIMESTAMP_MS_MIN <= instant <= TIMESTAMP_MS_MAX:
        raise ValueError("no plain instant")
    return instant, end
