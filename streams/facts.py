"""[core] What the rights consist of: one small immutable record for each thing in force.

Instants are milliseconds, UTC; `None` is an open end. `changed_at` is the offset of the change that
made the record what it is. A change never alters a record, it puts another in its place, so records
are shared between the rights and their snapshots.
"""

from dataclasses import dataclass
from sys import intern
from typing import NamedTuple

from streams.changes import Body

CHANNELS = ("UNKNOWN", "API", "WEBHOOK", "SEE")
"""Symbols of a channel in the order of the schema: index n is bit n of a grant's mask."""

BIT_OF_CHANNEL = {channel: 1 << index for index, channel in enumerate(CHANNELS)}
BIT_OF_SIDE = {"GRANTOR": 1, "TENANT": 2}
BOTH_SIDES = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """How deliverers share the raw partitions."""

    app_id: str
    lanes: int
    partitions: int
    changed_at: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; a closed one stays closed."""

    tenant_id: str
    name: str
    party_type: str
    crid: str
    topic: str
    partitions: int
    closed: bool
    changed_at: int


@dataclass(frozen=True, slots=True)
class Terms:
    """The last word of a tenant on the USPS terms."""

    tenant_id: str
    terms_version: str
    accepted: bool
    changed_at: int


@dataclass(frozen=True, slots=True)
class Crid:
    """All MIDs of a CRID."""

    crid: str
    mids: tuple[str, ...]
    changed_at: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """An IP agreement; no MIDs means all."""

    agreement_id: str
    tenant_id: str
    crid: str
    payment_account: str
    fee_model: str
    mids: frozenset[str]
    status: str
    effective_from: int
    effective_to: int | None
    suspended: bool
    changed_at: int


class Grant(NamedTuple):
    """A grant; an ended one stays ended. `actor` and `reason` are those of its last change.

    `status` is ACTIVE once both sides have confirmed; `confirmed` is the mask of those that have
    (`BIT_OF_SIDE`) since the grant itself was last written.

    A named tuple, as there are a million of them: made in a third of a frozen dataclass's time.
    """

    grant_id: str
    tenant_id: str
    grantor_crid: str
    scope: str
    mid: str
    crid: str
    channel_mask: int
    basis: str
    agreement_id: str
    merchant_token_id: str
    status: str
    confirmed: int
    effective_from: int
    effective_to: int | None
    data_from: int | None
    data_to: int | None
    restricted: bool
    ended: bool
    changed_at: int
    actor: str
    reason: str

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels it covers."""
        return tuple(name for name, bit in BIT_OF_CHANNEL.items() if self.channel_mask & bit)

    @property
    def confirmed_by(self) -> tuple[str, ...]:
        """The sides that have confirmed."""
        return tuple(side for side, bit in BIT_OF_SIDE.items() if self.confirmed & bit)


@dataclass(frozen=True, slots=True)
class MerchantToken:
    """A merchant's access token at a platform; an ended one stays ended."""

    merchant_token_id: str
    tenant_id: str
    merchant: str
    ended: bool
    changed_at: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """All rights of a tenant to a MID, or to what a CRID holds, taken until it is lifted."""

    tenant_id: str
    mid: str
    crid: str
    changed_at: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Correction:
    """A finding about a grant's past; no right depends on it. `wrong_to` is exclusive.

    `finding`: SHOULD_NOT_HAVE_COUNTED or SHOULD_HAVE_COUNTED. True from `wrong_from`, known from
    `known_at`, written down at offset `changed_at`.
    """

    correction_id: str
    grant_id: str
    finding: str
    wrong_from: int
    wrong_to: int | None
    known_at: int
    withdrawn: bool
    changed_at: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deliverer:
    """The last registration under a transactional id: one start of a deliverer."""

    nonce: str
    transactional_id: str
    producer_id: int
    producer_epoch: int
    kind: str
    app_id: str
    lane: int
    lanes: int
    partitions: int
    ack_group: str
    ack_topic: str
    ack_partition: int
    build: str
    changed_at: int


def tenant_of(body: Body, offset: int) -> Tenant:
    """A tenant from the body of a TENANT change."""
    return Tenant(
        body["tenant_id"],
        body["name"],
        body["party_type"],
        body["crid"],
        body["topic"],
        body["partitions"],
        False,
        offset,
    )


def agreement_of(body: Body, suspended: bool, offset: int) -> Agreement:
    """An agreement from the body of an AGREEMENT change."""
    return Agreement(
        body["agreement_id"],
        body["tenant_id"],
        body["crid"],
        body["payment_account"],
        body["fee_model"],
        frozenset(body["mids"]),
        body["status"],
        body["effective_from"],
        body["effective_to"],
        suspended,
        offset,
    )


def grant_of(body: Body, actor: str, reason: str, offset: int) -> Grant:
    """A grant from the body of a GRANT change; what many grants share is held once."""
    mask = 0
    for channel in body["channels"]:
        mask |= BIT_OF_CHANNEL[channel]
    return Grant(
        body["grant_id"],
        intern(body["tenant_id"]),
        intern(body["grantor_crid"]),
        body["scope"],
        body["mid"],
        intern(body["crid"]),
        mask,
        body["basis"],
        intern(body["agreement_id"]),
        intern(body["merchant_token_id"]),
        body["status"],
        0,
        body["effective_from"],
        body["effective_to"],
        body["data_from"],
        body["data_to"],
        body["restricted"],
        False,
        offset,
        intern(actor),
        intern(reason),
    )


_CHANGED_AT = Grant._fields.index("changed_at")
_new = tuple.__new__


def at_offset(grant: Grant, offset: int) -> Grant:
    """The same grant, changed at `offset`. (`_replace` takes five times as long.)"""
    place = _CHANGED_AT
    return _new(Grant, (*grant[:place], offset, *grant[place + 1 :]))
