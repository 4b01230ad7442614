"""[core] The rules as data: which basis gives which party type what, and since when.

`USPS_RULES` are the rules of USPS's API Access Control page, in force since 2026-04-01;
docs/rules.md says line by line where each comes from and what is an assumption. They hold until a
RULE_SET in the log becomes effective: a change of the rules is a record, not a change of this
module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.changes import Body
from streams.facts import BIT_OF_CHANNEL

# Before any instant that a record can hold (schemas.strict_avro).
ALWAYS_MS = -(1 << 62)
NEVER_CHANGED = -1

METERED, NO_COST_PARTY = "METERED", "NO_COST_PARTY"


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What a basis gives to a party type: a mask of channels, perhaps the restricted part."""

    party_type: str
    basis: str
    channel_mask: int
    restricted: bool
    metering: str

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(name for name, bit in BIT_OF_CHANNEL.items() if self.channel_mask & bit)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules from `effective_from` on; nothing decided before `metered_from` is billed (ms UTC)."""

    rule_set_id: str
    effective_from: int
    metered_from: int
    source: str
    changed_at: int
    rows: tuple[RuleRow, ...]
    by_pair: Mapping[tuple[str, str], RuleRow] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pairs = {(row.party_type, row.basis): row for row in self.rows}
        object.__setattr__(self, "by_pair", pairs)

    def row(self, party_type: str, basis: str) -> RuleRow | None:
        """The row of a party type and basis; None: the basis gives this party nothing."""
        return self.by_pair.get((party_type, basis))


def rule_set_of(body: Body, offset: int) -> RuleSet:
    """Rules from the body of a RULE_SET change."""
    return RuleSet(
        body["rule_set_id"],
        body["effective_from"],
        body["metered_from"],
        body["source"],
        offset,
        tuple(_row_of(row) for row in body["rows"]),
    )


def body_of(rules: RuleSet) -> Body:
    """The body of a RULE_SET change that says the same."""
    return {
        "rule_set_id": rules.rule_set_id,
        "effective_from": rules.effective_from,
        "metered_from": rules.metered_from,
        "source": rules.source,
        "rows": [
            {
                "party_type": row.party_type,
                "basis": row.basis,
                "channels": list(row.channels),
                "restricted": row.restricted,
                "metering": row.metering,
            }
            for row in rules.rows
        ],
    }


def _row_of(row: Mapping[str, Any]) -> RuleRow:
    mask = 0
    for channel in row["channels"]:
        mask |= BIT_OF_CHANNEL[channel]
    return RuleRow(row["party_type"], row["basis"], mask, row["restricted"], row["metering"])


def rules_at(later: Sequence[RuleSet], now_ms: int) -> RuleSet:
    """The rules in force: of those that are effective, the latest; of equal instants, the last.

    `later` are the accepted ones in the order of the log.
    """
    chosen = USPS_RULES
    for one in later:
        if chosen.effective_from <= one.effective_from <= now_ms:
            chosen = one
    return chosen


def _rows(
    parties: Sequence[str],
    basis: str,
    channels: Sequence[str],
    *,
    restricted: bool = False,
    metering: str = NO_COST_PARTY,
) -> tuple[RuleRow, ...]:
    mask = sum(BIT_OF_CHANNEL[channel] for channel in channels)
    return tuple(RuleRow(party, basis, mask, restricted, metering) for party in parties)


_EVERY_CHANNEL = ("API", "WEBHOOK", "SEE")
_FOR_MERCHANTS = ("PLATFORM", "LABEL_PROVIDER", "CONSOLIDATOR")
_THAT_PAY = (
    "AUDITOR",
    "SOFTWARE_VENDOR",
    "TRACKING_ANALYTICS_VENDOR",
    "PUBLIC_TRACKING_WEBSITE",
    "CONSUMER_BUSINESS",
)

USPS_RULES = RuleSet(
    rule_set_id="usps-2026-04-01",
    effective_from=ALWAYS_MS,
    metered_from=1_775_001_600_000,  # 2026-04-01T00:00:00Z
    source="USPS API Access Control, usps.com/business/api-access.htm, in force since 2026-04-01",
    changed_at=NEVER_CHANGED,
    rows=(
        *_rows(["SHIPPER"], "OWNER", _EVERY_CHANNEL, restricted=True),
        *_rows(_FOR_MERCHANTS, "MERCHANT_TOKEN", ("API", "WEBHOOK"), restricted=True),
        *_rows(_FOR_MERCHANTS, "MID_AUTHORIZATION", ("SEE",), restricted=True),
        *_rows(["SERVICE_PROVIDER"], "IP_AGREEMENT", _EVERY_CHANNEL),
        *_rows(_THAT_PAY, "IP_AGREEMENT", _EVERY_CHANNEL, metering=METERED),
    ),
)
"""The rules where the log holds none that is effective."""
