"""[core] What a decision reads of a label, and which label a scan is of.

A PIC can be used again, so the registry holds a PIC's whole history. The label that covers a scan
says which piece the scan is of. Source: design of piece identity, PIC with mailing date or unique
tracking id, or, where a feed gives neither, the label whose validity window covers the scan.

Whoever is not certain gets nothing: a scan that may be of two pieces is of none.
"""

from collections.abc import Iterable
from typing import NamedTuple

from schemas.reasons import Reason

HOUR_MS = 3_600_000
# Wall clocks of the world: UTC−12 to UTC+14. UTC is the wall clock less its zone's distance.
WALL_CLOCK_AHEAD_MS_MAX = 14 * HOUR_MS
WALL_CLOCK_BEHIND_MS_MAX = 12 * HOUR_MS
# TimeBasis, the symbol's index in the schema of a tracking event.
_UTC = 1


class LabelEntry(NamedTuple):
    """One label of a PIC. Instants are Unix ms, UTC; `valid_to_ms` is exclusive.

    `index` is its place in the PIC's history; `mid` the MID that owns the piece; `generated_by`
    the tenant that generated the label; `merchant_token_id` the merchant's access token that it
    was generated under, or empty; `mailing_date` days since 1970 or None; `unique_tracking_id`
    that of the piece, or empty.
    """

    label_id: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks
    mid: str
    generated_by: str
    merchant_token_id: str
    valid_from_ms: int
    valid_to_ms: int
    mailing_date: int | None
    unique_tracking_id: str


class Scan(NamedTuple):
    """What a scan says about its piece beside the PIC.

    `event_time_ms` is UTC or a local wall clock as `time_basis` says (index of the symbol: 1 UTC);
    `mailing_date` is None and `unique_tracking_id` empty where the feed does not give them.
    """

    event_time_ms: int
    time_basis: int
    mailing_date: int | None
    unique_tracking_id: str


class Covering(NamedTuple):
    """The label of a scan; without one the reason: LABEL_NEEDED or LABEL_AMBIGUOUS.

    What is needed may still come. What is ambiguous stays so, as a history only grows.
    """

    label: LabelEntry | None
    reason: Reason


NO_LABEL = Covering(None, Reason.LABEL_NEEDED)
"""What covers a scan of a number without any label."""
_TWO = Covering(None, Reason.LABEL_AMBIGUOUS)


def covering(history: Iterable[LabelEntry], scan: Scan) -> Covering:
    """The one label of the PIC's history that the scan is of."""
    if scan.mailing_date is not None or scan.unique_tracking_id:
        return _only([label for label in history if _is_same_piece(label, scan)])
    first_ms, last_ms = instants(scan)
    possible = [
        one
        for one in history
        if max(first_ms, one.valid_from_ms) <= min(last_ms, one.valid_to_ms - 1)
    ]
    if len(possible) == 1:
        label = possible[0]
        # In some zone the scan lies outside: it may be of a piece whose label is not known yet.
        if not (label.valid_from_ms <= first_ms and last_ms < label.valid_to_ms):
            return NO_LABEL
    return _only(possible)


def instants(scan: Scan) -> tuple[int, int]:
    """First and last instant, Unix ms, that the scan's time can mean, in whatever zone."""
    if scan.time_basis == _UTC:
        return scan.event_time_ms, scan.event_time_ms
    return (
        scan.event_time_ms - WALL_CLOCK_AHEAD_MS_MAX,
        scan.event_time_ms + WALL_CLOCK_BEHIND_MS_MAX,
    )


def _is_same_piece(label: LabelEntry, scan: Scan) -> bool:
    """Date or id, whichever both give, and none that both give differs."""
    same = False
    if scan.unique_tracking_id and label.unique_tracking_id:
        if scan.unique_tracking_id != label.unique_tracking_id:
            return False
        same = True
    if scan.mailing_date is not None and label.mailing_date is not None:
        if scan.mailing_date != label.mailing_date:
            return False
        same = True
    return same


def _only(labels: list[LabelEntry]) -> Covering:
    if not labels:
        return NO_LABEL
    return Covering(labels[0], Reason.ALLOWED) if len(labels) == 1 else _TWO
