"""[core] The tables of the rights, and the rule that says when a change of each kind is void.

Source: the table in docs/authorization-log.md, "What a follower does with a record". Order of the
checks inside a kind: invalid, terminal, base, unknown reference, fixed (the subject was checked
before).
"""

import re
from dataclasses import dataclass, field
from typing import Any

from auditor.barcodes import is_mid

TENANT_ID = re.compile(r"[a-z0-9](-?[a-z0-9])*")
TENANT_ID_CHARACTERS_MAX = 100
RECORD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
CRID = re.compile(r"[A-Za-z0-9]{1,18}")
# Set once in rule 1: only a base of -1 will do.
PERMANENT = frozenset({"LAYOUT"})
NO_BASE = frozenset(
    {"TENANT_END", "AGREEMENT_SUSPEND", "GRANT_END", "DELIVERER"}
    | {"MERCHANT_TOKEN_END", "REVOCATION"}
)
# The id of the rules that hold where the log has none.
BUILT_IN_RULES = "usps-2026-04-01"
BOTH_SIDES = {"GRANTOR", "TENANT"}


@dataclass(slots=True)
class Tables:
    """Rights as plain dictionaries of the records that made them."""

    layout: dict[str, Any] | None = None
    tenants: dict[str, dict[str, Any]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    terms: dict[str, bool] = field(default_factory=dict)
    crids: dict[str, list[str]] = field(default_factory=dict)
    agreements: dict[str, dict[str, Any]] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)
    grants: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    confirmed: dict[str, frozenset[str]] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended_tokens: set[str] = field(default_factory=set)
    revoked: dict[str, dict[str, Any]] = field(default_factory=dict)
    rule_sets: list[dict[str, Any]] = field(default_factory=list)
    corrections: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed_at: dict[str, int] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """Tables to try an import on; an accepted record itself never changes, so it is shared."""
        return Tables(
            self.layout,
            dict(self.tenants),
            set(self.closed),
            dict(self.terms),
            dict(self.crids),
            dict(self.agreements),
            set(self.suspended),
            dict(self.grants),
            set(self.ended),
            dict(self.confirmed),
            dict(self.tokens),
            set(self.ended_tokens),
            dict(self.revoked),
            list(self.rule_sets),
            dict(self.corrections),
            dict(self.changed_at),
        )

    def put(self, kind: str, body: dict[str, Any]) -> None:
        """Let an accepted change take effect."""
        if kind in ("GRANT", "GRANT_END", "GRANT_CONFIRM"):
            self._put_grant(kind, body)
        elif kind == "LAYOUT":
            self.layout = body
        elif kind == "TENANT":
            self.tenants[body["tenant_id"]] = body
        elif kind == "TENANT_END":
            self.closed.add(body["tenant_id"])
        elif kind == "TERMS":
            self.terms[body["tenant_id"]] = body["accepted"]
        elif kind == "CRID":
            self.crids[body["crid"]] = body["mids"]
        elif kind == "AGREEMENT":
            self.agreements[body["agreement_id"]] = body
        elif kind == "AGREEMENT_SUSPEND":
            if body["agreement_id"] in self.agreements:
                self.suspended.add(body["agreement_id"])
        elif kind == "AGREEMENT_RESUME":
            self.suspended.discard(body["agreement_id"])
        elif kind == "MERCHANT_TOKEN":
            self.tokens[body["merchant_token_id"]] = body
        elif kind == "MERCHANT_TOKEN_END":
            self.ended_tokens.add(body["merchant_token_id"])
        elif kind == "REVOCATION":
            self.revoked[subject_of(kind, body)] = body
        elif kind == "REVOCATION_LIFT":
            del self.revoked[subject_of(kind, body)]
        elif kind == "RULE_SET":
            self.rule_sets.append(body)
        elif kind == "GRANT_CORRECTION":
            self.corrections[body["correction_id"]] = body

    def _put_grant(self, kind: str, body: dict[str, Any]) -> None:
        grant_id = body["grant_id"]
        if kind == "GRANT_END":
            self.ended.add(grant_id)
        elif kind == "GRANT":
            self.grants[grant_id] = body
            self.confirmed.pop(grant_id, None)
        else:
            sides = self.confirmed.get(grant_id, frozenset()) | {body["side"]}
            self.confirmed[grant_id] = sides

    def pending(self, grant: dict[str, Any]) -> bool:
        """Whether a grant written as PENDING waits for a side's confirmation."""
        sides = self.confirmed.get(grant["grant_id"], frozenset())
        return bool(grant["status"] == "PENDING") and sides != BOTH_SIDES

    def open_tenant(self, tenant_id: str) -> bool:
        """Whether the tenant is known and not closed."""
        return tenant_id in self.tenants and tenant_id not in self.closed


