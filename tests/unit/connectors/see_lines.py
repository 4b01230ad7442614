"""Scan Event Extract lines for tests, written from the layout as USPS describes it."""

# Name, first column, last column; from the description, not from the code under test.
FIELDS = {
    "version": (2, 4),
    "tracking number": (8, 41),
    "electronic file number": (45, 78),
    "mailer MID": (82, 90),
    "mailer name": (94, 113),
    "destination ZIP": (117, 121),
    "+4": (125, 128),
    "facility ZIP": (132, 136),
    "facility name": (140, 170),
    "event code": (174, 175),
    "event name": (179, 218),
    "event date": (222, 229),
    "event time": (233, 236),
    "mail-owner MID": (240, 248),
    "customer reference": (252, 281),
    "destination country": (285, 286),
    "recipient name": (290, 309),
    "original label": (313, 346),
    "unit of measure": (350, 350),
    "weight": (354, 362),
    "guaranteed date": (366, 373),
    "time": (377, 380),
    "logistics-manager MID": (384, 392),
}

SYNTHETIC = (
    b'"015","9261290336128704042634            ","9250000000000000000000            ",'
    b'"903361287","ABC COMPANY         ","90245","0000","90009","LOS ANGELES                    ",'
    b'"01","DELIVERED                               ","20260723","1432","903361287",'
    b'"REF-1                         ","US","                    ",'
    b'"                                  ","1","000000500","        ","    ","901131854"'
)
"""The line that the layout's description gives."""


def with_field(name: str, value: bytes, line: bytes = SYNTHETIC) -> bytes:
    """The line with one field replaced, padded to its width."""
    start, end = FIELDS[name]
    width = end - start + 1
    assert len(value) <= width
    return line[: start - 1] + value.ljust(width) + line[end:]


def field(name: str, line: bytes) -> str:
    """A field of a line, padding taken off."""
    start, end = FIELDS[name]
    return line[start - 1 : end].decode().strip(" ")
