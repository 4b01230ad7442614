"""What happens to pieces, and where: the tables that generated files are drawn from."""

from typing import NamedTuple


class Facility(NamedTuple):
    """Where scans happen; the ZIP decides the time zone."""

    zip5: bytes
    name: bytes


FACILITIES: tuple[Facility, ...] = tuple(
    Facility(zip5.encode(), name.encode())
    for zip5, name in (
        ("10001", "NEW YORK"),
        ("11201", "BROOKLYN"),
        ("02108", "BOSTON"),
        ("19103", "PHILADELPHIA"),
        ("20001", "WASHINGTON"),
        ("28202", "CHARLOTTE"),
        ("30303", "ATLANTA"),
        ("33101", "MIAMI"),
        ("32501", "PENSACOLA"),
        ("37203", "NASHVILLE"),
        ("40202", "LOUISVILLE"),
        ("43215", "COLUMBUS"),
        ("48201", "DETROIT"),
        ("46204", "INDIANAPOLIS"),
        ("60601", "CHICAGO"),
        ("53202", "MILWAUKEE"),
        ("55401", "MINNEAPOLIS"),
        ("63101", "SAINT LOUIS"),
        ("64106", "KANSAS CITY"),
        ("70112", "NEW ORLEANS"),
        ("75201", "DALLAS"),
        ("77002", "HOUSTON"),
        ("79901", "EL PASO"),
        ("80202", "DENVER"),
        ("83702", "BOISE"),
        ("84101", "SALT LAKE CITY"),
        ("85003", "PHOENIX"),
        ("86515", "WINDOW ROCK"),
        ("87102", "ALBUQUERQUE"),
        ("89101", "LAS VEGAS"),
        ("90009", "LOS ANGELES"),
        ("94103", "SAN FRANCISCO"),
        ("97204", "PORTLAND"),
        ("98101", "SEATTLE"),
        ("99501", "ANCHORAGE"),
        ("96813", "HONOLULU"),
        ("00901", "SAN JUAN"),
        ("96910", "HAGATNA"),
        # Zones that cannot be known: a military post office, a ZIP of no list, no ZIP at all.
        ("09012", "APO"),
        ("00099", "NETWORK DISTRIBUTION CENTER"),
        ("     ", "INTERNATIONAL SERVICE CENTER"),
    )
)


class Step(NamedTuple):
    """One scan of a history: code, name, minutes after the step before (least, spread), where.

    `place` counts facilities on the way: 0 where the piece came in, 1 and 2 on the way, 3 where
    it is delivered.
    """

    code: bytes
    name: bytes
    after: int
    spread: int
    place: int


def _step(code: str, name: str, after: int, spread: int, place: int) -> Step:
    return Step(code.encode(), name.encode(), after, spread, place)


_LABEL = _step("GX", "SHIPPING LABEL CREATED", 0, 60, 0)
_ANNOUNCED = _step("MA", "SHIPMENT INFO SENT, USPS AWAITS ITEM", 5, 240, 0)
_ACCEPTED = _step("03", "ACCEPTED AT USPS FACILITY", 120, 1200, 0)
_ORIGIN_ACCEPTED = _step("OA", "ORIGIN ACCEPTANCE", 90, 900, 0)
_IN_10 = _step("10", "PROCESSED THROUGH USPS FACILITY", 120, 480, 0)
_LEFT = _step("EF", "DEPARTED USPS REGIONAL FACILITY", 60, 300, 0)
_PASSED = _step("10", "PROCESSED THROUGH USPS FACILITY", 360, 900, 1)
_ON = _step("T1", "DEPARTED USPS REGIONAL FACILITY", 30, 200, 1)
_NEAR = _step("A1", "ARRIVED AT USPS REGIONAL FACILITY", 300, 900, 2)
_SORTED = _step("PC", "SORTING COMPLETE", 100, 300, 3)
_UNIT = _step("07", "ARRIVAL AT UNIT", 200, 500, 3)
_OUT = _step("OF", "OUT FOR DELIVERY", 30, 120, 3)
_DELIVERED = _step("01", "DELIVERED", 60, 420, 3)
_TO_UNIT = (_LABEL, _ANNOUNCED, _ACCEPTED, _IN_10, _LEFT, _PASSED, _ON, _NEAR, _UNIT, _SORTED)
_SHORT = (_LABEL, _ORIGIN_ACCEPTED, _PASSED, _UNIT)
_BACK = (
    _step("10", "PROCESSED THROUGH USPS FACILITY", 600, 900, 2),
    _step("07", "ARRIVAL AT UNIT", 900, 900, 0),
    _step("09", "DELIVERED TO ORIGINAL SENDER", 120, 600, 0),
)

HISTORIES: tuple[tuple[float, tuple[Step, ...]], ...] = (
    (0.52, (*_TO_UNIT, _OUT, _DELIVERED)),
    (0.68, (*_SHORT, _OUT, _DELIVERED)),
    (
        0.78,
        (
            *_TO_UNIT,
            _OUT,
            _step("02", "NOTICE LEFT, NO AUTHORIZED RECIPIENT", 60, 400, 3),
            _step("OF", "OUT FOR DELIVERY", 1100, 200, 3),
            _DELIVERED,
        ),
    ),
    (
        0.84,
        (
            *_TO_UNIT,
            _OUT,
            _step("53", "DELIVERY ATTEMPTED, NO ACCESS", 60, 400, 3),
            _step("14", "AVAILABLE FOR PICKUP", 200, 300, 3),
            _step("01", "DELIVERED, INDIVIDUAL PICKED UP", 300, 4000, 3),
        ),
    ),
    (
        0.88,
        (
            *_TO_UNIT,
            _step("08", "MISSENT", 60, 300, 3),
            _step("10", "PROCESSED THROUGH USPS FACILITY", 600, 900, 2),
            _step("07", "ARRIVAL AT UNIT", 600, 900, 3),
            _step("OF", "OUT FOR DELIVERY", 30, 120, 3),
            _DELIVERED,
        ),
    ),
    (
        0.91,
        (
            *_TO_UNIT,
            _step("06", "FORWARDED", 60, 300, 3),
            _step("07", "ARRIVAL AT UNIT", 1200, 900, 2),
            _step("01", "DELIVERED", 200, 400, 2),
        ),
    ),
    (0.94, (*_TO_UNIT, _OUT, _step("04", "REFUSED", 60, 400, 3), *_BACK)),
    (
        0.97,
        (
            *_TO_UNIT,
            _step("05", "UNDELIVERABLE AS ADDRESSED", 60, 300, 3),
            _step("21", "NO SUCH NUMBER, RETURN TO SENDER", 30, 60, 3),
            *_BACK,
        ),
    ),
    (0.985, (_LABEL, _ANNOUNCED)),
    (1.0, (*_TO_UNIT, _step("DX", "DELIVERY STATUS NOT UPDATED", 2000, 2000, 3))),
)
"""Cumulative share of each history, and its steps."""

SCANS_A_PIECE = sum(
    (limit - below) * len(steps)
    for (limit, steps), below in zip(
        HISTORIES, [0.0, *(limit for limit, _ in HISTORIES)], strict=False
    )
)
"""Scans of a piece on average."""
