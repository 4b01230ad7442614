"""One line of a Scan Event Extract -> the framed bytes of a `TrackingEvent`, or what is wrong.

Strict by column: quotes and commas stand where the layout has them, each field has its width and
form, dates exist. Columns decide, so a quote inside a name is part of the name. The feed's
encoding is not documented: ASCII and UTF-8 are read (widths counted in bytes), anything else is
not guessed at but refused. Blanks around a field are padding; the tracking number loses inner
blanks, too. A guaranteed date of zeros means none was given.

The record's bytes are written here directly: the generic encoder takes longer than all the rest
of a line. Tests hold them equal to `schemas.codec.encode`.
"""

import re
from typing import NamedTuple

from connectors.see_files.facility_time import EventTime, FacilityClock, parse_day
from connectors.see_files.layout import BY_NAME, COLUMNS, LINE_COLUMNS, VERSION, field_of
from schemas import barcode
from schemas.codec import frame_id
from schemas.reasons import QuarantineReason

SEPARATOR = b'","'

# Line ends excluded; `\Z` instead of `$`, which would allow one more line feed.
_LINE = re.compile(
    b'"' + SEPARATOR.join(b"(%b)" % c.form.pattern(c.width) for c in COLUMNS) + rb'"\Z'
)
_VERSION_FIELD = re.compile(rb'"([0-9]{3})"')
_NUMBER = re.compile(rb"[0-9A-Z]{8,34}")

_PREFIX = b"\0" + frame_id("tracking_event").to_bytes(4, "big")
# Every field is shorter than 64 bytes, so its Avro length is one byte: twice the length.
_LENGTH = [bytes([2 * length]) for length in range(64)]
_BASIS = [bytes([2 * symbol]) for symbol in range(4)]
_NULL = b"\0"
# `mailing_date` (null: not in this feed), `channel` (SEE), `unique_tracking_id` (null).
_BETWEEN = b"\0\x06\0"
_NO_DAY = (b" " * 8, b"0" * 8)

_GROUP = {column.name: number for number, column in enumerate(COLUMNS, start=1)}
_ROUTING = [
    _GROUP[n] for n in ("barcode", "event_code", "facility_zip", "event_date", "event_time")
]
_ENDING = [_GROUP[n] for n in ("guaranteed_date", "guaranteed_time", "recipient_name")]
# Fields that pass as the feed gave them, in the record's order; they stand together there.
_PASSED = [
    _GROUP[name]
    for name in (
        "event_name",
        "facility_name",
        "destination_zip",
        "destination_zip4",
        "destination_country",
        "mailer_mid",
        "mailer_name",
        "mail_owner_mid",
        "logistics_manager_mid",
        "electronic_file_number",
        "customer_reference",
        "original_label",
        "weight",
        "weight_unit",
    )
]

TIMES_KEPT_MAX = 200_000


class Scan(NamedTuple):
    """A readable line. `key` is the PIC, or the input digits where no reading has been found."""

    key: bytes
    value: bytes


class LineError(NamedTuple):
    """An unreadable line: first column that is wrong (from 1), its field, what belongs there.

    `number` is the tracking number as far as it can be made out, else empty.
    """

    column: int
    field: str
    expected: str
    reason: QuarantineReason
    number: bytes