def ends_need_no_base(kind: str) -> bool:
    """Whether the base of this kind is ignored."""
    return kind in NO_BASE


def subject_of(kind: str, body: dict[str, Any]) -> str:
    """The subject that the body itself names."""
    if kind == "LAYOUT":
        return "layout"
    if kind in ("TENANT", "TENANT_END"):
        return f"tenant/{body['tenant_id']}"
    if kind == "TERMS":
        return f"terms/{body['tenant_id']}"
    if kind == "CRID":
        return f"crid/{body['crid']}"
    if kind in ("AGREEMENT", "AGREEMENT_SUSPEND", "AGREEMENT_RESUME"):
        return f"agreement/{body['agreement_id']}"
    if kind in ("GRANT", "GRANT_END", "GRANT_CONFIRM"):
        return f"grant/{body['grant_id']}"
    if kind in ("MERCHANT_TOKEN", "MERCHANT_TOKEN_END"):
        return f"token/{body['merchant_token_id']}"
    if kind in ("REVOCATION", "REVOCATION_LIFT"):
        scope = body["mid"] if body["scope"] == "MID" else f"crid/{body['crid']}"
        return f"revocation/{body['tenant_id']}/{scope}"
    if kind == "RULE_SET":
        return "rules"
    if kind == "GRANT_CORRECTION":
        return f"correction/{body['correction_id']}"
    assert kind == "DELIVERER", kind
    return f"deliverer/{body['transactional_id']}"


def void_reason(tables: Tables, kind: str, body: dict[str, Any], *, base_fits: bool) -> str:
    """Why the change is void, or nothing."""
    if kind == "DELIVERER":
        return "" if _fits_layout(tables, body) else "layout"
    if _invalid(tables, kind, body):
        return "invalid"
    if kind in NO_BASE:
        return ""
    if _terminal(tables, kind, body):
        return "terminal"
    if not base_fits:
        return "base"
    if _unknown_reference(tables, kind, body):
        return "unknown_reference"
    if _changes_what_is_fixed(tables, kind, body):
        return "fixed"
    return ""


def _fits_layout(tables: Tables, body: dict[str, Any]) -> bool:
    return tables.layout is not None and all(
        body[name] == tables.layout[name] for name in ("app_id", "lanes", "partitions")
    )


def _invalid(tables: Tables, kind: str, body: dict[str, Any]) -> bool:
    if kind == "LAYOUT":
        lanes, partitions = body["lanes"], body["partitions"]
        return bool(lanes < 1 or partitions < 1 or partitions % lanes != 0)
    if kind == "TENANT":
        tenant_id, partitions = body["tenant_id"], body["partitions"]
        if _no_tenant_id(tenant_id):
            return True
        if partitions < 1 or not body["topic"].endswith(f".tenant.{tenant_id}"):
            return True
        return tables.layout is not None and tables.layout["partitions"] % partitions != 0
    if kind == "CRID":
        mids = body["mids"]
        return (
            CRID.fullmatch(body["crid"]) is None
            or not all(is_mid(mid) for mid in mids)
            or len(set(mids)) != len(mids)
        )
    if kind == "AGREEMENT":
        return (
            RECORD_ID.fullmatch(body["agreement_id"]) is None
            or not all(is_mid(mid) for mid in body["mids"])
            or _empty_window(body["effective_from"], body["effective_to"])
        )
    if kind == "GRANT":
        return _invalid_grant(body)
    if kind == "MERCHANT_TOKEN":
        return RECORD_ID.fullmatch(body["merchant_token_id"]) is None
    if kind == "GRANT_CORRECTION":
        return _invalid_correction(body)
    if kind in ("REVOCATION", "REVOCATION_LIFT"):
        return _no_tenant_id(body["tenant_id"]) or _invalid_scope(body)
    return kind == "RULE_SET" and _invalid_rules(body)


def _no_tenant_id(text: str) -> bool:
    return TENANT_ID.fullmatch(text) is None or len(text) > TENANT_ID_CHARACTERS_MAX


def _invalid_scope(body: dict[str, Any]) -> bool:
    if body["scope"] == "MID":
        return not is_mid(body["mid"]) or body["crid"] != ""
    return CRID.fullmatch(body["crid"]) is None or body["mid"] != ""


