"""Which label a scan is of; above all: never another owner's."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from streams.label_facts import HOUR_MS, Covering, LabelEntry, Scan, covering
from tests.unit.schemas.records import bounded

UTC, LOCAL, AMBIGUOUS = 1, 2, 3
DAY_MS = 24 * HOUR_MS
T0 = 1_785_000_000_000
# Every zone there is, and finer: a quarter of an hour from UTC−12 to UTC+14.
ZONES_MS = [quarter * HOUR_MS // 4 for quarter in range(-12 * 4, 14 * 4 + 1)]


def label(index: int = 0, **changed) -> LabelEntry:
    given = LabelEntry(f"l{index}", index, "901234567", "acme", "", T0, T0 + 30 * DAY_MS, None, "")
    return given._replace(**changed)


def scan(
    at_ms: int = T0 + DAY_MS, basis: int = UTC, date: int | None = None, uid: str = ""
) -> Scan:
    return Scan(at_ms, basis, date, uid)


def test_the_window_is_half_open():
    only = label()
    assert covering([only], scan(T0)).label == only
    assert covering([only], scan(T0 + 30 * DAY_MS - 1)).label == only
    assert covering([only], scan(T0 - 1)) == Covering(None, Reason.LABEL_NEEDED)
    assert covering([only], scan(T0 + 30 * DAY_MS)) == Covering(None, Reason.LABEL_NEEDED)


def test_no_history_needs_a_label():
    assert covering([], scan()) == Covering(None, Reason.LABEL_NEEDED)


def test_two_windows_are_ambiguous_even_of_one_owner():
    two = [label(0), label(1)]
    assert covering(two, scan()) == Covering(None, Reason.LABEL_AMBIGUOUS)


def test_a_local_time_must_lie_inside_in_every_zone():
    only = label()
    for basis in (LOCAL, AMBIGUOUS, 0):
        assert covering([only], scan(T0 + 14 * HOUR_MS, basis)).label == only
        assert covering([only], scan(T0 + 14 * HOUR_MS - 1, basis)).reason is Reason.LABEL_NEEDED
        last = T0 + 30 * DAY_MS - 1 - 12 * HOUR_MS
        assert covering([only], scan(last, basis)).label == only
        assert covering([only], scan(last + 1, basis)).reason is Reason.LABEL_NEEDED


def test_a_local_time_between_two_owners_is_of_none():
    first = label(0, valid_to_ms=T0 + 5 * DAY_MS)
    second = label(1, mid="123456", valid_from_ms=T0 + 5 * DAY_MS)
    at_ms = T0 + 5 * DAY_MS - 13 * HOUR_MS
    assert covering([first, second], scan(at_ms, LOCAL)).label == first
    assert covering([first, second], scan(at_ms + 2 * HOUR_MS, LOCAL)) == Covering(
        None, Reason.LABEL_AMBIGUOUS
    )


def test_mailing_date_and_unique_id_say_the_piece_whatever_the_window():
    dated, named = label(0, mailing_date=20_000), label(1, unique_tracking_id="u1")
    both = label(2, mailing_date=20_001, unique_tracking_id="u2")
    history = [dated, named, both]
    far = T0 + 400 * DAY_MS
    assert covering(history, scan(far, date=20_000)).label == dated
    assert covering(history, scan(far, uid="u1")).label == named
    assert covering(history, scan(far, uid="u2")).label == both
    assert covering(history, scan(far, date=20_001)).label == both
    # One agrees, the other contradicts: another piece.
    assert covering(history, scan(date=20_000, uid="u2")).label == dated
    assert covering(history, scan(date=20_001, uid="u1")).label == named
    assert covering([both], scan(date=20_000, uid="u2")).reason is Reason.LABEL_NEEDED
    # What only the scan gives proves nothing, and the window is not asked then.
    assert covering([label()], scan(uid="u9")).reason is Reason.LABEL_NEEDED
    assert covering([label()], scan(date=20_009)).reason is Reason.LABEL_NEEDED


def test_the_same_piece_twice_is_ambiguous():
    two = [label(0, mailing_date=20_000), label(1, mailing_date=20_000, mid="123456")]
    assert covering(two, scan(date=20_000)).reason is Reason.LABEL_AMBIGUOUS


spans = st.tuples(st.integers(-20, 20), st.integers(1, 12)).map(
    lambda span: (T0 + span[0] * 5 * HOUR_MS, T0 + (span[0] + span[1]) * 5 * HOUR_MS)
)
dates = st.none() | st.integers(20_000, 20_002)
ids = st.sampled_from(["", "", "u1", "u2"])


@st.composite
def histories(draw) -> list[LabelEntry]:
    return [
        label(
            index,
            mid=f"90000000{index}",
            valid_from_ms=span[0],
            valid_to_ms=span[1],
            mailing_date=draw(dates),
            unique_tracking_id=draw(ids),
        )
        for index, span in enumerate(draw(st.lists(spans, max_size=4)))
    ]


scans = st.builds(
    Scan, st.integers(-120, 120).map(lambda n: T0 + n * HOUR_MS), st.sampled_from([0, 1, 2, 3]),
    dates, ids,
)  # fmt: skip


@bounded(1000)
@given(histories(), scans)
def test_a_scan_without_identity_is_of_the_one_label_of_every_zone(history, one):
    """The plain rule: whichever zone it was, the same single label covers the instant."""
    one = one._replace(mailing_date=None, unique_tracking_id="")
    zones = [0] if one.time_basis == UTC else ZONES_MS
    covers = [
        [lab for lab in history if lab.valid_from_ms <= one.event_time_ms - zone < lab.valid_to_ms]
        for zone in zones
    ]
    found = covering(history, one)
    if all(len(labels) == 1 and labels == covers[0] for labels in covers):
        assert found.label == covers[0][0]
    else:
        assert found.label is None
        possible = {lab.index for labels in covers for lab in labels}
        wanted = Reason.LABEL_AMBIGUOUS if len(possible) > 1 else Reason.LABEL_NEEDED
        assert found.reason is wanted


@st.composite
def used_again(draw):
    """Pieces of one number, each with its owner, in windows that do not overlap, and a scan of one
    of them as its feed gives it."""
    pieces, start = [], T0
    for index in range(draw(st.integers(1, 4))):
        start += draw(st.integers(0, 60)) * HOUR_MS
        end = start + draw(st.integers(30, 200)) * HOUR_MS
        pieces.append(
            label(
                index,
                mid=f"90000000{index}",
                valid_from_ms=start,
                valid_to_ms=end,
                mailing_date=draw(st.sampled_from([None, 20_000 + index])),
                unique_tracking_id=draw(st.sampled_from(["", f"u{index}"])),
            )
        )
        start = end
    true = draw(st.sampled_from(pieces))
    instant = draw(st.integers(true.valid_from_ms, true.valid_to_ms - 1))
    basis = draw(st.sampled_from([UTC, LOCAL, AMBIGUOUS]))
    wall = instant if basis == UTC else instant + draw(st.sampled_from(ZONES_MS))
    seen = Scan(
        wall,
        basis,
        20_000 + true.index if draw(st.booleans()) else None,
        f"u{true.index}" if draw(st.booleans()) else "",
    )
    registered = draw(st.lists(st.sampled_from(pieces), unique=True))
    return true, seen, [one._replace(index=at) for at, one in enumerate(registered)], instant


@bounded(2000)
@given(used_again())
def test_a_number_used_again_never_goes_to_the_other_owner(drawn):
    """Whatever is registered of the number's pieces, a scan gets its own piece's label or none."""
    true, seen, registered, _ = drawn
    found = covering(registered, seen).label
    assert found is None or found.mid == true.mid


@bounded(500)
@given(used_again())
def test_what_is_ambiguous_never_becomes_certain(drawn):
    true, seen, registered, _ = drawn
    if covering(registered, seen).reason is Reason.LABEL_AMBIGUOUS:
        more = [*registered, true._replace(index=len(registered))]
        assert covering(more, seen).reason is Reason.LABEL_AMBIGUOUS
