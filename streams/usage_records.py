"""[core] The records of metering: facts, units, tallies, positions, and their keys.

A *fact* says what one transaction of the router placed under an agreement; metering makes *units*
of facts, and whoever calls USPS writes units of its own (`call_units`). Formats and rules:
docs/metering.md. Instants are Unix ms, UTC.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct, pack, unpack
from typing import Any, NamedTuple

from schemas.codec import MalformedRecordError, decode, encode
from schemas.reasons import UnitBilling
from streams.record_format import sized, varint

CHANNELS = ("UNKNOWN", "API", "WEBHOOK", "SEE")
"""By index, as a tracking event and a fact name them."""

NO_AGREEMENT_KEY = "-"
EVENT, CALL, TALLY, POSITION = "event", "call", "tally", "position"

# Of a unit: metered at, raw partition, raw offset, channel, billing.
_PLACE = Struct(">qiqBB")
_BILLINGS = tuple(UnitBilling)
_BILLING_INDEX = {billing: index for index, billing in enumerate(_BILLINGS)}

Record = tuple[bytes, bytes, int]
"""Key, value, timestamp of a record of `<prefix>.usage`."""


class FactEvent(NamedTuple):
    """One event of a fact; `channel` is its index in CHANNELS."""

    tracking_number: str
    channel: int
    raw_offset: int


class UsageFact(NamedTuple):
    """What one transaction placed under one agreement from one raw partition.

    `copies` are listed in `events`, or only counted: then there are none.
    """

    agreement_id: str
    tenant_id: str
    billing: UnitBilling
    raw_partition: int
    decided_at: int
    copies: int
    events: tuple[FactEvent, ...]


class FirstEvent(NamedTuple):
    """Of all events of a number under an agreement the least: it is the first. Compares in order.

    `channel` and `billing` are those of the unit that it makes.
    """

    metered_at: int
    raw_partition: int
    raw_offset: int
    channel: int
    billing: UnitBilling

    def packed(self) -> bytes:
        """As the local store keeps it."""
        return _PLACE.pack(*self[:4], _BILLING_INDEX[self.billing])

    @classmethod
    def unpacked(cls, data: bytes) -> "FirstEvent":
        """What `packed` made."""
        at, partition, offset, channel, billing = _PLACE.unpack(data)
        return cls(at, partition, offset, channel, _BILLINGS[billing])


class UsageUnit(NamedTuple):
    """A unit as `<prefix>.usage` holds it, billed or not."""

    agreement_id: str
    tenant_id: str
    kind: str
    billing: UnitBilling
    channel: str
    metered_at: int
    tracking_number: str
    call_id: str
    raw_partition: int
    raw_offset: int


class UsageTally(NamedTuple):
    """Copies of a month that made no unit, as counted from one partition of the facts."""

    agreement_id: str
    month: str
    billing: UnitBilling
    partition: int
    copies: int


class UsagePosition(NamedTuple):
    """Up to where a partition of the topic `facts` is metered; with a nonce, a start's mark."""

    partition: int
    next_fact: int
    facts: str
    decided_at: int
    nonce: str


Usage = UsageUnit | UsageTally | UsagePosition


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m")


