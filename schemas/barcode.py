"""Who a tracking number belongs to, as far as its digits say (IMpb, UPU S10, legacy forms).

A number is [420 + ZIP5 or ZIP+4] + PIC, and a PIC is AI (2) + service type code (3) + MID (6 or 9)
+ serial + check digit. The same digits can sometimes be read in two ways, so every way is tried. A
reading counts when its form and identifier (AI) are known, its check digit is right and, for AI 92
and 93, its MID keeps the MID rule.

| readings that count                    | verdict     | reason       |
|----------------------------------------|-------------|--------------|
| all name the same MID                  | owned       |              |
| none of them names an owner            | no_owner    | label_needed |
| they differ, or only some name a MID   | undecidable | two_owners   |
| none, but one fails by its MID alone   | undecidable | mid_rule     |
| none; a known form, check digit wrong  | invalid     | check_digit  |
| none; no known form                    | invalid     | unknown_form |

Only AI 92 (nine-digit MID) and 93 (six-digit) name an owner. Under AI 94 some issuers put a source
id before the MID; AI 91, 95, S10 and the 20-digit form hold no MID that a tenant could own.

`owner` is on the hot path and is compiled by mypyc where there is a compiler; `read` is for people.
"""

from typing import NamedTuple

from schemas.foreign_forms import foreign_form
from schemas.reasons import BarcodeVerdict, QuarantineReason, Reason

OwnerFields = tuple[BarcodeVerdict, bytes, bytes, str]
"""`Owner` as a plain tuple, which the hot loop takes apart in one step."""

_from_bytes = int.from_bytes

_OWNED = BarcodeVerdict.OWNED
_NO_OWNER = BarcodeVerdict.NO_OWNER
_UNDECIDABLE = BarcodeVerdict.UNDECIDABLE
_INVALID = BarcodeVerdict.INVALID
_LABEL_NEEDED = Reason.LABEL_NEEDED.value
_MID_RULE = QuarantineReason.MID_RULE.value
_TWO_OWNERS = QuarantineReason.TWO_OWNERS.value
_CHECK_DIGIT = QuarantineReason.CHECK_DIGIT.value
_UNKNOWN_FORM = QuarantineReason.UNKNOWN_FORM.value

_ROUTING = b"420"
_LEGACY_LENGTH = 20
# Where the PIC can start in a number that begins with 420, by length of the number: ZIP5 takes 8
# digits, ZIP+4 takes 12, a PIC has 20, 22, 26 or 30. A PIC with identifier starts with 9, so a
# number that begins with 420 is never one without routing; the 20-digit form can be.
_PIC_STARTS: dict[int, tuple[int, ...]] = {
    20: (0,),
    28: (8,),
    30: (8,),
    32: (12,),
    34: (8, 12),
    38: (8, 12),
    42: (12,),
}
_NINE = 57
_S10_LENGTH = 13
_S10_WEIGHTS = (8, 6, 4, 2, 3, 5, 9, 7)
# People paste numbers with spaces, dashes, the brackets GS1 puts round identifiers, and what a
# scanner adds: the symbology identifier ]C1 and FNC1 as a group separator.
_PASTED = str.maketrans("", "", " \t\r\n\xa0-()\x1d")


class Owner(NamedTuple):
    """What the digits alone say.

    `mid` is empty unless the verdict is owned. `pic` is the number without its routing part (the
    shortest that fits), or the input where it cannot be read or can be read as two owners'.
    `reason` is empty when owned, `label_needed` when the digits name no owner, else the
    QuarantineReason.
    """

    verdict: BarcodeVerdict
    mid: bytes
    pic: bytes
    reason: str


class Reading(NamedTuple):
    """One way to read a number; an empty part is absent in this form.

    `mid` is what stands at the MID's place by the MID rule. Under AI 94 it may be a source id and
    half a MID; where the MID breaks the rule its length is not known, and both it and the serial
    are left empty. `legacy_id` is the nine-digit id of the 20-digit form and AI 91.
    """

    routing: str
    ai: str
    stc: str
    mid: str
    serial: str
    check_digit: str
    legacy_id: str
    pic: str


