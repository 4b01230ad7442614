"""[core] Changes of the authorization log: kinds, subjects, structure, and how one is written.

`KINDS` is the one table of kinds. A writer builds a change with the constructor of its kind and
appends the bytes; what is structurally wrong with a body is said by `streams/structure.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from schemas.codec import encode

RULE_VERSION = 1
NEVER_CHANGED = -1
ENVELOPE = "authorization_change"
UNKNOWN = "UNKNOWN"

Body = dict[str, Any]


class KindSpec(NamedTuple):
    """What the rule knows of a kind before it looks at the rights.

    `subject` names what the body is about; `enums` are the body's fields in which the symbol
    UNKNOWN means "from a newer version" (`rows.basis`: in each of the rows). `envelope` is the
    first version of the envelope that knows the kind.
    """

    record: str
    subject: Callable[[Body], str]
    needs_base: bool
    enums: tuple[str, ...] = ()
    envelope: int = 1


def _of(prefix: str, field: str) -> Callable[[Body], str]:
    return lambda body: f"{prefix}/{body[field]}"


def revocation_subject(body: Body) -> str:
    """Subject of a revocation and of its lift: one for each tenant and scope."""
    if body["scope"] == "CRID":
        return f"revocation/{body['tenant_id']}/crid/{body['crid']}"
    return f"revocation/{body['tenant_id']}/{body['mid']}"


KINDS: dict[str, KindSpec] = {
    "LOG_START": KindSpec("log_start", lambda body: "log", False),
    "LAYOUT": KindSpec("layout", lambda body: "layout", True),
    "TENANT": KindSpec("tenant", _of("tenant", "tenant_id"), True, ("party_type",)),
    "TENANT_END": KindSpec("tenant_end", _of("tenant", "tenant_id"), False),
    "TERMS": KindSpec("terms", _of("terms", "tenant_id"), True),
    "CRID": KindSpec("crid", _of("crid", "crid"), True),
    "AGREEMENT": KindSpec(
        "agreement", _of("agreement", "agreement_id"), True, ("fee_model", "status")
    ),
    "AGREEMENT_SUSPEND": KindSpec("agreement_suspend", _of("agreement", "agreement_id"), False),
    "AGREEMENT_RESUME": KindSpec("agreement_resume", _of("agreement", "agreement_id"), True),
    "GRANT": KindSpec(
        "grant", _of("grant", "grant_id"), True, ("scope", "basis", "status", "channels")
    ),
    "GRANT_END": KindSpec("grant_end", _of("grant", "grant_id"), False),
    "IMPORT_CLOSE": KindSpec("import_close", lambda body: "", False),
    "DELIVERER": KindSpec("deliverer", _of("deliverer", "transactional_id"), False, ("kind",)),
    "HEARTBEAT": KindSpec("heartbeat", lambda body: "heartbeat", False),
    "RULE_SET": KindSpec(
        "rule_set",
        lambda body: "rules",
        True,
        ("rows.party_type", "rows.basis", "rows.channels", "rows.metering"),
        envelope=2,
    ),
    "MERCHANT_TOKEN": KindSpec(
        "merchant_token", _of("token", "merchant_token_id"), True, envelope=2
    ),
    "MERCHANT_TOKEN_END": KindSpec(
        "merchant_token_end", _of("token", "merchant_token_id"), False, envelope=2
    ),
    "REVOCATION": KindSpec("revocation", revocation_subject, False, ("scope",), envelope=2),
    "REVOCATION_LIFT": KindSpec(
        "revocation_lift", revocation_subject, True, ("scope",), envelope=2
    ),
    "GRANT_CONFIRM": KindSpec(
        "grant_confirm", _of("grant", "grant_id"), True, ("side",), envelope=2
    ),
    "GRANT_CORRECTION": KindSpec(
        "grant_correction", _of("correction", "correction_id"), True, ("finding",), envelope=3
    ),
}
"""Kind -> spec. The subject of IMPORT_CLOSE is its import's: `import_subject`."""

LATER_FIELDS: dict[str, Body] = {"GRANT": {"merchant_token_id": "", "restricted": False}}
"""Kind -> fields that the second version of its record brought, with what their absence means.

A change is written in the first version that can say it: followers of an older build then go on
wherever nothing new is said, and stop ("upgrade") where something is.
"""

PERMITTING_KINDS = frozenset(
    {"LOG_START", "LAYOUT", "DELIVERER", "HEARTBEAT", "IMPORT_CLOSE", "AGREEMENT_RESUME"}
    | {"REVOCATION_LIFT", "GRANT_CONFIRM", "GRANT_CORRECTION"}
)
CREATING_KINDS = frozenset({"TENANT", "AGREEMENT", "GRANT", "CRID", "MERCHANT_TOKEN"})


def import_subject(import_id: bytes) -> str:
    """Subject of the record that closes an import."""
    return f"import/{import_id.hex()}"


