"""[core] What is structurally wrong with the body of a change, field by field.

One function for writers, who can say it before they append, and for the acceptance rule, which
voids such a change as `invalid` (docs/authorization-log.md).
"""

import re
from collections.abc import Callable, Iterable

from schemas.mid import is_mid
from streams.changes import Body
from streams.topics import is_tenant_id

# Ids become parts of subjects, headers and metric labels.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
CRID = re.compile(r"[A-Za-z0-9]{1,18}")
TENANT_EXPECTED = "small letters and digits, single dashes between, at most 100"
ID_EXPECTED = "a letter or digit, then letters, digits and . _ : -, at most 100"

Problem = tuple[str, str]
"""Name of a field, and what was expected of it."""


def body_problems(kind: str, body: Body) -> list[Problem]:
    """What is structurally wrong with a body: (field, what was expected); empty when it is right.

    Only what can be said without the rights. A body with a problem is `void:invalid`.
    """
    check = _STRUCTURE.get(kind)
    return [] if check is None else list(check(body))


def grant_is_sound(body: Body) -> bool:
    """True for what has no problem; a fifth of the price of finding them, and grants are many."""
    mid, crid, channels = body["mid"], body["crid"], body["channels"]
    effective_to = body["effective_to"]
    return (
        ID.fullmatch(body["grant_id"]) is not None
        and (is_mid(mid) and not crid if body["scope"] == "MID" else _is_crid(crid) and not mid)
        and 0 < len(channels) == len(set(channels))
        and (effective_to is None or effective_to > body["effective_from"])
        and (body["data_to"] is None or not any(_window_problems(body, "data_from", "data_to")))
        and bool(body["agreement_id"]) == (body["basis"] == "IP_AGREEMENT")
        and (not body["merchant_token_id"] or body["basis"] == "MERCHANT_TOKEN")
    )


def _is_crid(crid: str) -> bool:
    return CRID.fullmatch(crid) is not None


def _layout_problems(body: Body) -> Iterable[Problem]:
    if body["lanes"] < 1:
        yield "lanes", "at least 1"
    if body["partitions"] < 1:
        yield "partitions", "at least 1"
    elif body["lanes"] >= 1 and body["partitions"] % body["lanes"]:
        yield "lanes", "a divisor of partitions"


def _tenant_problems(body: Body) -> Iterable[Problem]:
    if not is_tenant_id(body["tenant_id"]):
        yield "tenant_id", TENANT_EXPECTED
    if body["partitions"] < 1:
        yield "partitions", "at least 1"
    if not body["topic"].endswith(f".tenant.{body['tenant_id']}"):
        yield "topic", "a name that ends in .tenant.<tenant id>"


def _crid_problems(body: Body) -> Iterable[Problem]:
    if not _is_crid(body["crid"]):
        yield "crid", "1 to 18 letters and digits"
    yield from _mids_problems(body["mids"])
    if len(set(body["mids"])) != len(body["mids"]):
        yield "mids", "each MID once"


def _mids_problems(mids: Iterable[str]) -> Iterable[Problem]:
    if not all(map(is_mid, mids)):
        yield "mids", "MIDs: 6 digits starting with 0-8, or 9 starting with 9"


def _agreement_problems(body: Body) -> Iterable[Problem]:
    if not ID.fullmatch(body["agreement_id"]):
        yield "agreement_id", ID_EXPECTED
    yield from _mids_problems(body["mids"])
    yield from _window_problems(body, "effective_from", "effective_to")


def _window_problems(body: Body, start: str, end: str) -> Iterable[Problem]:
    if body[end] is not None and body[start] is not None and body[end] <= body[start]:
        yield end, f"later than {start}"


def _scope_problems(body: Body) -> Iterable[Problem]:
    if body["scope"] == "MID":
        if not is_mid(body["mid"]):
            yield "mid", "6 digits starting with 0-8, or 9 starting with 9"
        if body["crid"]:
            yield "crid", "empty for scope MID"
    else:
        if not _is_crid(body["crid"]):
            yield "crid", "1 to 18 letters and digits"
        if body["mid"]:
            yield "mid", "empty for scope CRID"


def _revocation_problems(body: Body) -> Iterable[Problem]:
    if not is_tenant_id(body["tenant_id"]):
        yield "tenant_id", TENANT_EXPECTED
    yield from _scope_problems(body)


def _grant_problems(body: Body) -> Iterable[Problem]:
    if not ID.fullmatch(body["grant_id"]):
        yield "grant_id", ID_EXPECTED
    yield from _scope_problems(body)
    channels = body["channels"]
    if not channels or len(set(channels)) != len(channels):
        yield "channels", "at least one, each once"
    yield from _window_problems(body, "effective_from", "effective_to")
    yield from _window_problems(body, "data_from", "data_to")
    if body["basis"] == "IP_AGREEMENT":
        if not body["agreement_id"]:
            yield "agreement_id", "the agreement, for basis IP_AGREEMENT"
    elif body["agreement_id"]:
        yield "agreement_id", "empty unless the basis is IP_AGREEMENT"
    # One of basis MERCHANT_TOKEN without a token is sound, as older builds wrote it; it gives
    # nothing.
    if body["merchant_token_id"] and body["basis"] != "MERCHANT_TOKEN":
        yield "merchant_token_id", "empty unless the basis is MERCHANT_TOKEN"


def _token_problems(body: Body) -> Iterable[Problem]:
    if not ID.fullmatch(body["merchant_token_id"]):
        yield "merchant_token_id", ID_EXPECTED


def _correction_problems(body: Body) -> Iterable[Problem]:
    for field in ("correction_id", "grant_id"):
        if not ID.fullmatch(body[field]):
            yield field, ID_EXPECTED
    yield from _window_problems(body, "wrong_from", "wrong_to")
    if body["wrong_from"] >= body["known_at"]:
        yield "wrong_from", "earlier than known_at: a finding is about the past"


def _rule_set_problems(body: Body) -> Iterable[Problem]:
    if not ID.fullmatch(body["rule_set_id"]):
        yield "rule_set_id", ID_EXPECTED
    if not body["rows"]:
        yield "rows", "at least one: rules without rows would give nothing to anybody"
    seen = set()
    for number, row in enumerate(body["rows"], 1):
        pair = (row["party_type"], row["basis"])
        if pair in seen:
            yield f"rows[{number}]", "each party type and basis once"
        seen.add(pair)
        if not row["channels"] or len(set(row["channels"])) != len(row["channels"]):
            yield f"rows[{number}].channels", "at least one, each once"


_STRUCTURE: dict[str, Callable[[Body], Iterable[Problem]]] = {
    "LAYOUT": _layout_problems,
    "TENANT": _tenant_problems,
    "CRID": _crid_problems,
    "AGREEMENT": _agreement_problems,
    "GRANT": _grant_problems,
    "GRANT_CORRECTION": _correction_problems,
    "MERCHANT_TOKEN": _token_problems,
    "RULE_SET": _rule_set_problems,
    "REVOCATION": _revocation_problems,
    "REVOCATION_LIFT": _revocation_problems,
}