class BarcodeReport(NamedTuple):
    """Every reading that counts, and the verdict. `form` is a hint for people and nothing more.

    Where the MID rule alone is broken, `readings` holds the readings that break it.
    """

    input: str
    verdict: BarcodeVerdict
    mid: str
    readings: tuple[Reading, ...]
    reason: str
    form: str


def owner(number: bytes) -> Owner:
    """Owner of a number as the feeds deliver it: bare ASCII digits or capitals, nothing between."""
    return Owner(*judge_number(number))


def judge_number(number: bytes) -> OwnerFields:
    """`owner` as a plain tuple."""
    if not number.isdigit():
        return _judge_lettered(number)
    if number[0] == _NINE or number[:3] != _ROUTING:
        return _judge_pic(number)
    starts = _PIC_STARTS.get(len(number), ())
    if len(starts) == 1:
        only = _judge_pic(number[starts[0] :])
        return only if only[0] is not _INVALID else (_INVALID, b"", number, only[3])
    return _combine(number, [_judge_pic(number[start:]) for start in starts])


def read(number: str) -> BarcodeReport:
    """All readings of a number as people type or paste it."""
    clean = normalise(number)
    # Anything beyond ASCII becomes "?", which no form contains.
    digits = clean.encode("ascii", "replace")
    found = owner(digits)
    readings = () if found.verdict is _INVALID else _readings(digits, found)
    return BarcodeReport(
        input=number,
        verdict=found.verdict,
        mid=found.mid.decode("ascii"),
        readings=readings,
        reason=found.reason,
        form=_form(clean, readings),
    )


def normalise(number: str) -> str:
    """The bare number in what a person pasted; what is not punctuation stays and is judged."""
    clean = number.translate(_PASTED).upper()
    return clean.removeprefix("]C1")


def check_digit(body: bytes) -> int:
    """Check digit for the digits of a PIC before it: weights 3, 1, 3, 1, … from the right."""
    return -(3 * _digit_sum(body[::-2]) + _digit_sum(body[-2::-2])) % 10


def s10_check_digit(serial: bytes) -> int:
    """Check digit for the eight digits of a UPU S10 number."""
    weighted = sum(w * (digit - 48) for w, digit in zip(_S10_WEIGHTS, serial, strict=True))
    rest = weighted % 11
    return 5 if rest == 0 else 0 if rest == 1 else 11 - rest


def _digit_sum(digits: bytes) -> int:
    return sum(digits) - 48 * len(digits)


def _judge_pic(pic: bytes) -> OwnerFields:
    """Verdict on digits without routing part."""
    length = len(pic)
    if length == 22 or length == 26 or length == 30:
        ai = pic[1]
        if pic[0] != _NINE or ai < 49 or ai > 53:
            return _INVALID, b"", pic, _UNKNOWN_FORM
    elif length == _LEGACY_LENGTH:
        ai = 0
    else:
        return _INVALID, b"", pic, _UNKNOWN_FORM
    # Lengths are even, so a PIC is pairs of digits, the first of weight 3, the second of weight 1
    # (the check digit among them). Read as an integer, a pair is a 16-bit word; modulo 65,535 the
    # words add up, so the first digits' sum stands in the high byte and the second's in the low one
    # (at most 15 * 9 each). The ASCII zeros, 0x3030 a pair, are taken off before.
    sums = (_from_bytes(pic, "big") - 0x3030 * (length >> 1)) % 0xFFFF
    if (3 * (sums >> 8) + (sums & 0xFF)) % 10:
        return _INVALID, b"", pic, _CHECK_DIGIT
    if ai == 50:
        if pic[5] == _NINE:
            return _OWNED, pic[5:14], pic, ""
        return _UNDECIDABLE, b"", pic, _MID_RULE
    if ai == 51:
        if pic[5] != _NINE:
            return _OWNED, pic[5:11], pic, ""
        return _UNDECIDABLE, b"", pic, _MID_RULE
    return _NO_OWNER, b"", pic, _LABEL_NEEDED