def flag(kind: str, body: Body, base: int) -> bool:
    """The `restricting` flag of a writer that did not compare with the rights: in doubt, True.

    A change of something that is there may be a mere extension; followers see for themselves, and
    a flag too many only makes lanes acknowledge at once.
    """
    if kind in PERMITTING_KINDS or (kind in CREATING_KINDS and base == NEVER_CHANGED):
        return False
    return not (kind == "TERMS" and body["accepted"])


def build_change(
    kind: str,
    subject: str,
    body: Body,
    *,
    base: int = NEVER_CHANGED,
    actor: str,
    reason: str,
    change_id: bytes,
    import_id: bytes | None = None,
    restricting: bool | None = None,
) -> bytes:
    """The framed envelope of a change. ValueError when a field is missing or of another type.

    `base` is the offset at which the subject last changed, -1: never. `restricting` None: `flag`.
    """
    spec = KINDS[kind]
    return encode(
        ENVELOPE,
        {
            "change_id": change_id,
            "subject": subject,
            "base": base,
            "kind": kind,
            "rule_version": RULE_VERSION,
            "restricting": flag(kind, body, base) if restricting is None else restricting,
            "import_id": import_id,
            "actor": actor,
            "reason": reason,
            "body": _body_bytes(kind, body),
        },
        spec.envelope,
    )


def _body_bytes(kind: str, body: Body) -> bytes:
    record, later = KINDS[kind].record, LATER_FIELDS.get(kind)
    if later is None:
        return encode(record, body)
    if any(body.get(name, absent) != absent for name, absent in later.items()):
        return encode(record, body, 2)
    return encode(record, {name: value for name, value in body.items() if name not in later})


def change(kind: str, body: Body, **stamp: Any) -> bytes:
    """`build_change` with the subject that the table gives for the body."""
    return build_change(kind, KINDS[kind].subject(body), body, **stamp)


def log_start_change(log_id: str, **stamp: Any) -> bytes:
    """Record 0; `log_id` is a fresh UUID. `stamp`: actor, reason, change_id."""
    return change("LOG_START", {"log_id": log_id}, **stamp)


def layout_change(app_id: str, lanes: int, partitions: int, **stamp: Any) -> bytes:
    """The layout; its base is -1, as there is one for good."""
    return change("LAYOUT", {"app_id": app_id, "lanes": lanes, "partitions": partitions}, **stamp)


def tenant_change(
    tenant_id: str,
    *,
    name: str,
    party_type: str,
    topic: str,
    partitions: int,
    crid: str = "",
    **stamp: Any,
) -> bytes:
    """A tenant, new (base -1) or changed. `stamp`: base, actor, reason, change_id."""
    body = {
        "tenant_id": tenant_id,
        "name": name,
        "party_type": party_type,
        "crid": crid,
        "topic": topic,
        "partitions": partitions,
    }
    return change("TENANT", body, **stamp)


def tenant_end_change(tenant_id: str, **stamp: Any) -> bytes:
    """Closes a tenant for good; needs no base."""
    return change("TENANT_END", {"tenant_id": tenant_id}, **stamp)


def terms_change(tenant_id: str, terms_version: str, accepted: bool, **stamp: Any) -> bytes:
    """Terms accepted or withdrawn."""
    body = {"tenant_id": tenant_id, "terms_version": terms_version, "accepted": accepted}
    return change("TERMS", body, **stamp)


def crid_change(crid: str, mids: Sequence[str], **stamp: Any) -> bytes:
    """All MIDs of a CRID from now on."""
    return change("CRID", {"crid": crid, "mids": list(mids)}, **stamp)


def agreement_change(
    agreement_id: str,
    *,
    tenant_id: str,
    fee_model: str,
    effective_from: int,
    effective_to: int | None = None,
    mids: Iterable[str] = (),
    status: str = "ACTIVE",
    crid: str = "",
    payment_account: str = "",
    **stamp: Any,
) -> bytes:
    """An IP agreement, new or changed. Instants in ms UTC; no MIDs: all."""
    body = {
        "agreement_id": agreement_id,
        "tenant_id": tenant_id,
        "crid": crid,
        "payment_account": payment_account,
        "fee_model": fee_model,
        "mids": list(mids),
        "status": status,
        "effective_from": effective_from,
        "effective_to": effective_to,
    }
    return change("AGREEMENT", body, **stamp)


def agreement_suspend_change(agreement_id: str, **stamp: Any) -> bytes:
    """Suspends an agreement; needs no base."""
    return change("AGREEMENT_SUSPEND", {"agreement_id": agreement_id}, **stamp)


def agreement_resume_change(agreement_id: str, **stamp: Any) -> bytes:
    """Lets a suspended agreement count again."""
    return change("AGREEMENT_RESUME", {"agreement_id": agreement_id}, **stamp)


