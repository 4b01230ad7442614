"""Build a line reader with the real table of ZIPs."""

from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import zipcodes

from connectors.see_files.facility_time import FacilityClock, zone_table
from connectors.see_files.line_reader import LineReader
from streams.errors import ConfigurationError


@cache
def zip_rows() -> list[dict[str, Any]]:
    """Every ZIP of the package `zipcodes`; reading them takes about a second."""
    rows: list[dict[str, Any]] = zipcodes.list_all()  # type: ignore[no-untyped-call]
    return rows


def line_reader() -> LineReader:
    """A reader with memories of its own.

    ConfigurationError when this machine does not know a zone of the table: its events would
    silently lose their UTC times.
    """
    zones = zone_table(zip_rows())
    for zone in set(zones.values()):
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"time zone {zone} is not known here", hint="install the package tzdata"
            ) from error
    return LineReader(FacilityClock(zones))
