"""Which label covers a scan: router and judge say the same, whatever the history."""

from hypothesis import example, given
from hypothesis import strategies as st

from auditor import labels
from auditor.scan_reader import TIME_BASES, Scan
from streams import label_facts

HOUR_MS = 3_600_000
# Around the 14 and 12 hours that a local time may be off, to the millisecond; a window may be none.
INSTANTS = st.builds(
    lambda hours, off: hours * HOUR_MS + off,
    st.sampled_from([-30, -14, -12, -1, 0, 1, 12, 14, 30]),
    st.integers(-1, 1),
)
DATES = st.sampled_from([None, None, 20_000, 20_001])
UNIQUE = st.sampled_from(["", "", "U1", "U2"])


@given(
    st.lists(st.tuples(INSTANTS, INSTANTS, DATES, UNIQUE), max_size=4),
    INSTANTS,
    st.sampled_from(TIME_BASES),
    DATES,
    UNIQUE,
)
@example([(10, 5, None, ""), (-30 * HOUR_MS, 30 * HOUR_MS, None, "")], 7, "LOCAL", None, "")
def test_both_name_the_same_label_or_the_same_reason(history, time_ms, basis, date, unique):
    """A window that ends before it begins holds no instant."""
    ours = [
        label_facts.LabelEntry(f"l{n}", n, "901234567", "a", "", *one)
        for n, one in enumerate(history)
    ]
    theirs = [labels.Entry(n, f"l{n}", "901234567", "a", "", *one) for n, one in enumerate(history)]
    scan = label_facts.Scan(time_ms, TIME_BASES.index(basis), date, unique)
    found = label_facts.covering(ours, scan)
    judged = labels.covering(theirs, Scan("", "", time_ms, basis, "", date, "SEE", unique, 0))
    assert found.reason is judged.reason
    assert (found.label and found.label.label_id) == (judged.label and judged.label.label_id)
