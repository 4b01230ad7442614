"""Hands out whole lanes in the router's consumer group.

aiokafka takes an assignor as a *class* with class methods, so each consumer gets a class of its
own that carries its layout and the lanes it ran last.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from streams.lanes import Claim, LaneLayout, read_claim, share_lanes

PROTOCOL_NAME = "midgate-lanes"


def lane_assignor(
    raw_topic: str, layout: LaneLayout, owned: Callable[[], Iterable[int]]
) -> type[AbstractPartitionAssignor]:
    """An assignor class for one consumer; `owned` gives the lanes it runs when it joins."""

    class LaneAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
        name = PROTOCOL_NAME
        version = 0

        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, Any]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            claims = {member: read_claim(said.user_data) for member, said in members.items()}
            return {
                member: ConsumerProtocolMemberAssignment(
                    cls.version, [(raw_topic, _partitions(layout, lanes))] if lanes else [], b""
                )
                for member, lanes in share_lanes(layout, claims).items()
            }

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            claim = Claim(layout, frozenset(owned()))
            return ConsumerProtocolMemberMetadata(cls.version, sorted(topics), claim.encode())

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            """Nothing to remember: the router says what it runs."""

    return LaneAssignor


def _partitions(layout: LaneLayout, lanes: Iterable[int]) -> list[int]:
    return [partition for lane in lanes for partition in layout.partitions_of(lane)]
