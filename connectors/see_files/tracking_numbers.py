"""Synthetic tracking numbers of every form that domain knowledge names, for generated files."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from schemas.barcode import check_digit, s10_check_digit


class Dice(Protocol):
    """The part of `random.Random` that generated files are drawn with; seeded by the caller."""

    def random(self) -> float: ...

    def randrange(self, stop: int, /) -> int: ...


class Number(NamedTuple):
    """A number as a scan would give it, and the MID its shipper has."""

    text: bytes
    mid: bytes


_SERVICE_CODES = (b"001", b"055", b"612", b"748", b"346", b"001", b"612")
_COUNTRIES = (b"GB", b"DE", b"CA", b"JP", b"US")

# Cumulative shares of the forms. About 70 % carry a MID that a shipper can own.
_FORMS: tuple[tuple[float, str], ...] = (
    (0.40, "commercial_22"),
    (0.70, "commercial_26"),
    (0.82, "online"),
    (0.89, "retail"),
    (0.92, "legacy_91"),
    (0.95, "legacy_20"),
    (0.99, "s10"),
    (1.0, "misread"),
)


def draw_number(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> Number:
    """One number of a drawn form; where the form has a MID it is `mid`, routed to the ZIP."""
    share = dice.random()
    form = next(name for limit, name in _FORMS if share < limit)
    return Number(_MAKERS[form](dice, mid, zip5, zip4), mid)


def draw_mid(dice: Dice) -> bytes:
    """A MID: nine digits starting with 9, or six starting with 0 to 8; half of each."""
    if dice.random() < 0.5:
        return b"9%08d" % dice.randrange(10**8)
    return b"%06d" % dice.randrange(900_000)


def _with_check_digit(body: bytes) -> bytes:
    return b"%b%d" % (body, check_digit(body))


def _routed(dice: Dice, pic: bytes, zip5: bytes, zip4: bytes) -> bytes:
    """A third without routing part; of the others those with ZIP+4 that fit into 34 digits."""
    share = dice.random()
    if share < 0.33:
        return pic
    if share < 0.66 or len(pic) > 22:
        return b"420" + zip5 + pic
    return b"420" + zip5 + zip4 + pic


def _commercial(dice: Dice, mid: bytes, digits: int) -> bytes:
    ai = b"92" if len(mid) == 9 else b"93"
    service = _SERVICE_CODES[dice.randrange(len(_SERVICE_CODES))]
    width = digits - 6 - len(mid)
    serial = b"%0*d" % (width, dice.randrange(10**width))
    return _with_check_digit(ai + service + mid + serial)


def _commercial_22(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    return _routed(dice, _commercial(dice, mid, 22), zip5, zip4)


def _commercial_26(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    return _routed(dice, _commercial(dice, mid, 26), zip5, zip4)


def _online(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    """AI 94: half with a source id of two digits before the MID, as some issuers have it."""
    source = b"11" if dice.random() < 0.5 else b""
    width = 16 - len(source) - len(mid)
    body = b"94001" + source + mid + b"%0*d" % (width, dice.randrange(10**width))
    return _routed(dice, _with_check_digit(body), zip5, zip4)


def _retail(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    body = b"95055%011d%05d" % (dice.randrange(10**11), dice.randrange(10**5))
    return _routed(dice, _with_check_digit(body), zip5, zip4)


def _legacy_91(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    return _with_check_digit(b"9101%09d%08d" % (dice.randrange(10**9), dice.randrange(10**8)))


def _legacy_20(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    return _with_check_digit(b"03%09d%08d" % (dice.randrange(10**9), dice.randrange(10**8)))


def _s10(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    serial = b"%08d" % dice.randrange(10**8)
    country = _COUNTRIES[dice.randrange(len(_COUNTRIES))]
    return b"RB%b%d%b" % (serial, s10_check_digit(serial), country)


def _misread(dice: Dice, mid: bytes, zip5: bytes, zip4: bytes) -> bytes:
    """A number with one wrong digit, as a damaged label gives it: the check digit tells."""
    pic = _commercial(dice, mid, 22)
    wrong = (pic[-1] - 48 + 1 + dice.randrange(9)) % 10
    return b"%b%d" % (pic[:-1], wrong)


_MAKERS: dict[str, Callable[[Dice, bytes, bytes, bytes], bytes]] = {
    "commercial_22": _commercial_22,
    "commercial_26": _commercial_26,
    "online": _online,
    "retail": _retail,
    "legacy_91": _legacy_91,
    "legacy_20": _legacy_20,
    "s10": _s10,
    "misread": _misread,
}