def month_of(instant_ms: int) -> str:
    """The month of an instant in UTC, as 2026-04: that of what happened in it."""
    return _month_of_day(instant_ms // 86_400_000)


def usage_key(agreement_id: str, *unit_id: str) -> bytes:
    """Key of a unit or tally. No id of an agreement begins with a dash, or holds a slash."""
    return "/".join((agreement_id or NO_AGREEMENT_KEY, *unit_id)).encode()


def encode_fact(
    fact: UsageFact, numbers: str, channels: Iterable[int], offsets: Sequence[int]
) -> bytes:
    """Value of a record of `<prefix>.metering`, the events given as columns in place of `events`:
    numbers joined by commas, channels, raw offsets.
    """
    return encode(
        "usage_fact",
        {
            "agreement_id": fact.agreement_id,
            "tenant_id": fact.tenant_id,
            "billing": fact.billing.name,
            "raw_partition": fact.raw_partition,
            "decided_at": fact.decided_at,
            "copies": fact.copies,
            "tracking_numbers": numbers,
            "channels": bytes(channels),
            "raw_offsets": pack(f">{len(offsets)}q", *offsets),
        },
    )


def decode_fact(value: bytes | None) -> UsageFact:
    """The fact in a value.

    Raises UnknownFrameError, or MalformedRecordError when it is none.
    """
    name, body = decode(value or b"")
    channels, offsets = body.get("channels", b""), body.get("raw_offsets", b"")
    numbers = body["tracking_numbers"].split(",") if channels else []
    if name != "usage_fact" or not len(numbers) == len(channels) == len(offsets) / 8:
        raise MalformedRecordError(f"{name}: no fact")
    # A list of other events than it counts, or of a channel nobody knows, was not written by us.
    if numbers and (len(numbers) != body["copies"] or not all(0 < c < 4 for c in channels)):
        raise MalformedRecordError("usage_fact: columns")
    places = unpack(f">{len(channels)}q", offsets)
    return UsageFact(
        body["agreement_id"],
        body["tenant_id"],
        _billing(body),
        body["raw_partition"],
        body["decided_at"],
        body["copies"],
        tuple(map(FactEvent, numbers, channels, places)),
    )


def decode_usage(value: bytes) -> Usage:
    """The unit, tally or position in a value of `<prefix>.usage`.

    Raises UnknownFrameError, or MalformedRecordError when it is none.
    """
    name, body = decode(value)
    if name == "usage_unit":
        return UsageUnit(**{**body, "billing": _billing(body)})
    if name == "usage_tally":
        return UsageTally(**{**body, "billing": _billing(body)})
    if name == "usage_position":
        return UsagePosition(**body)
    raise MalformedRecordError(f"{name}: no usage")


def _billing(body: Mapping[str, Any]) -> UnitBilling:
    try:
        return UnitBilling[body["billing"]]
    except KeyError:
        raise MalformedRecordError(f"billing {body.get('billing')}") from None


def unit_record(unit: UsageUnit) -> Record:
    """A unit's record; the same unit is always the same record."""
    ids = (CALL, unit.call_id) if unit.kind == "CALL" else (EVENT,)
    key = usage_key(unit.agreement_id, *ids, unit.tracking_number)
    # Avro's numbers and lengths are the varints of Kafka's records.
    value = b"".join(
        (
            _head(unit[:6]),
            sized(unit.tracking_number.encode()),
            sized(unit.call_id.encode()),
            varint(unit.raw_partition),
            varint(unit.raw_offset),
        )
    )
    return key, value, unit.metered_at


@lru_cache(maxsize=4096)
def _head(first: tuple[str, str, str, UnitBilling, str, int]) -> bytes:
    """All of a unit's value before its number: the same for all units that a fact makes.

    A unit is written for each first event; encoding each by itself took seven times as long.
    """
    empty = UsageUnit(*first, "", "", 0, 0)
    value = encode("usage_unit", {**empty._asdict(), "billing": empty.billing.name})
    return value[: -len(b"\0\0\0\0")]


def tally_key(agreement_id: str, month: str, billing: UnitBilling, partition: int) -> bytes:
    """Key of a tally."""
    return usage_key(agreement_id, TALLY, month, billing.value, str(partition))


def tally_record(tally: UsageTally, now_ms: int) -> Record:
    """A tally's record."""
    key = tally_key(tally.agreement_id, tally.month, tally.billing, tally.partition)
    return key, encode("usage_tally", {**tally._asdict(), "billing": tally.billing.name}), now_ms


def position_record(position: UsagePosition, now_ms: int) -> Record:
    """A position's record; marks of starts have a key of their own."""
    kind = "start" if position.nonce else POSITION
    key = usage_key("", kind, str(position.partition))
    return key, encode("usage_position", position._asdict()), now_ms


def call_units(
    call_id: str,
    called_at_ms: int,
    succeeded: bool,
    packages: Iterable[str],
    *,
    agreement_id: str,
    tenant_id: str,
    not_billed: UnitBilling | None = None,
) -> list[Record]:
    """The units of one call that Midgate made to USPS: one for each package asked for.

    `call_id` names the call for good: a repeat with the same id replaces its units, and makes no
    second one. `not_billed`: why the tenant is not billed for calls at all (`no_cost_party`,
    `before_metering`, `no_agreement`, `agreement_not_active`); a failed call is CALL_FAILED
    unless that says otherwise. They are produced as they are, to the partition that the key gives
    (murmur2, as every client chooses by itself), and a repeat is harmless: docs/metering.md.

    Raises ValueError when `call_id` is empty or holds a slash.
    """
    if not call_id or "/" in call_id:
        raise ValueError(f"{call_id!r} is no id of a call: not empty, without a slash")
    billing = not_billed or (UnitBilling.BILLABLE if succeeded else UnitBilling.CALL_FAILED)
    return [
        unit_record(
            UsageUnit(
                agreement_id,
                tenant_id,
                "CALL",
                billing,
                "API",
                called_at_ms,
                number,
                call_id,
                -1,
                -1,
            )
        )
        for number in dict.fromkeys(packages)
    ]
