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
from typing import NamedTuple, TypeVar

from connectors.see_files.facility_time import EventTime, FacilityClock, parse_day
from connectors.see_files.layout import BY_NAME, COLUMNS, LINE_COLUMNS, VERSION, field_of
from schemas import barcode
from schemas.codec import frame_id
from schemas.reasons import QuarantineReason

SEPARATOR = b'","'

# Fields that repeat together from line to line, first to last column: what such a span becomes in
# the record is worked out once. The version stands in no span.
_SPANS = (
    ("barcode", "barcode"),
    ("electronic_file_number", "destination_zip4"),
    ("facility_zip", "facility_name"),
    ("event_code", "event_name"),
    ("event_date", "event_time"),
    ("mail_owner_mid", "destination_country"),
    ("recipient_name", "recipient_name"),
    ("original_label", "weight"),
    ("guaranteed_date", "guaranteed_time"),
    ("logistics_manager_mid", "logistics_manager_mid"),
)


def _line_pattern() -> re.Pattern[bytes]:
    """A whole line; one group a span."""
    firsts, lasts = zip(*_SPANS, strict=True)
    parts: list[bytes] = []
    for column in COLUMNS:
        begins = b"(" if column.name in firsts else b""
        ends = b")" if column.name in lasts else b""
        parts.append(begins + column.form.pattern(column.width) + ends)
    # `\Z`, as `$` would allow one more line feed.
    return re.compile(b'"' + SEPARATOR.join(parts) + rb'"\Z')


_LINE = _line_pattern()
_VERSION_FIELD = re.compile(rb'"([0-9]{3})"')
_NUMBER = re.compile(rb"[0-9A-Z]{8,34}")

_PREFIX = b"\0" + frame_id("tracking_event").to_bytes(4, "big")
# Every field is shorter than 64 bytes, so its Avro length is one byte: twice the length.
_LENGTH = [bytes([2 * length]) for length in range(64)]
_BASIS = [bytes([2 * symbol]) for symbol in range(4)]
# Null of a union, and the empty string.
_NULL = b"\0"
# `mailing_date` (null: not in this feed), `channel` (SEE), `unique_tracking_id` (null).
_BETWEEN = b"\0\x06\0"
_NO_DAY = (b" " * 8, b"0" * 8)
_NO_RECIPIENT = b" " * BY_NAME["recipient_name"].width
_NOT_GUARANTEED = b" " * 8 + SEPARATOR + b" " * 4

# Spans that belong to the piece, and their fields in the record's order: they stand together there
# and pass as the feed gave them. Each field: number of its span, and where it is in it.
_PIECE_SPANS = (
    "electronic_file_number",
    "mail_owner_mid",
    "original_label",
    "logistics_manager_mid",
)
_PASSED = tuple(
    (_PIECE_SPANS.index(span), BY_NAME[name].start - BY_NAME[span].start, BY_NAME[name].width)
    for span, name in (
        ("electronic_file_number", "destination_zip"),
        ("electronic_file_number", "destination_zip4"),
        ("mail_owner_mid", "destination_country"),
        ("electronic_file_number", "mailer_mid"),
        ("electronic_file_number", "mailer_name"),
        ("mail_owner_mid", "mail_owner_mid"),
        ("logistics_manager_mid", "logistics_manager_mid"),
        ("electronic_file_number", "electronic_file_number"),
        ("mail_owner_mid", "customer_reference"),
        ("original_label", "original_label"),
        ("original_label", "weight"),
        ("original_label", "weight_unit"),
    )
)

KEPT_MAX = 100_000
"""Entries of each memory of a reader. The largest, that of the pieces, takes some 60 MB."""

K = TypeVar("K")
V = TypeVar("V")


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


class _Piece(NamedTuple):
    """What the lines of one number share: key, the record up to the barcode, and the fields that
    pass, with the spans they were made from (a later line can have others)."""

    key: bytes
    beginning: bytes
    spans: tuple[bytes, bytes, bytes, bytes]
    passed: bytes