def _combine(number: bytes, judged: list[OwnerFields]) -> OwnerFields:
    """One verdict from those on each way to cut off the routing part."""
    valid = [one for one in judged if one[0] is _OWNED or one[0] is _NO_OWNER]
    if not valid:
        valid = [one for one in judged if one[0] is _UNDECIDABLE]
    if not valid:
        known = any(one[3] == _CHECK_DIGIT for one in judged)
        return _INVALID, b"", number, _CHECK_DIGIT if known else _UNKNOWN_FORM
    first = valid[0]
    if any(one[1] != first[1] for one in valid):
        return _UNDECIDABLE, b"", number, _TWO_OWNERS
    return first


def _judge_lettered(number: bytes) -> OwnerFields:
    """Verdict on a number that is not all digits: UPU S10 or nothing we know."""
    letters = number[:2] + number[11:]
    if (
        len(number) != _S10_LENGTH
        or not (letters.isalpha() and letters.isupper())
        or not number[2:11].isdigit()
    ):
        return _INVALID, b"", number, _UNKNOWN_FORM
    if s10_check_digit(number[2:10]) != number[10] - 48:
        return _INVALID, b"", number, _CHECK_DIGIT
    return _NO_OWNER, b"", number, _LABEL_NEEDED


def _readings(number: bytes, found: Owner) -> tuple[Reading, ...]:
    if not number.isdigit():
        return (_lettered_reading(number.decode("ascii")),)
    starts = _PIC_STARTS.get(len(number), ()) if number[:3] == _ROUTING else (0,)
    wanted = (_UNDECIDABLE,) if found.reason == _MID_RULE else (_OWNED, _NO_OWNER)
    text = number.decode("ascii")
    return tuple(
        _reading(text[:start], text[start:])
        for start in starts
        if _judge_pic(number[start:])[0] in wanted
    )


def _reading(routing: str, pic: str) -> Reading:
    """Parts of a PIC whose check digit is right."""
    zip_code = routing[3:8] + ("-" + routing[8:] if len(routing) > 8 else "")
    ai = "" if len(pic) == _LEGACY_LENGTH else pic[:2]
    mid = serial = legacy_id = ""
    if ai in ("", "91"):
        code = len(ai)
        stc, legacy_id, serial = (
            pic[code : code + 2],
            pic[code + 2 : code + 11],
            pic[code + 11 : -1],
        )
    else:
        stc, rest = pic[2:5], pic[5:-1]
        mid_length = 9 if rest[0] == "9" else 6
        if ai == "95":
            serial = rest
        elif ai == "94" or mid_length == (9 if ai == "92" else 6):
            mid, serial = rest[:mid_length], rest[mid_length:]
    return Reading(zip_code, ai, stc, mid, serial, pic[-1], legacy_id, pic)


def _lettered_reading(number: str) -> Reading:
    return Reading("", "", "", "", number[2:10], number[10], "", number)


_AI_FORMS = {
    "": "USPS legacy number of 20 digits",
    "91": "USPS legacy number, AI 91",
    "92": "USPS IMpb, commercial, nine-digit MID (AI 92)",
    "93": "USPS IMpb, commercial, six-digit MID (AI 93)",
    "94": "USPS IMpb, online postage (AI 94)",
    "95": "USPS IMpb, retail (AI 95)",
}


def _form(clean: str, readings: tuple[Reading, ...]) -> str:
    if not readings:
        return foreign_form(clean)
    if not clean.isdigit():
        return f"UPU S10, issued by {clean[-2:]}"
    return "; or ".join(_AI_FORMS[one.ai] for one in readings)
