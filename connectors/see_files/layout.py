"""Scan Event Extract, version 1.5: where each field stands in a line.

One line is one scan: 393 bytes, every field quoted and padded with blanks to a fixed width, `","`
between them. Columns are counted in bytes from 1, both ends included, as USPS's layout counts
them; the quote before a field stands at `start - 1`, the one after it at `end + 1`.
"""

from enum import Enum
from typing import NamedTuple

VERSION = b"015"
"""Layout version as it stands in the file: 1.5."""

FORMAT = "see-1.5"
"""How `IngestedFile` names feed and version."""

LINE_COLUMNS = 393


class Form(Enum):
    """What a field may hold: a byte pattern of `{n}` bytes, and the same in words."""

    VERSION = (rb"015", '"015" (layout version 1.5)')
    TRACKING = (rb"(?! {{{n}}})[ -~]{{{n}}}", "a tracking number, not blank")
    CODE = (rb"[!-~]{{{n}}}", "an event code of two characters")
    ZIP = (rb"(?:[0-9]{{{n}}}| {{{n}}})", "five digits or blank")
    DATE = (rb"[0-9]{{{n}}}", "a date yyyyMMdd")
    TIME = (rb"(?:[01][0-9]|2[0-3])[0-5][0-9]", "a time HHmm, 0000 to 2359")
    DATE_OR_BLANK = (rb"(?:[0-9]{{{n}}}| {{{n}}})", "a date yyyyMMdd or blank")
    TIME_OR_BLANK = (rb"(?:(?:[01][0-9]|2[0-3])[0-5][0-9]| {{{n}}})", "a time HHmm or blank")
    TEXT = (rb"[ -~\x80-\xff]{{{n}}}", "text without control characters")

    def pattern(self, width: int) -> bytes:
        """Regular expression that matches exactly the allowed fields of `width` bytes."""
        text: bytes = self.value[0]
        count = str(width).encode()
        return text.replace(b"{{{n}}}", b"{" + count + b"}")

    @property
    def expected(self) -> str:
        """What is expected, for the report on a line that does not have it."""
        words: str = self.value[1]
        return words


class Column(NamedTuple):
    """One field: name in `TrackingEvent` (or the layout's own), first and last column, form."""

    name: str
    start: int
    end: int
    form: Form = Form.TEXT

    @property
    def width(self) -> int:
        return self.end - self.start + 1


COLUMNS: tuple[Column, ...] = (
    Column("version", 2, 4, Form.VERSION),
    Column("barcode", 8, 41, Form.TRACKING),
    Column("electronic_file_number", 45, 78),
    Column("mailer_mid", 82, 90),
    Column("mailer_name", 94, 113),
    Column("destination_zip", 117, 121),
    Column("destination_zip4", 125, 128),
    Column("facility_zip", 132, 136, Form.ZIP),
    Column("facility_name", 140, 170),
    Column("event_code", 174, 175, Form.CODE),
    Column("event_name", 179, 218),
    Column("event_date", 222, 229, Form.DATE),
    Column("event_time", 233, 236, Form.TIME),
    Column("mail_owner_mid", 240, 248),
    Column("customer_reference", 252, 281),
    Column("destination_country", 285, 286),
    Column("recipient_name", 290, 309),
    Column("original_label", 313, 346),
    Column("weight_unit", 350, 350),
    Column("weight", 354, 362),
    Column("guaranteed_date", 366, 373, Form.DATE_OR_BLANK),
    Column("guaranteed_time", 377, 380, Form.TIME_OR_BLANK),
    Column("logistics_manager_mid", 384, 392),
)
"""Every field of a line, in file order. Fields whose form is TEXT pass as the feed gave them."""

BY_NAME = {column.name: column for column in COLUMNS}


def field_of(line: bytes, name: str) -> bytes:
    """Bytes of a field where the layout has it, padding included; short when the line is."""
    column = BY_NAME[name]
    return line[column.start - 1 : column.end]