class LineReader:
    """Reads lines; keeps what repeats from line to line, within bounds."""

    def __init__(self, clock: FacilityClock) -> None:
        self._clock = clock
        self._times: dict[bytes, bytes] = {}

    def read(self, line: bytes) -> Scan | LineError:
        """Read one line without its line end."""
        match = _LINE.match(line)
        if match is None or not (line.isascii() or _is_utf8(line)):
            return line_error(line)
        number, code, facility_zip, day, time = match.group(*_ROUTING)
        guaranteed_day, guaranteed_time, recipient = match.group(*_ENDING)
        number = number.replace(b" ", b"")
        facility_zip = facility_zip.strip()
        try:
            when = self._time(facility_zip, day, time)
        except ValueError:
            return _no_such_day(line, "event_date")
        guaranteed = b""
        if guaranteed_day not in _NO_DAY:
            try:
                parse_day(guaranteed_day)
            except ValueError:
                return _no_such_day(line, "guaranteed_date")
            guaranteed = guaranteed_day + guaranteed_time.strip()
        recipient = recipient.strip()
        size = _LENGTH
        value = b"".join(
            [
                _PREFIX + size[len(number)] + number,
                size[len(code)] + code + when + size[len(facility_zip)] + facility_zip,
                _BETWEEN,
                *[size[len(text)] + text for text in map(bytes.strip, match.group(*_PASSED))],
                size[len(guaranteed)] + guaranteed,
                _restricted(recipient) if recipient else _NULL,
            ]
        )
        return Scan(barcode.owner(number).pic, value)

    def _time(self, facility_zip: bytes, day: bytes, time: bytes) -> bytes:
        """`event_time` and `time_basis` as they stand in the record."""
        place_and_time = facility_zip + day + time
        known = self._times.get(place_and_time)
        if known is None:
            known = _time_bytes(self._clock.event_time(facility_zip, day, time))
            if len(self._times) >= TIMES_KEPT_MAX:
                self._times.clear()
            self._times[place_and_time] = known
        return known


def line_error(line: bytes) -> LineError:
    """What is wrong with a line that cannot be read: the first column that does not fit."""
    number = _number_in(line)
    version = _VERSION_FIELD.match(line)
    if version is not None and version[1] != VERSION:
        column = BY_NAME["version"]
        return LineError(
            column.start, "version", column.form.expected, QuarantineReason.LINE_VERSION, number
        )
    unreadable = QuarantineReason.LINE_UNREADABLE
    if line[:1] != b'"':
        return LineError(1, "version", "an opening quote", unreadable, number)
    for column in COLUMNS:
        if len(line) < column.end:
            expected = f"{LINE_COLUMNS} columns; the line ends here"
            return LineError(len(line) + 1, column.name, expected, unreadable, number)
        field = line[column.start - 1 : column.end]
        if re.fullmatch(column.form.pattern(column.width), field) is None:
            return LineError(column.start, column.name, column.form.expected, unreadable, number)
        closing = SEPARATOR if column.end + 1 < LINE_COLUMNS else b'"'
        if line[column.end : column.end + len(closing)] != closing:
            expected = f"{closing.decode()} after {column.width} characters"
            return LineError(column.end + 1, column.name, expected, unreadable, number)
    if len(line) > LINE_COLUMNS:
        return LineError(
            LINE_COLUMNS + 1,
            COLUMNS[-1].name,
            f"the end of the line after {LINE_COLUMNS} columns",
            unreadable,
            number,
        )
    return _not_utf8(line, number)


def _not_utf8(line: bytes, number: bytes) -> LineError:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start + 1
        field = next(column.name for column in COLUMNS if at <= column.end)
        return LineError(at, field, "ASCII or UTF-8", QuarantineReason.LINE_UNREADABLE, number)
    raise AssertionError("a line without a fault was taken for unreadable")


def _no_such_day(line: bytes, name: str) -> LineError:
    column = BY_NAME[name]
    return LineError(
        column.start,
        name,
        "a day of the calendar",
        QuarantineReason.LINE_UNREADABLE,
        _number_in(line),
    )


def _number_in(line: bytes) -> bytes:
    """The tracking number where the layout has it, if what stands there looks like one."""
    number = field_of(line, "barcode").replace(b" ", b"")
    return number if _NUMBER.fullmatch(number) else b""


def _restricted(recipient: bytes) -> bytes:
    """The union's record branch with the recipient's name; the feed gives no firm."""
    return b"\x02\x02" + _LENGTH[len(recipient)] + recipient + _NULL


def _time_bytes(when: EventTime) -> bytes:
    number = when.ms << 1 ^ when.ms >> 63
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out) + _BASIS[when.basis]


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