class LineReader:
    """Reads lines; keeps what repeats from line to line, within bounds."""

    def __init__(self, clock: FacilityClock) -> None:
        self._clock = clock
        self._pieces: dict[bytes, _Piece] = {}
        self._places: dict[bytes, tuple[bytes, bytes]] = {}
        self._events: dict[bytes, tuple[bytes, bytes]] = {}
        self._times: dict[bytes, bytes] = {}

    def read(self, line: bytes) -> Scan | LineError:
        """Read one line without its line end."""
        match = _LINE.match(line)
        if match is None or not (line.isascii() or _is_utf8(line)):
            return line_error(line)
        number, mailing, place, what, day_time, owner, recipient, parcel, promise, manager = (
            match.groups()
        )
        piece = self._pieces.get(number)
        spans = (mailing, owner, parcel, manager)
        if piece is None or piece.spans != spans:
            piece = self._piece(number, spans)
        facility_zip, facility = self._places.get(place) or self._place(place)
        code, event_name = self._events.get(what) or self._event(what)
        when = self._times.get(facility_zip + day_time)
        if when is None:
            try:
                when = self._time(facility_zip, day_time)
            except ValueError:
                return _no_such_day(line, "event_date")
        guaranteed = _NULL
        if promise != _NOT_GUARANTEED:
            try:
                guaranteed = _guaranteed(promise)
            except ValueError:
                return _no_such_day(line, "guaranteed_date")
        value = b"".join(
            (
                piece.beginning,
                code,
                when,
                facility_zip,
                _BETWEEN,
                event_name,
                facility,
                piece.passed,
                guaranteed,
                _NULL if recipient == _NO_RECIPIENT else _restricted(recipient.strip()),
            )
        )
        return Scan(piece.key, value)

    def _piece(self, field: bytes, spans: tuple[bytes, bytes, bytes, bytes]) -> _Piece:
        number = field.replace(b" ", b"")
        passed = b"".join(
            _string(spans[span][at : at + width].strip()) for span, at, width in _PASSED
        )
        found = _Piece(barcode.owner(number).pic, _PREFIX + _string(number), spans, passed)
        return _keep(self._pieces, field, found)

    def _place(self, fields: bytes) -> tuple[bytes, bytes]:
        """`facility_zip` and `facility_name` as they stand in the record."""
        zip_width = BY_NAME["facility_zip"].width
        name = fields[zip_width + len(SEPARATOR) :]
        found = (_string(fields[:zip_width].strip()), _string(name.strip()))
        return _keep(self._places, fields, found)

    def _event(self, fields: bytes) -> tuple[bytes, bytes]:
        """`event_code` and `event_name` as they stand in the record."""
        code_width = BY_NAME["event_code"].width
        name = fields[code_width + len(SEPARATOR) :]
        found = (_string(fields[:code_width]), _string(name.strip()))
        return _keep(self._events, fields, found)

    def _time(self, facility_zip: bytes, day_time: bytes) -> bytes:
        """`event_time` and `time_basis` as they stand in the record; the ZIP as it stands there.

        ValueError when there is no such day.
        """
        day, time = day_time[:8], day_time[-4:]
        found = _time_bytes(self._clock.event_time(facility_zip[1:], day, time))
        return _keep(self._times, facility_zip + day_time, found)


def _keep(kept: dict[K, V], key: K, value: V) -> V:
    """Keep what was worked out; all is forgotten when it is too much."""
    if len(kept) >= KEPT_MAX:
        kept.clear()
    kept[key] = value
    return value


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


def _string(text: bytes) -> bytes:
    """A string of the record."""
    return _LENGTH[len(text)] + text


def _restricted(recipient: bytes) -> bytes:
    """The union's record branch with the recipient's name; the feed gives no firm."""
    return b"\x02\x02" + _LENGTH[len(recipient)] + recipient + _NULL


def _guaranteed(promise: bytes) -> bytes:
    """`guaranteed_delivery` of a guaranteed day and time; ValueError when there is no such day."""
    day, time = promise[:8], promise[-4:]
    if day in _NO_DAY:
        return _NULL
    parse_day(day)
    return _string(day + time.strip())


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