def _invalid_correction(body: dict[str, Any]) -> bool:
    if not all(RECORD_ID.fullmatch(body[name]) for name in ("correction_id", "grant_id")):
        return True
    if _empty_window(body["wrong_from"], body["wrong_to"]):
        return True
    return bool(body["wrong_from"] >= body["known_at"])


def _invalid_rules(body: dict[str, Any]) -> bool:
    rows = body["rows"]
    pairs = {(row["party_type"], row["basis"]) for row in rows}
    named = all(
        row["channels"] and len(set(row["channels"])) == len(row["channels"]) for row in rows
    )
    return RECORD_ID.fullmatch(body["rule_set_id"]) is None or not (
        rows and named and len(pairs) == len(rows)
    )


def _invalid_grant(body: dict[str, Any]) -> bool:
    if RECORD_ID.fullmatch(body["grant_id"]) is None:
        return True
    if _invalid_scope(body):
        return True
    channels = body["channels"]
    if not channels or len(set(channels)) != len(channels):
        return True
    if _empty_window(body["effective_from"], body["effective_to"]):
        return True
    if _empty_window(body["data_from"], body["data_to"]):
        return True
    if body["merchant_token_id"] != "" and body["basis"] != "MERCHANT_TOKEN":
        return True
    return bool((body["basis"] == "IP_AGREEMENT") != (body["agreement_id"] != ""))


def _empty_window(start: int | None, end: int | None) -> bool:
    return start is not None and end is not None and end <= start


def _terminal(tables: Tables, kind: str, body: dict[str, Any]) -> bool:
    if kind == "TENANT":
        return body["tenant_id"] in tables.closed
    if kind == "MERCHANT_TOKEN":
        return body["merchant_token_id"] in tables.ended_tokens
    return kind in ("GRANT", "GRANT_CONFIRM") and body["grant_id"] in tables.ended


def _unknown_reference(tables: Tables, kind: str, body: dict[str, Any]) -> bool:
    if kind == "TENANT":
        return tables.layout is None
    if kind in ("TERMS", "AGREEMENT", "MERCHANT_TOKEN"):
        return not tables.open_tenant(body["tenant_id"])
    if kind in ("GRANT_CONFIRM", "GRANT_CORRECTION"):
        return body["grant_id"] not in tables.grants
    if kind == "REVOCATION_LIFT":
        return subject_of(kind, body) not in tables.revoked
    if kind == "AGREEMENT_RESUME":
        return body["agreement_id"] not in tables.agreements
    if kind == "GRANT":
        if not tables.open_tenant(body["tenant_id"]):
            return True
        if body["scope"] == "CRID" and body["crid"] not in tables.crids:
            return True
        return _names_anothers(tables, body)
    return False


def _names_anothers(tables: Tables, grant: dict[str, Any]) -> bool:
    """Whether a grant names an agreement or a token that its tenant does not have."""
    if grant["agreement_id"] != "":
        agreement = tables.agreements.get(grant["agreement_id"])
        return agreement is None or agreement["tenant_id"] != grant["tenant_id"]
    token_id = grant["merchant_token_id"]
    if token_id == "":
        return False
    token = tables.tokens.get(token_id)
    return (
        token_id in tables.ended_tokens or token is None or token["tenant_id"] != grant["tenant_id"]
    )


def _changes_what_is_fixed(tables: Tables, kind: str, body: dict[str, Any]) -> bool:
    if kind == "TENANT":
        before, names = tables.tenants.get(body["tenant_id"]), ["topic", "partitions"]
    elif kind == "AGREEMENT":
        before, names = tables.agreements.get(body["agreement_id"]), ["tenant_id"]
    elif kind == "MERCHANT_TOKEN":
        before, names = tables.tokens.get(body["merchant_token_id"]), ["tenant_id"]
    elif kind == "GRANT_CORRECTION":
        before, names = tables.corrections.get(body["correction_id"]), ["grant_id"]
    elif kind == "RULE_SET":
        used = {rules["rule_set_id"] for rules in tables.rule_sets}
        return body["rule_set_id"] in used | {BUILT_IN_RULES}
    elif kind == "GRANT":
        before = tables.grants.get(body["grant_id"])
        names = ["tenant_id", "scope", "mid", "crid", "basis", "merchant_token_id"]
    else:
        return False
    return before is not None and any(before[name] != body[name] for name in names)
