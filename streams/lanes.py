"""[core] Lanes: fixed groups of input partitions, and which member of the group gets which.

Lane k of L over P partitions holds the contiguous partitions k*P/L … (k+1)*P/L - 1. A lane is
never split: it has one transactional id, one transaction covers all its partitions, and its
acknowledgement is one committed offset.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LaneLayout:
    """How the raw partitions are shared; the authorization log's layout record is the source."""

    app_id: str
    lanes: int
    partitions: int

    def __post_init__(self) -> None:
        if self.lanes < 1 or self.partitions < 1 or self.partitions % self.lanes:
            raise ValueError(f"{self.lanes} lanes do not divide {self.partitions} partitions")

    @property
    def router_group(self) -> str:
        """Group under which raw offsets and acknowledgements are committed."""
        return f"{self.app_id}-router"

    def transactional_id(self, lane: int) -> str:
        """The one transactional id that may commit for the lane."""
        return f"{self.app_id}-router-{lane}"

    def partitions_of(self, lane: int) -> range:
        """Input partitions of the lane, in order."""
        size = self.partitions // self.lanes
        return range(lane * size, (lane + 1) * size)

    def lane_of(self, partition: int) -> int:
        """The lane an input partition belongs to."""
        return partition // (self.partitions // self.lanes)

    def whole_lanes(self, partitions: Iterable[int]) -> list[int]:
        """Lanes all of whose partitions are among those given; parts of a lane are no lane."""
        have = set(partitions)
        return [lane for lane in range(self.lanes) if have.issuperset(self.partitions_of(lane))]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member says when it joins: the layout it read from the log, the lanes it ran."""

    layout: LaneLayout
    owned: frozenset[int]

    def encode(self) -> bytes:
        """Bytes for the member's user data in the join request."""
        layout = self.layout
        return json.dumps(
            {
                "app": layout.app_id,
                "lanes": layout.lanes,
                "partitions": layout.partitions,
                "owned": sorted(self.owned),
            }
        ).encode()


def read_claim(data: bytes) -> Claim | None:
    """The claim in a member's user data; None when it is none of ours.

    Never raises: aiokafka swallows what an assignor raises, and the group would hang without a
    word.
    """
    try:
        fields = json.loads(data)
        layout = LaneLayout(str(fields["app"]), int(fields["lanes"]), int(fields["partitions"]))
        return Claim(layout, frozenset(int(lane) for lane in fields["owned"]))
    except (ValueError, TypeError, KeyError, UnicodeDecodeError):
        return None


def share_lanes(layout: LaneLayout, claims: Mapping[str, Claim | None]) -> dict[str, list[int]]:
    """Lanes of every member: even to within one, staying where they were as far as that allows.

    A member with another layout (or none) gets nothing: its registration would be void, and a
    lane with it would stand still. A lane that two members claim goes to the first by member id;
    nothing rests on it being right, as a new owner fences the old one.
    """
    shares: dict[str, list[int]] = {member: [] for member in sorted(claims)}
    fit = [member for member in shares if _fits(layout, claims[member])]
    if not fit:
        return shares
    least, extra = divmod(layout.lanes, len(fit))
    left = set(range(layout.lanes))
    # Those who ran most keep the odd ones, so that no lane moves without need.
    wanting = sorted(fit, key=lambda member: (-len(_owned(claims[member])), member))
    for position, member in enumerate(wanting):
        quota = least + (1 if position < extra else 0)
        kept = sorted(_owned(claims[member]) & left)[:quota]
        shares[member] = kept
        left.difference_update(kept)
    for position, member in enumerate(wanting):
        quota = least + (1 if position < extra else 0)
        while len(shares[member]) < quota:
            lane = min(left)
            left.remove(lane)
            shares[member].append(lane)
        shares[member].sort()
    return shares


def _fits(layout: LaneLayout, claim: Claim | None) -> bool:
    return claim is not None and claim.layout == layout


def _owned(claim: Claim | None) -> frozenset[int]:
    return claim.owned if claim is not None else frozenset()
