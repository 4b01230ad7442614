"""Time of a scan: the facility's wall clock, turned into UTC where its zone is known for certain.

The Scan Event Extract gives date and time without a zone; they are local to the facility. The
facility's ZIP leads to its IANA zone. Where it does not, the wall clock is kept and said to be
LOCAL; where the wall clock falls into a fold or a gap of the zone, it is kept and said to be
AMBIGUOUS. A ZIP that is not in the table is *not* given the zone of its neighbours: a zone borrowed
from the same three digits would mostly be right, and where it is wrong an event would carry a
false instant under the name of UTC. LOCAL only makes a later question about data windows stricter.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

UNKNOWN, UTC, LOCAL, AMBIGUOUS = range(4)
"""Symbol index of `TimeBasis` in the schema (tested against it)."""

MINUTE_MS = 60_000
DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()

# Military and diplomatic post: AA 340, AE 090–099, AP 962–966. The table leaves most of their
# zones empty, but gives six of them (09905, 09980–09984) to New York, which is where such mail
# leaves the country and not where it is scanned.
MILITARY_PREFIXES = frozenset(
    [b"340", *(b"%03d" % number for number in (*range(90, 100), *range(962, 967)))]
)
# Not places: parcels returned under 569xx are scanned wherever they are handed over, although the
# table puts them to Washington; 88888 is the address for letters to Santa Claus.
PLACELESS_PREFIXES = frozenset([b"569", b"88888"])

CORRECTIONS: dict[bytes, str] = {
    # The table has the town's name in the place of its zone. Bethel Census Area keeps Alaska time.
    b"99634": "America/Anchorage",
    # Pohnpei and Kosrae are one hour ahead of Chuuk and Yap (IANA `australasia`: +11 and +10);
    # the table gives Chuuk's zone to all four states.
    b"96941": "Pacific/Pohnpei",
    b"96944": "Pacific/Kosrae",
}
"""ZIPs whose zone in `zipcodes` 3.0.0 is wrong, with the right one."""

CACHED_DAYS_MAX = 100_000


def zone_table(rows: Iterable[Mapping[str, Any]]) -> dict[bytes, str]:
    """ZIP5 -> IANA zone from the rows of `zipcodes.list_all()`, its known errors put right."""
    table: dict[bytes, str] = {}
    for row in rows:
        zip5 = str(row["zip_code"]).encode()
        zone = CORRECTIONS.get(zip5, str(row["timezone"]))
        if zone and zip5[:3] not in MILITARY_PREFIXES and not _is_placeless(zip5, row):
            table[zip5] = zone
    return table


def _is_placeless(zip5: bytes, row: Mapping[str, Any]) -> bool:
    if zip5 in PLACELESS_PREFIXES:
        return True
    return zip5[:3] in PLACELESS_PREFIXES and str(row["city"]) == "Parcel Return Service"


class EventTime(NamedTuple):
    """Milliseconds and what they mean: `basis` is the symbol index of `TimeBasis`."""

    ms: int
    basis: int


class _Day(NamedTuple):
    """One wall-clock day at one place.

    `basis` holds for every minute and `start_ms` is midnight, unless `minutes` says otherwise.
    """

    start_ms: int
    basis: int
    minutes: dict[int, EventTime] | None = None


class FacilityClock:
    """Wall clock of a facility -> event time. Days are worked out once and kept (bounded)."""

    def __init__(self, zones: Mapping[bytes, str]) -> None:
        self._zones = zones
        self._days: dict[bytes, _Day] = {}
        self._zone_days: dict[tuple[str, int], _Day] = {}

    def event_time(self, facility_zip: bytes, day: bytes, time: bytes) -> EventTime:
        """Event time of `day` (yyyyMMdd) and `time` (HHmm, digits) at a ZIP5 (blank: not known).

        ValueError when there is no such day.
        """
        known = self._days.get(facility_zip + day)
        if known is None:
            known = self._work_out(facility_zip, day)
        minute = int(time[:2]) * 60 + int(time[2:])
        if known.minutes is None:
            return EventTime(known.start_ms + minute * MINUTE_MS, known.basis)
        return known.minutes[minute]

    def _work_out(self, facility_zip: bytes, day: bytes) -> _Day:
        when = parse_day(day)
        zone = self._zones.get(facility_zip)
        ordinal = when.toordinal()
        if zone is None:
            known = _Day((ordinal - _EPOCH_DAY) * DAY_MS, LOCAL)
        else:
            found = self._zone_days.get((zone, ordinal))
            known = _day_in_zone(zone, when) if found is None else found
            if len(self._zone_days) >= CACHED_DAYS_MAX:
                self._zone_days.clear()
            self._zone_days[zone, ordinal] = known
        if len(self._days) >= CACHED_DAYS_MAX:
            self._days.clear()
        self._days[facility_zip + day] = known
        return known


def parse_day(day: bytes) -> date:
    """yyyyMMdd (eight digits) -> date; ValueError when there is no such day."""
    return date(int(day[:4]), int(day[4:6]), int(day[6:8]))


def _day_in_zone(zone: str, when: date) -> _Day:
    midnight_ms = (when.toordinal() - _EPOCH_DAY) * DAY_MS
    if when.year in (1, 9999):
        # The zone's arithmetic leaves the range of dates there; no scan is that old or new.
        return _Day(midnight_ms, LOCAL)
    info = ZoneInfo(zone)
    midnight = datetime(when.year, when.month, when.day, tzinfo=info)
    # Every quarter of an hour of the day, its last minute, and both sides of a fold or gap. An
    # offset that changed and changed back in between would be missed; no zone has ever done so.
    samples = [*range(0, 24 * 60, 15), 24 * 60 - 1]
    offsets = {offset for minute in samples for offset in _offsets_ms(midnight, minute)}
    if len(offsets) == 1:
        return _Day(midnight_ms - offsets.pop(), UTC)
    minutes: dict[int, EventTime] = {}
    for minute in range(24 * 60):
        wall_ms = midnight_ms + minute * MINUTE_MS
        before, after = _offsets_ms(midnight, minute)
        minutes[minute] = (
            EventTime(wall_ms - before, UTC) if before == after else EventTime(wall_ms, AMBIGUOUS)
        )
    return _Day(midnight_ms, UTC, minutes)


def _offsets_ms(midnight: datetime, minute: int) -> tuple[int, int]:
    """Offsets from UTC that a wall-clock minute can have; they differ in a fold and in a gap."""
    wall = midnight.replace(hour=minute // 60, minute=minute % 60)
    millisecond = timedelta(milliseconds=1)
    first, second = wall.utcoffset(), wall.replace(fold=1).utcoffset()
    assert first is not None, "a zone has an offset at any time"
    assert second is not None, "a zone has an offset at any time"
    return first // millisecond, second // millisecond
