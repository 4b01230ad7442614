"""Lifelike Scan Event Extracts: whole histories of pieces, interleaved as a day's files are.

Everything is drawn from one seeded source, so the same plan gives the same bytes. Lines come in
the order of the hour in which they are filed; a late scan is filed hours or days after it
happened, a repeated one again, byte for byte. Memory holds the pieces on their way only.

Times are wall clocks of the facilities. Some scans are moved to hours where nobody works or clocks
jump (00:00, 01:30, 02:30, 23:59).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

from connectors.see_files.layout import BY_NAME, VERSION
from connectors.see_files.scan_histories import FACILITIES, HISTORIES, SCANS_A_PIECE, Step
from connectors.see_files.tracking_numbers import Dice, Number, draw_mid, draw_number

PIECES_A_DAY = 10_000
"""Pieces handed in per simulated day; with histories of some days it bounds the memory."""

LATE_SHARE = 0.03
REPEATED_SHARE = 0.015
ODD_HOUR_SHARE = 0.01
REUSED_SHARE = 0.004
RECIPIENT_SHARE = 0.6
REUSE_AFTER_PIECES = 2_000
_ODD_MINUTES = (0, 90, 150, 1439)
_HOUR_MIN = 60
_DAY_MIN = 24 * 60

_MAILERS = (b"ABC COMPANY", b"NORTHWIND OUTFITTERS", b"RIVER BOOKS", b"HILL PHARMACY")
_RECIPIENTS = (b"A MILLER", b"J GARCIA", b"FRONT DESK", b"K NGUYEN", b"R O'NEIL", b"AGENT")


class Plan(NamedTuple):
    """What to generate. Exactly one of `pieces` and `lines` is positive.

    `mids` take part besides drawn ones, up to `mid_count` in all; `broken` is the share of lines
    that are damaged.
    """

    start: date
    mid_count: int
    mids: tuple[bytes, ...] = ()
    pieces: int = 0
    lines: int = 0
    broken: float = 0.002


class _Piece(NamedTuple):
    before: bytes  # of a line: version to destination
    after: bytes  # mail owner to country
    ending: bytes  # original label to the last quote
    places: tuple[int, int, int, int]


def generate(plan: Plan, dice: Dice) -> Iterator[list[bytes]]:
    """Lines without line ends, in portions of one simulated hour."""
    assert (plan.pieces > 0) != (plan.lines > 0), "either pieces or lines"
    left = plan.lines
    for portion in _Simulation(plan, dice).hours():
        if plan.lines:
            portion = portion[:left]
            left -= len(portion)
        yield portion
        if plan.lines and left == 0:
            return


class _Simulation:
    def __init__(self, plan: Plan, dice: Dice) -> None:
        self._plan = plan
        self._dice = dice
        mids = list(plan.mids)
        while len(mids) < plan.mid_count:
            mids.append(draw_mid(dice))
        self._mids: Sequence[bytes] = mids
        # A few pieces more than the lines need, so that most histories are whole at the cut.
        self._pieces_left = plan.pieces or int(plan.lines / SCANS_A_PIECE * 1.05) + 1
        self._old_numbers: deque[Number] = deque(maxlen=REUSE_AFTER_PIECES)
        self._hours: dict[int, list[tuple[int, int, bytes]]] = {}
        self._days: dict[int, bytes] = {}
        self._sequence = 0

    def hours(self) -> Iterator[list[bytes]]:
        """Portions until all is told; with a plan by lines there is always a next one."""
        hour = 0
        owed = 0.0
        while self._pieces_left > 0 or self._hours or self._plan.lines:
            if self._plan.lines and not self._hours and self._pieces_left <= 0:
                self._pieces_left = 1  # the drawn histories were shorter than average
            owed += PIECES_A_DAY / 24
            while owed >= 1 and self._pieces_left > 0:
                owed -= 1
                self._pieces_left -= 1
                self._tell(self._hand_in(), hour * _HOUR_MIN + self._dice.randrange(_HOUR_MIN))
            portion = self._hours.pop(hour, None)
            if portion:
                portion.sort()
                yield [self._maybe_broken(line) for _, _, line in portion]
            hour += 1

    def _hand_in(self) -> _Piece:
        """A new piece; some carry a number that an earlier piece had."""
        dice = self._dice
        zip5 = b"%05d" % (1000 + dice.randrange(98_900))
        zip4 = b"%04d" % dice.randrange(10_000)
        full = len(self._old_numbers) == REUSE_AFTER_PIECES
        if full and dice.random() < REUSED_SHARE:
            number = self._old_numbers[0]
        else:
            mid = self._mids[dice.randrange(len(self._mids))]
            number = draw_number(dice, mid, zip5, zip4)
        self._old_numbers.append(number)
        manager = self._mids[dice.randrange(len(self._mids))]
        mailer = _MAILERS[dice.randrange(len(_MAILERS))]
        reference = b"REF-%d" % dice.randrange(10**6) if dice.random() < 0.7 else b""
        weight = b"%09d" % dice.randrange(30_000)
        count = len(FACILITIES)
        return _Piece(
            before=_quoted(
                ("version", VERSION),
                ("barcode", number.text),
                ("electronic_file_number", b"92500%017d" % dice.randrange(10**9)),
                ("mailer_mid", number.mid),
                ("mailer_name", mailer),
                ("destination_zip", zip5),
                ("destination_zip4", zip4),
            ),
            after=_quoted(
                ("mail_owner_mid", number.mid),
                ("customer_reference", reference),
                ("destination_country", b"US"),
            ),
            ending=_quoted(
                ("original_label", b""),
                ("weight_unit", b"1"),
                ("weight", weight),
                ("guaranteed_date", b""),
                ("guaranteed_time", b""),
                ("logistics_manager_mid", manager),
            )[:-1],
            places=(
                dice.randrange(count),
                dice.randrange(count),
                dice.randrange(count),
                dice.randrange(count),
            ),
        )

    def _tell(self, piece: _Piece, minute: int) -> None:
        """File every scan of a piece that is handed in at `minute`."""
        dice = self._dice
        share = dice.random()
        steps = next(steps for limit, steps in HISTORIES if share < limit)
        for step in steps:
            minute += step.after + dice.randrange(step.spread)
            line = self._line(piece, step, minute)
            share = dice.random()
            filed = minute
            if share < LATE_SHARE:
                filed += dice.randrange(3 * _DAY_MIN)
            elif share < LATE_SHARE + REPEATED_SHARE:
                self._file(minute + dice.randrange(_DAY_MIN), line)
            self._file(filed, line)

    def _file(self, minute: int, line: bytes) -> None:
        self._sequence += 1
        entry = (minute, self._sequence, line)
        self._hours.setdefault(minute // _HOUR_MIN, []).append(entry)

    def _line(self, piece: _Piece, step: Step, minute: int) -> bytes:
        dice = self._dice
        day, clock = divmod(minute, _DAY_MIN)
        if dice.random() < ODD_HOUR_SHARE:
            clock = _ODD_MINUTES[dice.randrange(len(_ODD_MINUTES))]
        has_recipient = step.code == b"01" and dice.random() < RECIPIENT_SHARE
        recipient = _RECIPIENTS[dice.randrange(len(_RECIPIENTS))] if has_recipient else b""
        return b"".join(
            (
                piece.before,
                _AT[piece.places[step.place]],
                _WHAT[step.code, step.name],
                self._day(day),
                _CLOCK[clock],
                piece.after,
                _RECIPIENT[recipient],
                piece.ending,
            )
        )

    def _day(self, day: int) -> bytes:
        known = self._days.get(day)
        if known is None:
            when = date.fromordinal(self._plan.start.toordinal() + day)
            known = _quoted(("event_date", when.strftime("%Y%m%d").encode()))
            self._days[day] = known
        return known

    def _maybe_broken(self, line: bytes) -> bytes:
        dice = self._dice
        if dice.random() >= self._plan.broken:
            return line
        at = BY_NAME["event_date"].start - 1
        kind = dice.randrange(7)
        if kind == 0:  # cut
            return line[: 1 + dice.randrange(len(line) - 1)]
        if kind == 1:  # a character too few, everything after it shifted
            return line[:60] + line[61:]
        if kind == 2:  # no such day
            return line[:at] + b"20261345" + line[at + 8 :]
        if kind == 3:  # another layout version
            return line[:1] + b"014" + line[4:]
        if kind == 4:  # not UTF-8
            return line[:93] + b"CAF\xc9" + line[97:]
        if kind == 5:  # a control character
            return line[:139] + b"\0" + line[140:]
        return line[:7] + b" " * 34 + line[41:]  # no tracking number


def _quoted(*fields: tuple[str, bytes]) -> bytes:
    """Fields padded and quoted, each followed by a comma; the first one opens its quote."""
    padded = []
    for name, text in fields:
        width = BY_NAME[name].width
        assert len(text) <= width, f"{name} holds {width} characters"
        padded.append(b'"' + text.ljust(width) + b'",')
    return b"".join(padded)


_AT = [_quoted(("facility_zip", place.zip5), ("facility_name", place.name)) for place in FACILITIES]
_WHAT = {
    (step.code, step.name): _quoted(("event_code", step.code), ("event_name", step.name))
    for _, steps in HISTORIES
    for step in steps
}
_CLOCK = [
    _quoted(("event_time", b"%02d%02d" % divmod(minute, _HOUR_MIN))) for minute in range(_DAY_MIN)
]
_RECIPIENT = {name: _quoted(("recipient_name", name)) for name in (b"", *_RECIPIENTS)}
