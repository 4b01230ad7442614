"""The MID rule of Postal Bulletin 22290."""

import pytest

from schemas.mid import is_mid


@pytest.mark.parametrize("text", ["000000", "123456", "899999", "900000000", "999999999"])
def test_a_mid(text: str) -> None:
    assert is_mid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9",
        "912345",
        "12345",
        "1234567",
        "123456789",
        "90000000",
        "9000000000",
        "12345a",
        "12 456",
        "-12345",
        "１２３４５６",
        "12345²",
    ],
)
def test_no_mid(text: str) -> None:
    assert not is_mid(text)
