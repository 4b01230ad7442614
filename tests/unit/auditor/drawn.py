"""Drawn values that several tests of the two implementations share."""

from hypothesis import strategies as st

TEXT = st.text(max_size=12)


@st.composite
def mutated(draw: st.DrawFn, values: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of a record, often left alone, else cut, flipped, extended or overwritten."""
    value = bytearray(draw(values))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(value)))
        what = draw(st.sampled_from(["flip", "cut", "insert", "extend"]))
        if what == "cut":
            del value[at:]
        elif what == "insert":
            value[at:at] = draw(st.binary(min_size=1, max_size=2))
        elif what == "extend":
            value += draw(st.binary(min_size=1, max_size=3))
        elif at < len(value):
            value[at] ^= draw(st.integers(1, 255))
    return bytes(value)
