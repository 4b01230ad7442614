"""The local store and the view on it: what is kept, what is thrown away, what is read anew."""

from collections import Counter
from dataclasses import dataclass

import pytest

from schemas.reasons import UnitBilling
from streams.errors import ConfigurationError, UpgradeNeededError
from streams.local_store import COPIES_MAX
from streams.metering import meter
from streams.usage_records import (
    UsagePosition,
    UsageTally,
    call_units,
    position_record,
    tally_record,
    unit_record,
)
from streams.usage_store import UsageStores, ViewPosition
from streams.usage_view import UsageView
from tests.metering_support import APRIL_MS, values

PLACE = ViewPosition(10, 5, "c/t/1")


@dataclass
class Read:
    key: bytes
    value: bytes | None
    offset: int = 0


def test_values_and_position_are_kept_together(tmp_path):
    store = UsageStores(tmp_path).open("u", "a")
    assert store.position == ViewPosition()
    store.write({b"1": b"x", b"2": b"y"}, PLACE)
    store.write({b"2": None}, ViewPosition(11, 6, "c/t/1"))
    store.close()
    again = UsageStores(tmp_path).open("u", "a")
    assert again.find([b"1", b"2"]) == [b"x", None]
    assert again.position == ViewPosition(11, 6, "c/t/1")


def test_a_store_of_another_topic_begins_anew(tmp_path):
    stores = UsageStores(tmp_path)
    store = stores.open("u", "a")
    store.write({b"1": b"x"}, PLACE)
    store.close()
    other = stores.open("u", "b")
    assert (other.find([b"1"]), other.position) == ([None], ViewPosition())


def test_a_damaged_store_begins_anew(tmp_path):
    stores = UsageStores(tmp_path)
    store = stores.open("u", "a")
    store.write({b"1": b"x"}, PLACE)
    store.close()
    (tmp_path / "u" / "CURRENT").write_text("nonsense\n")
    again = stores.open("u", "a")
    assert again.find([b"1"]) == [None]


def test_who_finds_a_store_in_use_takes_the_next_copy(tmp_path):
    stores = UsageStores(tmp_path)
    held = [stores.open("u", "a") for _ in range(COPIES_MAX)]
    held[0].write({b"1": b"x"}, PLACE)
    assert held[1].find([b"1"]) == [None]
    with pytest.raises(ConfigurationError, match="copies"):
        stores.open("u", "a")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        UsageStores(tmp_path / "file").open("u", "a")


def test_without_a_folder_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = UsageStores(None).open("u", "a")
    store.write({b"1": b"x"}, PLACE)
    assert len(list(tmp_path.iterdir())) == 1
    store.close()
    assert list(tmp_path.iterdir()) == []


def view(stores: UsageStores, name: str = "u") -> UsageView:
    return UsageView(stores.open(name, "a"), 0)


def test_a_view_made_anew_from_the_topic_is_the_one_that_wrote_it(tmp_path):
    stores = UsageStores(tmp_path)
    writer = view(stores)
    facts = values(0, APRIL_MS, [(7, 1), (8, 2), (9, 1)])
    metered = meter(facts, writer.find)
    tallies = writer.tallies(metered.tallied)
    position = UsagePosition(0, 5, "c/t/1", APRIL_MS, "")
    records = [unit_record(unit) for unit in metered.units]
    records += [tally_record(tally, 0) for tally in tallies.values()]
    records += [position_record(position, 0)]
    writer.wrote(metered.first, tallies, PLACE)

    reader = view(stores, "other")
    assert reader.read([Read(key, value) for key, value, _ in records], 10) == set()
    assert reader.position == writer.position == PLACE
    assert meter(facts, reader.find).units == meter(facts, writer.find).units == []
    more = Counter({("agr-1", "2026-04", UnitBilling.NOT_FIRST_EVENT): 2})
    assert [tally.copies for tally in reader.tallies(more).values()] == [3]
    assert reader.tallies(more) == writer.tallies(more)


def test_a_view_tells_marks_and_passes_over_what_is_not_its_business(tmp_path):
    one = view(UsageStores(tmp_path))
    mark = position_record(UsagePosition(0, -1, "", 0, "n1"), 0)
    [call] = call_units("c", 0, True, ["111"], agreement_id="agr-1", tenant_id="acme")
    told = one.read([Read(*mark[:2]), Read(*call[:2]), Read(b"x", b"junk")], 4)
    assert told == {"n1"}
    assert one.position == ViewPosition(4, -1, "")
    assert one.find([call[0], b"x"]) == [None, None]


def test_a_unit_that_was_erased_is_gone(tmp_path):
    one = view(UsageStores(tmp_path))
    metered = meter(values(0, APRIL_MS, [(7, 1)]), one.find)
    key, value, _ = unit_record(metered.units[0])
    one.read([Read(key, value)], 1)
    assert one.find([key]) != [None]
    one.read([Read(key, None)], 2)
    assert one.find([key]) == [None]


def test_a_record_of_a_newer_version_stops_the_view(tmp_path):
    one = view(UsageStores(tmp_path))
    tally = tally_record(UsageTally("a", "2026-04", UnitBilling.UNREADABLE, 0, 1), 0)
    with pytest.raises(UpgradeNeededError, match="newer version"):
        one.read([Read(tally[0], b"\0\0\0\xff\0" + tally[1][5:])], 1)
