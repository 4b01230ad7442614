"""[core] What a decision reads of a label: who generated it, when, for whose MID.

A PIC can be used again, so the registry holds a PIC's whole history. The entry that covers a scan
says which piece the scan is of; source: design of piece identity, PIC with mailing date or unique
tracking id, or, where a feed gives neither, the label whose validity window covers the scan.
"""

from typing import NamedTuple


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
