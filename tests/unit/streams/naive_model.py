"""Who may have an event, told from the whole history of changes, for clarity alone.

No tables in force, no indexes, no plans: each question is answered by looking through every change
that was ever accepted, in the order of the log. Slow, and short enough to be checked against
docs/rules.md line by line.
"""

from dataclasses import dataclass
from typing import Any

from schemas.reasons import Billing, Reason
from streams.label_facts import LabelEntry

Change = tuple[str, dict[str, Any]]
HOUR = 3_600_000
METERED_SINCE = 1_775_001_600_000
MERCHANTS = ["PLATFORM", "LABEL_PROVIDER", "CONSOLIDATOR"]
THAT_PAY = ["AUDITOR", "SOFTWARE_VENDOR", "TRACKING_ANALYTICS_VENDOR", "PUBLIC_TRACKING_WEBSITE"]
THAT_PAY += ["CONSUMER_BUSINESS"]
ALL_CHANNELS = ["API", "WEBHOOK", "SEE"]


@dataclass(frozen=True)
class Asked:
    """One event and the instant at which it is decided."""

    mid: str
    channel: str
    now: int
    time: int
    utc: bool
    label: LabelEntry | None


@dataclass(frozen=True)
class Answer:
    """What one tenant gets; `grant_id` is told only for what is allowed."""

    reason: Reason
    grant_id: str = ""
    restricted: bool = False
    billing: Billing | None = None


def answers(history: list[Change], asked: Asked) -> dict[str, Answer]:
    """An answer for each tenant that has, or had, a grant for the MID."""
    found: dict[str, list[tuple[dict[str, Any], Reason]]] = {}
    for grant_id in dict.fromkeys(body["grant_id"] for body in bodies(history, "GRANT")):
        grant = last(history, "GRANT", grant_id=grant_id)
        if reaches(history, grant, asked.mid):
            why = reason(history, grant, asked)
            found.setdefault(grant["tenant_id"], []).append((grant, why))
    return {tenant: best(history, judged, asked) for tenant, judged in found.items()}


def bodies(history: list[Change], *kinds: str) -> list[dict[str, Any]]:
    return [body for kind, body in history if kind in kinds]


def last(history: list[Change], kind: str, **of: str) -> Any:
    """The last change of a kind about something; None if there is none."""
    about = [
        body
        for body in bodies(history, kind)
        if all(body[name] == value for name, value in of.items())
    ]
    return about[-1] if about else None


def mids_of(history: list[Change], crid: str) -> list[str]:
    present = last(history, "CRID", crid=crid)
    return present["mids"] if present else []


def reaches(history: list[Change], scope: dict[str, Any], mid: str) -> bool:
    """Whether a grant's (or a revocation's) scope holds the MID now."""
    if scope["scope"] == "MID":
        return bool(scope["mid"] == mid)
    return mid in mids_of(history, scope["crid"])


def reason(history: list[Change], grant: dict[str, Any], asked: Asked) -> Reason:
    """Why a grant gives no right to the event, or that it does."""
    tenant_id, basis = grant["tenant_id"], grant["basis"]
    if last(history, "TENANT_END", tenant_id=tenant_id):
        return Reason.TENANT_CLOSED
    if is_revoked(history, tenant_id, asked.mid):
        return Reason.RIGHT_REVOKED
    if last(history, "GRANT_END", grant_id=grant["grant_id"]):
        return Reason.GRANT_REVOKED
    rule = rule_of(history, grant, asked.now)
    if rule is None:
        return Reason.BASIS_NOT_FOR_PARTY
    if asked.channel not in grant["channels"]:
        return Reason.CHANNEL_NOT_GRANTED
    if asked.channel not in rule["channels"]:
        return Reason.BASIS_NOT_FOR_CHANNEL
    if is_pending(history, grant):
        return Reason.GRANT_PENDING
    if asked.now < grant["effective_from"]:
        return Reason.GRANT_NOT_YET
    if grant["effective_to"] is not None and asked.now >= grant["effective_to"]:
        return Reason.GRANT_EXPIRED
    if basis == "OWNER":
        terms = last(history, "TERMS", tenant_id=tenant_id)
        if not terms or not terms["accepted"]:
            return Reason.TERMS_NOT_ACCEPTED
    if basis == "IP_AGREEMENT":
        why = agreement_reason(history, grant["agreement_id"], asked)
        if why is not Reason.ALLOWED:
            return why
    token = grant["merchant_token_id"]
    if token and last(history, "MERCHANT_TOKEN_END", merchant_token_id=token):
        return Reason.MERCHANT_TOKEN_ENDED
    if not surely_inside(grant, asked):
        return Reason.DATA_WINDOW
    if basis == "MERCHANT_TOKEN":
        label = asked.label
        if not token or label is None:
            return Reason.MERCHANT_TOKEN_MISSING
        proof = (label.mid, label.generated_by, label.merchant_token_id)
        if proof != (asked.mid, tenant_id, token):
            return Reason.LABEL_NOT_GENERATED
    return Reason.ALLOWED


def is_revoked(history: list[Change], tenant_id: str, mid: str) -> bool:
    """Whether any scope that holds the MID was revoked for the tenant, and not lifted since."""
    standing: list[dict[str, Any]] = []
    for kind, body in history:
        if kind == "REVOCATION":
            standing.append(body)
        if kind == "REVOCATION_LIFT":
            standing = [one for one in standing if one != body]
    return any(one["tenant_id"] == tenant_id and reaches(history, one, mid) for one in standing)


