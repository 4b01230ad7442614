"""[core] Accepted or void: the rule by which every reader of the log judges a change alike.

Source of the rule, and of the order of the checks: docs/authorization-log.md. `RULES` says what
voids a kind; `judge` asks in the page's order: subject, invalid, terminal, base,
unknown_reference, layout, fixed. Grants have a judge of their own, as rows of an import are judged
on a state that the rows before them have altered.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from streams.change_reader import Change
from streams.changes import KINDS, NEVER_CHANGED, Body, revocation_subject
from streams.facts import Agreement, Grant
from streams.rights_state import RightsState
from streams.rule_sets import USPS_RULES
from streams.structure import body_problems, grant_is_sound

ACCEPTED = "accepted"
MALFORMED = "void:malformed"
LOG_STARTED = "void:log_started"
REPEAT = "repeat"
STAGED = "staged"
NOT_IMPORTABLE = "void:not_importable"
SUBJECT = "void:subject"
INVALID = "void:invalid"
TERMINAL = "void:terminal"
BASE = "void:base"
UNKNOWN_REFERENCE = "void:unknown_reference"
FIXED = "void:fixed"
LAYOUT = "void:layout"

Check = Callable[[RightsState, Body], bool]


def _never(state: RightsState, body: Body) -> bool:
    return False


def _always(state: RightsState, body: Body) -> bool:
    return True


class Rule(NamedTuple):
    """When a kind is void, beyond its subject, structure and base; and when it restricts.

    `narrows` compares with what is in force *before* the change.
    """

    narrows: Check
    invalid: Check = _never
    terminal: Check = _never
    unknown_reference: Check = _never
    layout: Check = _never
    fixed: Check = _never


def _tenant_invalid(state: RightsState, body: Body) -> bool:
    return state.layout is not None and state.layout.partitions % body["partitions"] != 0


def _tenant_fixed(state: RightsState, body: Body) -> bool:
    tenant = state.tenants.find(body["tenant_id"])
    return tenant is not None and (tenant.topic, tenant.partitions) != (
        body["topic"],
        body["partitions"],
    )


def _tenant_unknown(state: RightsState, body: Body) -> bool:
    return state.open_tenant(body["tenant_id"]) is None


def _crid_narrows(state: RightsState, body: Body) -> bool:
    """Fewer MIDs for its grants, or more MIDs for its revocations."""
    crid = body["crid"]
    present = state.crids.find(crid)
    before = set(present.mids if present is not None else ())
    after = set(body["mids"])
    revoked = any(one.crid == crid for one in state.revocations.values())
    return not before <= after or (revoked and not after <= before)


def _token_fixed(state: RightsState, body: Body) -> bool:
    token = state.tokens.find(body["merchant_token_id"])
    return token is not None and token.tenant_id != body["tenant_id"]


def _correction_fixed(state: RightsState, body: Body) -> bool:
    present = state.corrections.find(body["correction_id"])
    return present is not None and present.grant_id != body["grant_id"]


def _agreement_fixed(state: RightsState, body: Body) -> bool:
    agreement = state.agreements.find(body["agreement_id"])
    return agreement is not None and agreement.tenant_id != body["tenant_id"]


def _agreement_narrows(state: RightsState, body: Body) -> bool:
    present = state.agreements.find(body["agreement_id"])
    return present is not None and not _agreement_extends(present, body)


def _agreement_extends(present: Agreement, body: Body) -> bool:
    same = (
        present.tenant_id == body["tenant_id"]
        and present.crid == body["crid"]
        and present.payment_account == body["payment_account"]
        and present.fee_model == body["fee_model"]
    )
    all_mids = not body["mids"] or (bool(present.mids) and present.mids <= set(body["mids"]))
    return (
        same
        and all_mids
        and _status_holds(present.status, body["status"])
        and present.effective_from >= body["effective_from"]
        and _end_holds(present.effective_to, body["effective_to"])
    )


def _status_holds(before: str, after: str) -> bool:
    return before == after or after == "ACTIVE"


def _end_holds(before: int | None, after: int | None) -> bool:
    return after is None or (before is not None and after >= before)


def _start_holds(before: int | None, after: int | None) -> bool:
    return after is None or (before is not None and after <= before)


def grant_narrows(present: Grant | None, grant: Grant) -> bool:
    """Whether a grant takes away anything that the present record of its id gives."""
    if present is None:
        return False
    return not (
        grant.grantor_crid == present.grantor_crid
        and grant.agreement_id == present.agreement_id
        and (grant.restricted or not present.restricted)
        and grant.channel_mask & present.channel_mask == present.channel_mask
        and _status_holds(present.status, grant.status)
        and grant.effective_from <= present.effective_from
        and _end_holds(present.effective_to, grant.effective_to)
        and _start_holds(present.data_from, grant.data_from)
        and _end_holds(present.data_to, grant.data_to)
    )


RULES: Mapping[str, Rule] = {
    "LAYOUT": Rule(_never),
    "TENANT": Rule(
        narrows=lambda state, body: body["tenant_id"] in state.tenants,
        invalid=_tenant_invalid,
        terminal=lambda state, body: state.tenant_ended(body["tenant_id"]),
        unknown_reference=lambda state, body: state.layout is None,
        fixed=_tenant_fixed,
    ),
    "TENANT_END": Rule(_always),
    "TERMS": Rule(
        narrows=lambda state, body: not body["accepted"], unknown_reference=_tenant_unknown
    ),
    "CRID": Rule(narrows=_crid_narrows),
    "AGREEMENT": Rule(
        narrows=_agreement_narrows, unknown_reference=_tenant_unknown, fixed=_agreement_fixed
    ),
    "AGREEMENT_SUSPEND": Rule(_always),
    "AGREEMENT_RESUME": Rule(
        _never,
        unknown_reference=lambda state, body: body["agreement_id"] not in state.agreements,
    ),
    "GRANT_END": Rule(_always),
    "GRANT_CONFIRM": Rule(
        _never,
        terminal=lambda state, body: state.grant_ended(body["grant_id"]),
        unknown_reference=lambda state, body: body["grant_id"] not in state.grants,
    ),
    "GRANT_CORRECTION": Rule(
        _never,
        unknown_reference=lambda state, body: body["grant_id"] not in state.grants,
        fixed=_correction_fixed,
    ),
    "MERCHANT_TOKEN": Rule(
        _never,
        terminal=lambda state, body: state.token_ended(body["merchant_token_id"]),
        unknown_reference=_tenant_unknown,
        fixed=_token_fixed,
    ),
    "MERCHANT_TOKEN_END": Rule(_always),
    "REVOCATION": Rule(_always),
    "REVOCATION_LIFT": Rule(
        _never,
        unknown_reference=lambda state, body: revocation_subject(body) not in state.revocations,
    ),
    "RULE_SET": Rule(
        _always,
        fixed=lambda state, body: (
            body["rule_set_id"]
            in {
                USPS_RULES.rule_set_id,
                *(one.rule_set_id for one in state.rule_sets),
            }
        ),
    ),
    "DELIVERER": Rule(
        _never,
        layout=lambda state, body: (
            state.layout is None
            or (state.layout.app_id, state.layout.lanes, state.layout.partitions)
            != (body["app_id"], body["lanes"], body["partitions"])
        ),
    ),
}
"""Kind -> rule; LOG_START, IMPORT_CLOSE, HEARTBEAT and GRANT are judged elsewhere."""


def judge(state: RightsState, change: Change) -> str:
    """The verdict on a change of a kind in `RULES`."""
    body, rule, spec = change.body, RULES[change.kind], KINDS[change.kind]
    if change.subject != spec.subject(body):
        return SUBJECT
    if body_problems(change.kind, body) or rule.invalid(state, body):
        return INVALID
    if rule.terminal(state, body):
        return TERMINAL
    if spec.needs_base and not _base_holds(state, change):
        return BASE
    if rule.unknown_reference(state, body):
        return UNKNOWN_REFERENCE
    if rule.layout(state, body):
        return LAYOUT
    return FIXED if rule.fixed(state, body) else ACCEPTED


def _base_holds(state: RightsState, change: Change) -> bool:
    if change.kind == "LAYOUT" and change.base != NEVER_CHANGED:
        return False
    return change.base == state.offset_of(change.subject)


def grant_fault(change: Change) -> str:
    """What voids a grant whatever the rights are: a subject or a structure; else empty."""
    if change.subject != f"grant/{change.body['grant_id']}":
        return SUBJECT
    return "" if grant_is_sound(change.body) else INVALID


def judge_grant(state: RightsState, grant: Grant, base: int, present: Grant | None) -> str:
    """The verdict on a grant without fault; `present` is the record of its id in force."""
    if present is not None:
        if present.ended:
            return TERMINAL
        changed_at = present.changed_at
    else:
        subject = f"grant/{grant.grant_id}"
        if subject in state.terminal:
            return TERMINAL
        changed_at = state.offsets.get(subject, NEVER_CHANGED)
    if base != changed_at:
        return BASE
    if not _grant_refers(state, grant):
        return UNKNOWN_REFERENCE
    if present is not None and _grant_moved(present, grant):
        return FIXED
    return ACCEPTED


def _grant_refers(state: RightsState, grant: Grant) -> bool:
    """Whether all that it refers to is there."""
    tenant = state.tenants.find(grant.tenant_id)
    if tenant is None or tenant.closed:
        return False
    if grant.crid and grant.crid not in state.crids:
        return False
    if grant.agreement_id:
        agreement = state.agreements.find(grant.agreement_id)
        return agreement is not None and agreement.tenant_id == grant.tenant_id
    if grant.merchant_token_id:
        token = state.tokens.find(grant.merchant_token_id)
        return token is not None and not token.ended and token.tenant_id == grant.tenant_id
    return True


def _grant_moved(present: Grant, grant: Grant) -> bool:
    return (
        present.tenant_id != grant.tenant_id
        or present.scope != grant.scope
        or present.mid != grant.mid
        or present.crid != grant.crid
        or present.basis != grant.basis
        or present.merchant_token_id != grant.merchant_token_id
    )
