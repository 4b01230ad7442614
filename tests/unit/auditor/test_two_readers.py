"""Both readers of numbers and of events, written apart, must see the same in any bytes.

Random and damaged numbers and events go through the router's reader and the auditor's.
"""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from auditor import avro_reader
from auditor.barcodes import ownership
from auditor.scan_reader import read_scan, read_scan_by_the_rule
from schemas.barcode import owner
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.event_reader import read_event
from schemas.reasons import BarcodeVerdict
from tests.unit.auditor.drawn import TEXT, mutated

# No deadline: the machine may be busy. A drawn log is large by nature.
PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
DIGITS = st.text("0123456789", max_size=44)
CHANNELS = ("UNKNOWN", "API", "WEBHOOK", "SEE")
BASES = ("UNKNOWN", "UTC", "LOCAL", "AMBIGUOUS")


def _with_check_digit(body: str) -> str:
    total = sum(int(d) * (3 if i % 2 == 0 else 1) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


@st.composite
def pics(draw: st.DrawFn) -> str:
    """A PIC of any length and identifier, its check digit right."""
    length = draw(st.sampled_from([20, 22, 26, 30, 21, 34]))
    prefix = draw(st.sampled_from(["91", "92", "93", "94", "95", "96", "42", "00"]))
    body = draw(st.text("0123456789", min_size=length - 3, max_size=length - 3))
    return _with_check_digit(prefix + body)


@st.composite
def twofold(draw: st.DrawFn) -> str:
    """34 or 38 digits whose two readings both have a right check digit."""
    outer, inner = (
        draw(st.sampled_from(["91", "92", "93", "94", "95"])),
        draw(st.sampled_from(["91", "92", "93", "94", "95"])),
    )
    first = draw(st.integers(0, 9))
    sum_before = 3 * int(outer[0]) + int(outer[1]) + 3 * first
    head = outer + str(first) + str(-sum_before % 10)
    length = draw(st.sampled_from([26, 30]))
    size = length - len(head) - len(inner) - 1
    rest = draw(st.text("0123456789", min_size=size, max_size=size))
    return (
        "420"
        + draw(st.text("0123456789", min_size=5, max_size=5))
        + _with_check_digit(head + inner + rest)
    )


@st.composite
def s10(draw: st.DrawFn) -> str:
    """The form of an S10 number, check digit mostly wrong, letters mostly right."""
    letters = st.text("ABZabÀ1", min_size=2, max_size=2)
    digits = st.text("0123456789", min_size=9, max_size=9)
    return draw(letters) + draw(digits) + draw(letters)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Numbers of all kinds, some with a routing part, some with a mistake."""
    number = draw(pics() | twofold() | s10() | DIGITS | st.text(max_size=40))
    if draw(st.booleans()):
        number = "420" + draw(st.text("0123456789", min_size=5, max_size=9)) + number
    if draw(st.integers(0, 3)) == 0 and number:
        at = draw(st.integers(0, len(number) - 1))
        number = number[:at] + draw(st.sampled_from("0123456789 aA٣")) + number[at + 1 :]
    return number


@PATIENT
@given(numbers())
@example("4201234593009312431243100000000007")
@example("RB123456785GB")
@example("RB123456785GB\n")
@example("9205590123456700000017\n")
@example("")
def test_both_readers_name_the_same_owner(number: str) -> None:
    """Verdict, MID and reason always; the PIC wherever the number can be read."""
    mine, theirs = ownership(number), owner(number.encode())
    assert (mine.verdict, mine.mid, mine.reason) == (
        theirs.verdict,
        theirs.mid.decode(),
        theirs.reason,
    )
    if mine.verdict in (BarcodeVerdict.OWNED, BarcodeVerdict.NO_OWNER):
        assert mine.pic == theirs.pic.decode()


MAYBE = st.none() | TEXT
EVENTS = st.fixed_dictionaries(
    {
        "barcode": numbers(),
        "event_code": TEXT,
        "event_time": st.integers(-(10**15), 3 * 10**14),
        "time_basis": st.sampled_from(BASES),
        "facility_zip": TEXT,
        "mailing_date": st.none() | st.integers(-(10**6), 3 * 10**6),
        "channel": st.sampled_from(CHANNELS),
        "unique_tracking_id": MAYBE,
        "event_name": TEXT,
        "weight": TEXT,
        "restricted": st.none() | st.fixed_dictionaries({"recipient_name": MAYBE, "firm": MAYBE}),
    }
)


Seen = tuple[object, ...]


def _auditors_view(value: bytes) -> Seen:
    try:
        scan = avro_reader.read_scan(value)
    except avro_reader.UnknownFrameError:
        return ("unknown_frame",)
    except avro_reader.UnreadableError:
        return ("malformed_record",)
    fields = scan.fields
    return (
        fields["barcode"].encode(),
        fields["event_code"].encode(),
        fields["event_time"],
        BASES.index(fields["time_basis"]),
        fields["facility_zip"].encode(),
        CHANNELS.index(fields["channel"]),
        scan.restricted_at,
    )


def _routers_view(value: bytes) -> Seen:
    try:
        return tuple(read_event(value))
    except UnknownFrameError:
        return ("unknown_frame",)
    except MalformedRecordError:
        return ("malformed_record",)


@PATIENT
@given(mutated(EVENTS.map(lambda event: avro_reader.encode("tracking_event/v1", event))))
@example(b"")
@example(b"\1\0\0\0\1")
@example(b"\0\0\0\0\2")
@example(b"\0\0\0\0\1")
def test_both_readers_see_the_same_event(value: bytes) -> None:
    """The same facts and the same place to cut, or the same reason for quarantine."""
    assert _routers_view(value) == _auditors_view(value)


SIZED = st.integers(0, 64).map(lambda size: "x" * size)
ORDINARY = st.fixed_dictionaries(
    {
        "barcode": DIGITS,
        "event_code": SIZED,
        "event_time": st.integers(1_700_000_000_000, 1_900_000_000_000)
        | st.integers(-(2**47), 2**47),
        "time_basis": st.sampled_from(BASES),
        "facility_zip": SIZED,
        "mailing_date": st.none() | st.integers(-719_163, 2_932_897),
        "channel": st.sampled_from(CHANNELS),
        "unique_tracking_id": st.none() | SIZED,
        "customer_reference": SIZED | TEXT,
        "restricted": st.none()
        | st.fixed_dictionaries({"recipient_name": MAYBE, "firm": st.none() | SIZED}),
    }
)


@settings(PATIENT, max_examples=500)
@given(mutated((EVENTS | ORDINARY).map(lambda one: avro_reader.encode("tracking_event/v1", one))))
@example(b"")
def test_the_auditors_quick_walk_sees_what_fastavro_sees(value: bytes) -> None:
    """Every field that counts, the place to cut, or the same refusal."""
    assert read_scan(value) == read_scan_by_the_rule(value)
