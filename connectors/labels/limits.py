"""Bounds of what writes labels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """Bounds of one registry, and of one import through it."""

    # A history of a few labels has some 300 bytes; the largest that is allowed has 300 kB.
    pics_a_transaction: int = 2_000
    transaction_timeout_ms: int = 10_000
    rows_max: int = 20_000_000
    # A file of the wrong kind has an error in every row: a person reads the first ones.
    errors_max: int = 1_000
    rows_at_once: int = 2_000
