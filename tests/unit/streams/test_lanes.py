"""Lanes are shared whole, evenly, and stay where they are as far as possible."""

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import lane_assignor
from streams.lanes import Claim, LaneLayout, read_claim, share_lanes

LAYOUT = LaneLayout("app", lanes=4, partitions=8)


def claim(*owned: int, layout: LaneLayout = LAYOUT) -> Claim:
    return Claim(layout, frozenset(owned))


def test_a_lane_is_a_contiguous_group_of_partitions() -> None:
    assert list(LAYOUT.partitions_of(0)) == [0, 1]
    assert list(LAYOUT.partitions_of(3)) == [6, 7]
    assert [LAYOUT.lane_of(partition) for partition in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert LAYOUT.transactional_id(2) == "app-router-2"
    assert LAYOUT.router_group == "app-router"


def test_parts_of_a_lane_are_no_lane() -> None:
    assert LAYOUT.whole_lanes([0, 1, 2, 6, 7]) == [0, 3]


@pytest.mark.parametrize(("lanes", "partitions"), [(0, 4), (3, 4), (2, 0)])
def test_lanes_divide_partitions(lanes: int, partitions: int) -> None:
    with pytest.raises(ValueError, match="do not divide"):
        LaneLayout("app", lanes, partitions)


def test_a_second_member_takes_half_and_the_first_keeps_its_half() -> None:
    shares = share_lanes(LAYOUT, {"b": claim(), "a": claim(0, 1, 2, 3)})
    assert shares == {"a": [0, 1], "b": [2, 3]}
    assert share_lanes(LAYOUT, {m: claim(*lanes) for m, lanes in shares.items()}) == shares


def test_more_members_than_lanes_leave_somebody_without() -> None:
    shares = share_lanes(LAYOUT, {name: claim() for name in "abcdef"})
    assert sorted(map(len, shares.values())) == [0, 0, 1, 1, 1, 1]


def test_a_member_with_another_layout_gets_nothing() -> None:
    other = LaneLayout("app", lanes=2, partitions=8)
    shares = share_lanes(LAYOUT, {"a": claim(), "b": claim(layout=other), "c": None})
    assert shares == {"a": [0, 1, 2, 3], "b": [], "c": []}


@given(
    st.integers(1, 12),
    st.dictionaries(st.text("abcdefg", min_size=1), st.sets(st.integers(-1, 15)), min_size=1),
)
def test_every_lane_has_exactly_one_owner(lanes: int, owned: dict[str, set[int]]) -> None:
    """Whatever the members claim: each lane once, shares even to within one."""
    layout = LaneLayout("app", lanes, lanes * 2)
    shares = share_lanes(layout, {m: claim(*o, layout=layout) for m, o in owned.items()})
    assert sorted(lane for share in shares.values() for lane in share) == list(range(lanes))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.binary(max_size=60))
def test_foreign_user_data_is_no_claim(data: bytes) -> None:
    assert read_claim(data) is None


def test_the_assignor_speaks_the_group_protocol() -> None:
    """What one member says about itself is read back, and partitions come out whole lanes."""
    first = lane_assignor("p.raw", LAYOUT, lambda: [3])
    second = lane_assignor("p.raw", LAYOUT, lambda: [])
    said = {
        "one": ConsumerProtocolMemberMetadata.decode(first.metadata({"p.raw"}).encode()),
        "two": ConsumerProtocolMemberMetadata.decode(second.metadata({"p.raw"}).encode()),
    }
    shares = first.assign(None, said)
    assert {tp.partition for tp in shares["one"].partitions()} == {0, 1, 6, 7}
    assert {tp.partition for tp in shares["two"].partitions()} == {2, 3, 4, 5}