def is_pending(history: list[Change], grant: dict[str, Any]) -> bool:
    """Whether a side has not confirmed since the grant was last written as PENDING."""
    if grant["status"] == "ACTIVE":
        return False
    sides: set[str] = set()
    for kind, body in history:
        if kind == "GRANT" and body["grant_id"] == grant["grant_id"]:
            sides = set()
        if kind == "GRANT_CONFIRM" and body["grant_id"] == grant["grant_id"]:
            sides.add(body["side"])
    return sides != {"GRANTOR", "TENANT"}


def agreement_reason(history: list[Change], agreement_id: str, asked: Asked) -> Reason:
    agreement = last(history, "AGREEMENT", agreement_id=agreement_id)
    if agreement["status"] != "ACTIVE":
        return Reason.AGREEMENT_PENDING
    said = [
        kind
        for kind, body in known_agreements(history)
        if kind != "AGREEMENT" and body["agreement_id"] == agreement_id
    ]
    if said and said[-1] == "AGREEMENT_SUSPEND":
        return Reason.AGREEMENT_SUSPENDED
    if asked.now < agreement["effective_from"]:
        return Reason.AGREEMENT_NOT_YET
    if agreement["effective_to"] is not None and asked.now >= agreement["effective_to"]:
        return Reason.AGREEMENT_EXPIRED
    if agreement["mids"] and asked.mid not in agreement["mids"]:
        return Reason.AGREEMENT_MID_NOT_LISTED
    return Reason.ALLOWED


def known_agreements(history: list[Change]) -> list[Change]:
    """Changes of agreements; a suspension of one that was not known suspends nothing."""
    known: set[str] = set()
    found = []
    for kind, body in history:
        if kind == "AGREEMENT":
            known.add(body["agreement_id"])
        if kind.startswith("AGREEMENT") and body["agreement_id"] in known:
            found.append((kind, body))
    return found


def surely_inside(grant: dict[str, Any], asked: Asked) -> bool:
    """Whether the event is in the data window in every zone that its time may be of."""
    hours = [0] if asked.utc else range(-12, 15)
    possible = [asked.time - zone * HOUR for zone in hours]
    after_start = grant["data_from"] is None or min(possible) >= grant["data_from"]
    before_end = grant["data_to"] is None or max(possible) < grant["data_to"]
    return after_start and before_end


def rules(history: list[Change], now: int) -> dict[str, Any]:
    """The rules in force: the latest effective ones, of two of the same instant the last."""
    effective = [body for body in bodies(history, "RULE_SET") if body["effective_from"] <= now]
    if not effective:
        return {"metered_from": METERED_SINCE, "rows": usps_rows()}
    latest = max(body["effective_from"] for body in effective)
    return [body for body in effective if body["effective_from"] == latest][-1]


def rule_of(history: list[Change], grant: dict[str, Any], now: int) -> Any:
    """The row of the tenant's party type and the grant's basis; None if there is none."""
    party = last(history, "TENANT", tenant_id=grant["tenant_id"])["party_type"]
    for row in rules(history, now)["rows"]:
        if (row["party_type"], row["basis"]) == (party, grant["basis"]):
            return row
    return None


def usps_rows() -> list[dict[str, Any]]:
    def row(party: str, basis: str, channels: list[str], restricted: bool, metering: str) -> Any:
        return {
            "party_type": party,
            "basis": basis,
            "channels": channels,
            "restricted": restricted,
            "metering": metering,
        }

    return [
        row("SHIPPER", "OWNER", ALL_CHANNELS, True, "NO_COST_PARTY"),
        *(row(p, "MERCHANT_TOKEN", ["API", "WEBHOOK"], True, "NO_COST_PARTY") for p in MERCHANTS),
        *(row(p, "MID_AUTHORIZATION", ["SEE"], True, "NO_COST_PARTY") for p in MERCHANTS),
        row("SERVICE_PROVIDER", "IP_AGREEMENT", ALL_CHANNELS, False, "NO_COST_PARTY"),
        *(row(party, "IP_AGREEMENT", ALL_CHANNELS, False, "METERED") for party in THAT_PAY),
    ]


def best(
    history: list[Change], judged: list[tuple[dict[str, Any], Reason]], asked: Asked
) -> Answer:
    """What a tenant gets under all of its grants together."""
    allowed = [grant for grant, why in judged if why is Reason.ALLOWED]
    if not allowed:
        order = list(Reason)
        return Answer(max((why for _, why in judged), key=order.index))
    bases = ["OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT"]

    def carries(grant: dict[str, Any]) -> bool:
        return grant["restricted"] and rule_of(history, grant, asked.now)["restricted"]

    named = min(
        allowed,
        key=lambda grant: (not carries(grant), bases.index(grant["basis"]), grant["grant_id"]),
    )
    billing = billed(history, named, asked.now)
    return Answer(Reason.ALLOWED, named["grant_id"], carries(named), billing)


def billed(history: list[Change], grant: dict[str, Any], now: int) -> Billing:
    if rule_of(history, grant, now)["metering"] == "NO_COST_PARTY":
        return Billing.NO_COST_PARTY
    if now < rules(history, now)["metered_from"]:
        return Billing.BEFORE_METERING
    return Billing.BILLABLE if grant["agreement_id"] else Billing.NO_AGREEMENT
