"""[core] The auditor's own barcode reader: plain, slow, and written from the rule alone.

Source: docs/authorization-log.md, "The owner of a number" (which follows the IMpb and UPU S10
rules). Nothing here is shared with the reader on the router's hot path; the two are compared in
tests/unit/auditor/test_two_implementations.py.
"""

from functools import lru_cache
from typing import NamedTuple

from schemas.reasons import BarcodeVerdict, QuarantineReason, Reason

ROUTING_LENGTHS = (0, 8, 12)  # none, 420 + ZIP5, 420 + ZIP+4; the shortest first
LEGACY_LENGTH = 20
PIC_LENGTHS = (22, 26, 30)
IDENTIFIERS = ("91", "92", "93", "94", "95")
S10_LENGTH = 13
S10_WEIGHTS = (8, 6, 4, 2, 3, 5, 9, 7)
# A piece has some ten scans close together; a number takes about 300 bytes here.
NUMBERS_REMEMBERED_MAX = 100_000
ASCII_DIGITS = frozenset("0123456789")
ASCII_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Ownership(NamedTuple):
    """What a number says; `mid` is empty unless owned, `reason` is empty if it is."""

    verdict: BarcodeVerdict
    mid: str
    pic: str
    reason: str


@lru_cache(maxsize=NUMBERS_REMEMBERED_MAX)
def ownership(number: str) -> Ownership:
    """Who owns the piece with this number, as far as its digits tell."""
    if _has_s10_form(number):
        if _s10_check_digit(number[2:10]) == number[10]:
            return Ownership(BarcodeVerdict.NO_OWNER, "", number, Reason.LABEL_NEEDED.value)
        return _refused(BarcodeVerdict.INVALID, number, QuarantineReason.CHECK_DIGIT)
    forms = _forms(number)
    if not forms:
        return _refused(BarcodeVerdict.INVALID, number, QuarantineReason.UNKNOWN_FORM)
    readings = [pic for pic in forms if _check_digit(pic[:-1]) == pic[-1]]
    if not readings:
        return _refused(BarcodeVerdict.INVALID, number, QuarantineReason.CHECK_DIGIT)
    valid = [pic for pic in readings if _keeps_mid_rule(pic)]
    if not valid:
        return _refused(BarcodeVerdict.UNDECIDABLE, number, QuarantineReason.MID_RULE)
    owners = {_mid(pic) for pic in valid}
    if len(owners) > 1:
        return _refused(BarcodeVerdict.UNDECIDABLE, number, QuarantineReason.TWO_OWNERS)
    owner = owners.pop()
    if owner == "":
        return Ownership(BarcodeVerdict.NO_OWNER, "", valid[0], Reason.LABEL_NEEDED.value)
    return Ownership(BarcodeVerdict.OWNED, owner, valid[0], "")


def is_mid(text: str) -> bool:
    """Six digits starting with 0-8, or nine digits starting with 9."""
    if not _is_digits(text):
        return False
    return (len(text) == 9 and text[0] == "9") or (len(text) == 6 and text[0] != "9")


def _is_digits(text: str) -> bool:
    """One or more of 0 to 9; `isdigit` alone takes the digits of other scripts, too."""
    return text.isascii() and text.isdigit()


def _refused(verdict: BarcodeVerdict, number: str, reason: QuarantineReason) -> Ownership:
    return Ownership(verdict, "", number, reason.value)


def _has_s10_form(number: str) -> bool:
    return (
        len(number) == S10_LENGTH
        and set(number[:2] + number[11:]) <= ASCII_CAPITALS
        and set(number[2:11]) <= ASCII_DIGITS
    )


def _s10_check_digit(serial: str) -> str:
    total = sum(int(digit) * weight for digit, weight in zip(serial, S10_WEIGHTS, strict=True))
    remainder = total % 11
    if remainder == 0:
        return "5"
    if remainder == 1:
        return "0"
    return str(11 - remainder)


def _forms(number: str) -> list[str]:
    """The PIC of every split into routing and PIC that the lengths and identifiers permit."""
    if not _is_digits(number):
        return []
    forms = []
    # A routing part begins with 420.
    for routing in ROUTING_LENGTHS if number.startswith("420") else ROUTING_LENGTHS[:1]:
        pic = number[routing:]
        if len(pic) == LEGACY_LENGTH or (len(pic) in PIC_LENGTHS and pic[:2] in IDENTIFIERS):
            forms.append(pic)
    return forms


def _check_digit(body: str) -> str:
    """Weights 3, 1, 3, 1, ... from the right; what is missing to the next ten."""
    codes = body.encode("ascii")
    odd, even = codes[::-2], codes[-2::-2]
    zero = ord("0")
    total = 3 * (sum(odd) - zero * len(odd)) + sum(even) - zero * len(even)
    return str(-total % 10)


def _identifier(pic: str) -> str:
    return "" if len(pic) == LEGACY_LENGTH else pic[:2]


def _keeps_mid_rule(pic: str) -> bool:
    if _identifier(pic) == "92":
        return pic[5] == "9"
    if _identifier(pic) == "93":
        return pic[5] != "9"
    return True


def _mid(pic: str) -> str:
    """The owner a reading names, or nothing."""
    if _identifier(pic) == "92":
        return pic[5:14]
    if _identifier(pic) == "93":
        return pic[5:11]
    return ""