def grant_body(
    grant_id: str,
    *,
    tenant_id: str,
    basis: str,
    channels: Sequence[str],
    effective_from: int,
    effective_to: int | None = None,
    mid: str = "",
    crid: str = "",
    agreement_id: str = "",
    grantor_crid: str = "",
    status: str = "ACTIVE",
    data_from: int | None = None,
    data_to: int | None = None,
    merchant_token_id: str = "",
    restricted: bool = False,
) -> Body:
    """Body of a grant; scope CRID when a `crid` is given, else MID. Instants in ms UTC.

    `data_from` and `data_to` are the window over event time.
    """
    return {
        "grant_id": grant_id,
        "tenant_id": tenant_id,
        "grantor_crid": grantor_crid,
        "scope": "CRID" if crid else "MID",
        "mid": mid,
        "crid": crid,
        "channels": list(channels),
        "basis": basis,
        "agreement_id": agreement_id,
        "status": status,
        "effective_from": effective_from,
        "effective_to": effective_to,
        "data_from": data_from,
        "data_to": data_to,
        "merchant_token_id": merchant_token_id,
        "restricted": restricted,
    }


def grant_change(body: Body, **stamp: Any) -> bytes:
    """A grant, new or changed, from its body (`grant_body`, `grant_csv`).

    `stamp`: base, actor, reason, change_id, and import_id for a row of an import.
    """
    return change("GRANT", body, **stamp)


def grant_end_change(grant_id: str, **stamp: Any) -> bytes:
    """Revokes a grant for good; needs no base."""
    return change("GRANT_END", {"grant_id": grant_id}, **stamp)


def grant_confirm_change(grant_id: str, side: str, **stamp: Any) -> bytes:
    """One side (GRANTOR or TENANT) confirms a grant as it stands."""
    return change("GRANT_CONFIRM", {"grant_id": grant_id, "side": side}, **stamp)


def grant_correction_change(
    correction_id: str,
    *,
    grant_id: str,
    finding: str,
    wrong_from: int,
    wrong_to: int | None,
    known_at: int,
    withdrawn: bool = False,
    **stamp: Any,
) -> bytes:
    """A finding about a grant's past. Instants in ms UTC; it alters no right."""
    body = {
        "correction_id": correction_id,
        "grant_id": grant_id,
        "finding": finding,
        "wrong_from": wrong_from,
        "wrong_to": wrong_to,
        "known_at": known_at,
        "withdrawn": withdrawn,
    }
    return change("GRANT_CORRECTION", body, **stamp)


def merchant_token_change(
    merchant_token_id: str, *, tenant_id: str, merchant: str = "", **stamp: Any
) -> bytes:
    """A merchant's access token at a platform; its id, never the token."""
    body = {
        "merchant_token_id": merchant_token_id,
        "tenant_id": tenant_id,
        "merchant": merchant,
    }
    return change("MERCHANT_TOKEN", body, **stamp)


def merchant_token_end_change(merchant_token_id: str, **stamp: Any) -> bytes:
    """Ends a token, and with it all its grants, for good; needs no base."""
    return change("MERCHANT_TOKEN_END", {"merchant_token_id": merchant_token_id}, **stamp)


def revoked_scope(tenant_id: str, *, mid: str = "", crid: str = "") -> Body:
    """Body of a revocation and of its lift; scope CRID when a `crid` is given, else MID."""
    scope = "CRID" if crid else "MID"
    return {"tenant_id": tenant_id, "scope": scope, "mid": mid, "crid": crid}


def revocation_change(body: Body, **stamp: Any) -> bytes:
    """Takes every right to a scope from a tenant until it is lifted; needs no base."""
    return change("REVOCATION", body, **stamp)


def revocation_lift_change(body: Body, **stamp: Any) -> bytes:
    """Lifts a revocation."""
    return change("REVOCATION_LIFT", body, **stamp)


def rule_set_change(body: Body, **stamp: Any) -> bytes:
    """Rules from an instant on. Fields: schemas/avro/rule_set."""
    return change("RULE_SET", body, **stamp)


def import_close_change(import_id: bytes, rows: int, digest: bytes, **stamp: Any) -> bytes:
    """Closes an import; `digest` is SHA-256 over the rows' change ids in log order."""
    body = {"rows": rows, "digest": digest}
    return build_change(
        "IMPORT_CLOSE", import_subject(import_id), body, import_id=import_id, **stamp
    )


def deliverer_change(body: Body, **stamp: Any) -> bytes:
    """Registration of a deliverer's start; needs no base. Fields: schemas/avro/deliverer."""
    return change("DELIVERER", body, **stamp)


def heartbeat_change(nonce: str, **stamp: Any) -> bytes:
    """Shows followers that the log still takes appends."""
    return change("HEARTBEAT", {"nonce": nonce}, **stamp)
