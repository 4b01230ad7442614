"""Who is entitled: each reason of the page, and which grant is named."""

from typing import Any

import pytest

from auditor.entitlement import NUMBER, Candidates, Entitlement, entitled
from auditor.structure import Tables
from schemas.reasons import Reason
from tests.unit.auditor.world import OWNED_MID, agreement, grant, tenant

NOW = 1000


def tables(*grants: dict[str, Any], terms: bool = True) -> Tables:
    """Shipper acme, platform plat, auditor aud with agreement a; these grants."""
    made = Tables()
    for tenant_id, party in (("acme", "SHIPPER"), ("plat", "PLATFORM"), ("aud", "AUDITOR")):
        made.tenants[tenant_id] = tenant(tenant_id, party)
        made.terms[tenant_id] = terms
    made.agreements["a"] = agreement("a", "aud")
    for body in grants:
        made.grants[body["grant_id"]] = body
    return made


def ask(made: Tables, channel: str = "SEE", mid: str = OWNED_MID, now: int = NOW) -> Entitlement:
    """The answer on these tables."""
    candidates = Candidates()
    candidates.refresh(made)
    return entitled(candidates, mid, channel, now)


IP = {"basis": "IP_AGREEMENT", "agreement_id": "a"}


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        (Reason.ALLOWED, grant("g", "acme")),
        (Reason.ALLOWED, grant("g", "acme", effective_from=NOW, effective_to=NOW + 1)),
        (Reason.ALLOWED, grant("g", "plat", basis="MID_AUTHORIZATION")),
        (Reason.ALLOWED, grant("g", "aud", **IP)),
        (Reason.BASIS_NOT_FOR_PARTY, grant("g", "acme", basis="MID_AUTHORIZATION")),
        (Reason.BASIS_NOT_FOR_PARTY, grant("g", "plat")),
        (Reason.CHANNEL_NOT_GRANTED, grant("g", "acme", channels=["API"])),
        (Reason.BASIS_NOT_FOR_CHANNEL, grant("g", "plat", basis="MERCHANT_TOKEN")),
        (Reason.GRANT_PENDING, grant("g", "acme", status="PENDING", effective_from=NOW + 1)),
        (Reason.GRANT_NOT_YET, grant("g", "acme", effective_from=NOW + 1)),
        (Reason.GRANT_EXPIRED, grant("g", "acme", effective_to=NOW)),
        (Reason.DATA_WINDOW, grant("g", "acme", data_from=0)),
        (Reason.DATA_WINDOW, grant("g", "acme", data_to=NOW * 2)),
    ],
)
def test_reason_of_one_grant(reason: Reason, body: dict[str, Any]) -> None:
    """The first reason that fits."""
    answer = ask(tables(body))
    assert answer.reason is reason
    if reason is Reason.ALLOWED:
        assert answer.allowed == {body["tenant_id"]: "g"}
    else:
        assert answer.denied == {body["tenant_id"]: reason}


def test_a_merchant_token_cannot_be_proved_yet() -> None:
    """On the channels it would carry."""
    body = grant("g", "plat", basis="MERCHANT_TOKEN")
    assert ask(tables(body), "API").reason is Reason.MERCHANT_TOKEN_MISSING


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        (Reason.AGREEMENT_PENDING, {"status": "PENDING"}),
        (Reason.AGREEMENT_NOT_YET, {"effective_from": NOW + 1}),
        (Reason.AGREEMENT_EXPIRED, {"effective_to": NOW}),
        (Reason.AGREEMENT_MID_NOT_LISTED, {"mids": ["123456"]}),
        (Reason.ALLOWED, {"mids": ["123456", OWNED_MID]}),
    ],
)
def test_reason_of_the_agreement(reason: Reason, fields: dict[str, Any]) -> None:
    """An agreement that does not carry the grant."""
    made = tables(grant("g", "aud", **IP))
    made.agreements["a"] = agreement("a", "aud", **fields)
    assert ask(made).reason is reason


def test_suspension_closing_revocation_and_terms() -> None:
    """States that are no field of the grant."""
    made = tables(grant("g", "aud", **IP))
    made.suspended.add("a")
    assert ask(made).reason is Reason.AGREEMENT_SUSPENDED
    assert ask(tables(grant("g", "acme"), terms=False)).reason is Reason.TERMS_NOT_ACCEPTED
    made = tables(grant("g", "acme"))
    made.ended.add("g")
    assert ask(made).reason is Reason.GRANT_REVOKED
    made.closed.add("acme")
    assert ask(made).reason is Reason.TENANT_CLOSED


def test_a_crid_reaches_the_mids_it_holds_now() -> None:
    """And no others, whatever it held before."""
    made = tables(grant("g", "acme", scope="CRID", mid="", crid="C1"))
    made.crids["C1"] = [OWNED_MID]
    assert ask(made).allowed == {"acme": "g"}
    made.crids["C1"] = ["123456"]
    assert ask(made).reason is Reason.NO_GRANT
    assert ask(made, mid="123456").allowed == {"acme": "g"}


def test_the_first_grant_by_basis_then_id_is_named() -> None:
    """Ids compare as text."""
    made = tables(grant("b", "acme"), grant("a10", "acme"), grant("a9", "acme"))
    assert ask(made).allowed == {"acme": "a10"}


def test_a_tenant_is_denied_with_its_highest_reason_and_the_event_with_the_highest_of_all() -> None:
    """The denial that came furthest."""
    made = tables(
        grant("g1", "acme", effective_to=NOW),
        grant("g2", "acme", channels=["API"]),
        grant("g3", "plat"),
    )
    answer = ask(made)
    assert answer.denied == {"acme": Reason.GRANT_EXPIRED, "plat": Reason.BASIS_NOT_FOR_PARTY}
    assert answer.reason is Reason.GRANT_EXPIRED
    made.grants["g4"] = grant("g4", "plat", basis="MID_AUTHORIZATION")
    assert ask(made).denied == {"acme": Reason.GRANT_EXPIRED}


def test_every_reason_has_its_number() -> None:
    """The order of the closed vocabulary is the page's order."""
    names = [reason for reason in Reason if not reason.startswith("label_")]
    assert [NUMBER[reason] for reason in names] == list(range(18))


def test_candidates_follow_the_tables() -> None:
    """New grants are found after a refresh; known ones are looked up anew."""
    made = tables(grant("g", "acme"))
    candidates = Candidates()
    candidates.refresh(made)
    made.grants["h"] = grant("h", "plat", basis="MID_AUTHORIZATION")
    made.grants["g"] = grant("g", "acme", effective_to=1)
    candidates.refresh(made)
    answer = entitled(candidates, OWNED_MID, "SEE", NOW)
    assert answer.allowed == {"plat": "h"}
    assert answer.denied == {"acme": Reason.GRANT_EXPIRED}
