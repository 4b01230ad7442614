"""[core] What a tenant may hear about a decision: fewer words than an operator sees.

A precise denial discloses that a package exists, and what others registered about it. So a tenant
hears only what follows from rights of its own and from digits that it brought itself; everything
else is one and the same word, also where there is nothing at all. docs/explain.md has the table.
"""

from collections.abc import Mapping
from enum import StrEnum

from schemas.reasons import Reason


class TenantAnswer(StrEnum):
    """The closed vocabulary."""

    ENTITLED = "entitled"
    DELIVERED = "delivered"
    ACCOUNT_CLOSED = "account_closed"
    TERMS_NOT_ACCEPTED = "terms_not_accepted"
    RIGHT_ENDED = "right_ended"
    RIGHT_NOT_IN_FORCE = "right_not_in_force"
    AGREEMENT_NOT_IN_FORCE = "agreement_not_in_force"
    NOTHING_TO_TELL = "nothing_to_tell"


ANSWERS: Mapping[Reason, TenantAnswer] = {
    Reason.ALLOWED: TenantAnswer.ENTITLED,
    Reason.TENANT_CLOSED: TenantAnswer.ACCOUNT_CLOSED,
    Reason.TERMS_NOT_ACCEPTED: TenantAnswer.TERMS_NOT_ACCEPTED,
    Reason.RIGHT_REVOKED: TenantAnswer.RIGHT_ENDED,
    Reason.GRANT_REVOKED: TenantAnswer.RIGHT_ENDED,
    Reason.MERCHANT_TOKEN_ENDED: TenantAnswer.RIGHT_ENDED,
    Reason.GRANT_PENDING: TenantAnswer.RIGHT_NOT_IN_FORCE,
    Reason.GRANT_NOT_YET: TenantAnswer.RIGHT_NOT_IN_FORCE,
    Reason.GRANT_EXPIRED: TenantAnswer.RIGHT_NOT_IN_FORCE,
    Reason.AGREEMENT_PENDING: TenantAnswer.AGREEMENT_NOT_IN_FORCE,
    Reason.AGREEMENT_SUSPENDED: TenantAnswer.AGREEMENT_NOT_IN_FORCE,
    Reason.AGREEMENT_NOT_YET: TenantAnswer.AGREEMENT_NOT_IN_FORCE,
    Reason.AGREEMENT_EXPIRED: TenantAnswer.AGREEMENT_NOT_IN_FORCE,
}
"""Reasons that follow from the tenant's own rights. Every other one: NOTHING_TO_TELL."""

SENTENCES: Mapping[TenantAnswer, str] = {
    TenantAnswer.ENTITLED: "you have a right to events of this number, should there be any",
    TenantAnswer.DELIVERED: "this event was delivered to you",
    TenantAnswer.ACCOUNT_CLOSED: "your account is closed",
    TenantAnswer.TERMS_NOT_ACCEPTED: "you have not accepted the terms in force",
    TenantAnswer.RIGHT_ENDED: "your right to this Mailer ID has ended",
    TenantAnswer.RIGHT_NOT_IN_FORCE: "your right to this Mailer ID is not in force",
    TenantAnswer.AGREEMENT_NOT_IN_FORCE: "the agreement that your right rests on is not in force",
    TenantAnswer.NOTHING_TO_TELL: "you have no right that covers this; whether there is anything"
    " is not said",
}


def answer_for(reason: Reason) -> TenantAnswer:
    """What the tenant hears of the reason that an operator sees."""
    return ANSWERS.get(reason, TenantAnswer.NOTHING_TO_TELL)
