"""Who is entitled: each reason of the page, and which grant is named."""

from typing import Any

import pytest

from auditor.entitlement import NUMBER, Candidates, Entitlement, Label, Scan, entitled
from auditor.structure import Tables
from schemas.reasons import Billing, Reason
from tests.unit.auditor.world import OWNED_MID, agreement, grant, tenant

NOW = 1000
AT_NOW = Scan(NOW, True)


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


def ask(
    made: Tables,
    channel: str = "SEE",
    mid: str = OWNED_MID,
    now: int = NOW,
    scan: Scan = AT_NOW,
) -> Entitlement:
    """The answer on these tables."""
    candidates = Candidates()
    candidates.refresh(made)
    return entitled(candidates, mid, channel, now, scan)


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
        (Reason.ALLOWED, grant("g", "acme", data_from=NOW, data_to=NOW + 1)),
        (Reason.DATA_WINDOW, grant("g", "acme", data_from=NOW + 1)),
        (Reason.DATA_WINDOW, grant("g", "acme", data_to=NOW)),
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


def test_a_merchant_token_counts_only_for_the_label_generated_under_it() -> None:
    """By this tenant, for this MID, under this token, as long as that has not ended."""
    made = tables(grant("g", "plat", basis="MERCHANT_TOKEN", merchant_token_id="T1"))
    good = Label(OWNED_MID, "plat", "T1")

    def reason(label: Label | None) -> Reason:
        return ask(made, "API", scan=Scan(NOW, True, label)).reason

    assert reason(good) is Reason.ALLOWED
    assert reason(None) is Reason.MERCHANT_TOKEN_MISSING
    for other in ("mid", "generated_by", "merchant_token_id"):
        assert reason(good._replace(**{other: "other"})) is Reason.LABEL_NOT_GENERATED
    made.ended_tokens.add("T1")
    assert reason(good) is Reason.MERCHANT_TOKEN_ENDED
    unnamed = tables(grant("g", "plat", basis="MERCHANT_TOKEN"))
    unnamed.ended_tokens.add("")
    answer = ask(unnamed, "API", scan=Scan(NOW, True, Label(OWNED_MID, "plat", "")))
    assert answer.reason is Reason.MERCHANT_TOKEN_MISSING


@pytest.mark.parametrize(
    ("reason", "window"),
    [
        (Reason.ALLOWED, {"data_from": NOW - 14 * 3_600_000}),
        (Reason.DATA_WINDOW, {"data_from": NOW - 14 * 3_600_000 + 1}),
        (Reason.ALLOWED, {"data_to": NOW + 12 * 3_600_000 + 1}),
        (Reason.DATA_WINDOW, {"data_to": NOW + 12 * 3_600_000}),
    ],
)
def test_a_local_time_is_inside_if_it_is_in_every_zone(reason: Reason, window: Any) -> None:
    """From UTC-12 to UTC+14."""
    made = tables(grant("g", "acme", **window))
    assert ask(made, scan=Scan(NOW, False)).reason is reason


def test_a_revocation_wins_over_every_grant_and_a_pending_one_waits_for_both_sides() -> None:
    """By MID, and by a CRID that holds it."""
    made = tables(grant("g", "acme", status="PENDING"), grant("h", "plat"))
    made.crids["C1"] = [OWNED_MID]
    assert ask(made).denied["acme"] is Reason.GRANT_PENDING
    made.confirmed["g"] = frozenset({"TENANT"})
    assert ask(made).denied["acme"] is Reason.GRANT_PENDING
    made.confirmed["g"] = frozenset({"TENANT", "GRANTOR"})
    assert ask(made).allowed == {"acme": "g"}
    for subject in (f"revocation/acme/{OWNED_MID}", "revocation/acme/crid/C1"):
        made.revoked = {subject: {}}
        assert ask(made).denied["acme"] is Reason.RIGHT_REVOKED
        assert ask(made).denied["plat"] is Reason.BASIS_NOT_FOR_PARTY


def test_rules_of_the_log_replace_the_built_in_ones_from_their_instant_on() -> None:
    """Channels, the restricted part, and what is billed."""
    made = tables(grant("g", "acme", restricted=True), grant("a", "aud", **IP))
    before = ask(made, now=NOW)
    assert (before.uncut, before.billing["aud"]) == ({"acme"}, Billing.BEFORE_METERING)
    row = {"party_type": "SHIPPER", "basis": "OWNER", "channels": ["SEE"], "restricted": False}
    rows = [{**row, "metering": "METERED"}]
    made.rule_sets += [{"effective_from": NOW, "metered_from": 0, "rows": rows}]
    after = ask(made, now=NOW)
    assert (after.allowed, after.uncut) == ({"acme": "g"}, frozenset())
    assert after.billing == {"acme": Billing.NO_AGREEMENT}
    assert after.denied == {"aud": Reason.BASIS_NOT_FOR_PARTY}
    assert ask(made, now=NOW - 1).uncut == {"acme"}


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
    withheld = (Reason.LABEL_NEEDED, Reason.LABEL_AMBIGUOUS)
    names = [reason for reason in Reason if reason not in withheld]
    assert [NUMBER[reason] for reason in names] == list(range(21))


def test_candidates_follow_the_tables() -> None:
    """New grants are found after a refresh; known ones are looked up anew."""
    made = tables(grant("g", "acme"))
    candidates = Candidates()
    candidates.refresh(made)
    made.grants["h"] = grant("h", "plat", basis="MID_AUTHORIZATION")
    made.grants["g"] = grant("g", "acme", effective_to=1)
    candidates.refresh(made)
    answer = entitled(candidates, OWNED_MID, "SEE", NOW, Scan(NOW, True))
    assert answer.allowed == {"plat": "h"}
    assert answer.denied == {"acme": Reason.GRANT_EXPIRED}
