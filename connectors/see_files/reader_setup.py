"""Build a line reader with the real table of ZIPs."""

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import zipcodes  # untyped

from connectors.see_files.facility_time import FacilityClock, zone_table
from connectors.see_files.line_reader import LineReader
from streams.errors import ConfigurationError


def line_reader() -> LineReader:
    """A reader of its own caches; reading the table takes about a second, so share it.

    ConfigurationError when this machine does not know a zone of the table: its events would
    silently lose their UTC times.
    """
    rows: list[dict[str, Any]] = zipcodes.list_all()  # type: ignore[no-untyped-call]
    zones = zone_table(rows)
    for zone in set(zones.values()):
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"time zone {zone} is not known here", hint="install the package tzdata"
            ) from error
    return LineReader(FacilityClock(zones))
