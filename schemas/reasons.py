"""The closed vocabulary of decisions: one code for record field, metric label, log field and CLI.

Order matters: a later denial is "further along" (docs/authorization-log.md), and the highest one
of all candidates is what an event or a tenant is denied with.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a grant does, or does not, give a right to an event; in the order they are checked."""

    NO_GRANT = "no_grant"
    TENANT_CLOSED = "tenant_closed"
    RIGHT_REVOKED = "right_revoked"
    GRANT_REVOKED = "grant_revoked"
    BASIS_NOT_FOR_PARTY = "basis_not_for_party"
    CHANNEL_NOT_GRANTED = "channel_not_granted"
    BASIS_NOT_FOR_CHANNEL = "basis_not_for_channel"
    GRANT_PENDING = "grant_pending"
    GRANT_NOT_YET = "grant_not_yet"
    GRANT_EXPIRED = "grant_expired"
    TERMS_NOT_ACCEPTED = "terms_not_accepted"
    AGREEMENT_PENDING = "agreement_pending"
    AGREEMENT_SUSPENDED = "agreement_suspended"
    AGREEMENT_NOT_YET = "agreement_not_yet"
    AGREEMENT_EXPIRED = "agreement_expired"
    AGREEMENT_MID_NOT_LISTED = "agreement_mid_not_listed"
    MERCHANT_TOKEN_ENDED = "merchant_token_ended"  # noqa: S105  (a reason, no secret)
    DATA_WINDOW = "data_window"
    MERCHANT_TOKEN_MISSING = "merchant_token_missing"  # noqa: S105
    LABEL_NOT_GENERATED = "label_not_generated"
    ALLOWED = "allowed"
    LABEL_NEEDED = "label_needed"
    LABEL_AMBIGUOUS = "label_ambiguous"


class Billing(StrEnum):
    """Whether an allowed event is billed to the tenant, and if not why."""

    BILLABLE = "billable"
    NO_COST_PARTY = "no_cost_party"
    BEFORE_METERING = "before_metering"
    NO_AGREEMENT = "no_agreement"


class UnitBilling(StrEnum):
    """Whether a unit of use is billed, and if not why; the first four are the decision's words."""

    BILLABLE = "billable"
    NO_COST_PARTY = "no_cost_party"
    BEFORE_METERING = "before_metering"
    NO_AGREEMENT = "no_agreement"
    NOT_FIRST_EVENT = "not_first_event"
    CALL_FAILED = "call_failed"
    AGREEMENT_NOT_ACTIVE = "agreement_not_active"
    UNREADABLE = "unreadable"


class QuarantineReason(StrEnum):
    """Why a record could not be decided; it stays in quarantine, unchanged, until redriven."""

    UNKNOWN_FRAME = "unknown_frame"
    MALFORMED_RECORD = "malformed_record"
    CHANNEL_UNKNOWN = "channel_unknown"
    CHECK_DIGIT = "check_digit"
    TWO_OWNERS = "two_owners"
    MID_RULE = "mid_rule"
    UNKNOWN_FORM = "unknown_form"
    LINE_UNREADABLE = "line_unreadable"
    LINE_VERSION = "line_version"


class BarcodeVerdict(StrEnum):
    """What the digits alone say about the owner."""

    OWNED = "owned"
    NO_OWNER = "no_owner"
    UNDECIDABLE = "undecidable"
    INVALID = "invalid"
