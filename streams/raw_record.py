"""[core] A record of the raw topic as routing takes it."""

from collections.abc import Sequence
from typing import NamedTuple

from streams.record_format import Header

RawFields = tuple[int, int, int, bytes | None, bytes | None, Sequence[Header]]
"""`RawRecord` as a plain tuple, which the hot loop takes apart in one step."""


class RawRecord(NamedTuple):
    """Where it stands, when it was received (Unix ms), and what it says."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()
