"""The auditor's barcode reader against the vectors of the domain and the rule's corners."""

import pytest

from auditor.barcodes import is_mid, ownership

VECTORS = [
    ("420787459400111206206406260787", "no_owner", "", "label_needed"),
    ("9400111201080805483016", "no_owner", "", "label_needed"),
    ("4201002334249200190132607600833457", "owned", "901326076", ""),
    ("92748931507708513018050063", "owned", "931507708", ""),
    ("9361289878700317633795", "owned", "898787", ""),
    ("9261292700768711948021", "owned", "927007687", ""),
    ("420902459261290336128704042634", "owned", "903361287", ""),
    ("9205590123456700000017", "owned", "901234567", ""),
    ("92748901234567000000000018", "owned", "901234567", ""),
    ("9361212345600000000017", "owned", "123456", ""),
    ("9505511069605048600624", "no_owner", "", "label_needed"),
    ("03071790000523483741", "no_owner", "", "label_needed"),
    ("9101123456789000000013", "no_owner", "", "label_needed"),
    ("RB123456785GB", "no_owner", "", "label_needed"),
    ("RB123456786US", "invalid", "", "check_digit"),
    ("9434611206206407667131", "invalid", "", "check_digit"),
    ("9101123456789000000014", "invalid", "", "check_digit"),
    ("9200000000000000000000", "invalid", "", "check_digit"),
    ("61299998820821171811", "invalid", "", "check_digit"),
    ("9261212345678900017627", "undecidable", "", "mid_rule"),
    ("", "invalid", "", "unknown_form"),
    ("9400 1112 0108 0805 4830 16", "invalid", "", "unknown_form"),
    ("rb123456785gb", "invalid", "", "unknown_form"),
    ("1Z999AA10123456784", "invalid", "", "unknown_form"),
    ("９２０５５９０１２３４５６７００００００１７", "invalid", "", "unknown_form"),
    ("96123456789012345678", "invalid", "", "check_digit"),
    ("9612345678901234567890", "invalid", "", "unknown_form"),
]


@pytest.mark.parametrize(("number", "verdict", "mid", "reason"), VECTORS)
def test_vectors(number: str, verdict: str, mid: str, reason: str) -> None:
    """What the digits say, with the reason for what they do not."""
    found = ownership(number)
    assert (found.verdict.value, found.mid, found.reason) == (verdict, mid, reason)


SAME_OWNER_TWICE = "4201234593009312431243100000000007"
TWOFOLD = [
    ("4201234593319322333627350485210367", "undecidable", "", "two_owners"),
    ("4201234592259286756508899579032895", "undecidable", "", "mid_rule"),
    ("4201234592709387620073308152851958", "owned", "200733", ""),
    ("4201234593179554749002750386320715", "undecidable", "", "two_owners"),
    ("4201234595779101724818305814665917", "no_owner", "", "label_needed"),
]


@pytest.mark.parametrize(("number", "verdict", "mid", "reason"), TWOFOLD)
def test_numbers_that_can_be_read_two_ways(
    number: str, verdict: str, mid: str, reason: str
) -> None:
    """34 digits: ZIP5 + 26, or ZIP+4 + 22; only one owner in all valid readings counts."""
    found = ownership(number)
    assert (found.verdict.value, found.mid, found.reason) == (verdict, mid, reason)


def test_one_owner_in_both_readings_is_the_owner() -> None:
    """And the PIC is that of the reading with the shortest routing."""
    found = ownership(SAME_OWNER_TWICE)
    assert (found.verdict.value, found.mid) == ("owned", "312431")
    assert found.pic == SAME_OWNER_TWICE[8:]


def test_the_pic_is_without_routing() -> None:
    """The routing part is no part of the tracking number."""
    assert ownership("420902459261290336128704042634").pic == "9261290336128704042634"
    assert ownership("4201002334249200190132607600833457").pic == "9200190132607600833457"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("901234567", True),
        ("123456", True),
        ("012345", True),
        ("812345678", False),
        ("912345", False),
        ("12345", False),
        ("", False),
        ("90123456a", False),
        ("٩01234567", False),
    ],
)
def test_mid(text: str, expected: bool) -> None:
    """Nine digits start with 9, six with 0 to 8; ASCII digits only."""
    assert is_mid(text) is expected
