"""Maps that freeze, and the set of change ids, against plain dicts and sets."""

from hypothesis import given
from hypothesis import strategies as st

from streams.change_ids import ChangeIds
from streams.sharded_map import FrozenMap, ShardedMap

KEYS = st.text("abc", max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers()),
        st.tuples(st.just("discard"), KEYS, st.none()),
        st.tuples(st.just("part"), KEYS, st.none()),
        st.tuples(st.just("freeze"), st.none(), st.none()),
        st.tuples(st.just("clear"), st.none(), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_map_is_a_dict_and_what_was_frozen_stays(steps):
    sharded: ShardedMap[str, int] = ShardedMap(4)
    model: dict[str, int] = {}
    frozen: list[tuple[FrozenMap[str, int], dict[str, int]]] = []
    for kind, key, value in steps:
        if kind == "set":
            sharded[key] = model[key] = value
        elif kind == "freeze":
            frozen.append((sharded.freeze(), model.copy()))
        elif kind == "clear":
            sharded.clear()
            model.clear()
        else:
            getattr(sharded, kind)(key)
            model.pop(key, None)
    for one, expected in [*frozen, (sharded, model)]:
        assert dict(one) == expected
        assert len(one) == len(expected)
        assert all(key in one and one.find(key) == expected[key] for key in expected)
        assert one.find("no such key") is None
        assert "no such key" not in one


def test_freezing_twice_without_a_change_gives_the_same():
    sharded: ShardedMap[str, int] = ShardedMap(4)
    sharded["a"] = 1
    first = sharded.freeze()
    assert sharded.freeze() is first
    sharded["a"] = 2
    assert sharded.freeze() is not first


def test_a_change_copies_one_shard_and_shares_the_others():
    """The bound: what a change costs after a snapshot does not grow with the map."""
    sharded: ShardedMap[int, int] = ShardedMap(4)
    for key in range(100):
        sharded[key] = key
    first = sharded.freeze()
    sharded[0] = -1
    second = sharded.freeze()
    shared = [a is b for a, b in zip(first.shards, second.shards, strict=True)]
    assert shared.count(False) == 1


# Few first bytes and bytes that repeat, so that ids meet in a shard and overlap each other.
IDS = st.lists(
    st.one_of(
        st.integers(0, 3).map(lambda n: bytes((n,)) * 16),
        st.lists(st.sampled_from([0, 1]), min_size=16, max_size=16).map(bytes),
        st.binary(min_size=16, max_size=16),
    ),
    max_size=40,
)


@given(IDS, IDS)
def test_change_ids_are_a_set(added, asked):
    ids, model = ChangeIds(), set()
    for change_id in added:
        assert ids.add(change_id) == (change_id not in model)
        model.add(change_id)
    for known in (ids, ChangeIds.load(ids.dump())):
        assert set(known) == model
        assert len(known) == len(model)
        assert all((change_id in known) == (change_id in model) for change_id in added + asked)
