"""[core] Imports: rows wait, and are judged at their closing record, all or nothing.

A closing record is judged in two passes: first every row on the state that the rows before it
would leave (an overlay of the grants; nothing else of the state is altered by rows), then, only if
each would be accepted, all of them take effect. So nothing need ever be undone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from streams.acceptance import (
    ACCEPTED,
    NOT_IMPORTABLE,
    STAGED,
    SUBJECT,
    grant_fault,
    grant_narrows,
    judge_grant,
)
from streams.change_reader import Change
from streams.changes import import_subject
from streams.facts import Grant, at_offset, grant_of
from streams.rights_state import RightsState

IMPORT_ROWS_MAX = 1_000_000
IMPORT_MS_MAX = 600_000

TOO_LONG = "void:import_too_long"
COUNT = "void:import_count"
DIGEST = "void:import_digest"
LATE = "void:import_late"
ROW = "void:import_row"


class Row(NamedTuple):
    """A staged grant. `fault` is what voids it whatever the rights are; empty: nothing."""

    change_id: bytes
    base: int
    restricting: bool
    fault: str
    grant: Grant


@dataclass(slots=True)
class Import:
    """The rows so far; `first_ms` is the broker's time of the first one."""

    first_ms: int
    rows: list[Row] = field(default_factory=list)


class Imports:
    """Every import that was begun and neither closed nor dropped."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[bytes, Import] = {}

    def __len__(self) -> int:
        return len(self._open)

    def items(self) -> Iterator[tuple[bytes, Import]]:
        """Each open import with its id, in the order of their first rows."""
        return iter(self._open.items())

    def restore(self, import_id: bytes, staged: Import) -> None:
        """Put back an import from a local snapshot."""
        self._open[import_id] = staged

    def drop_late(self, timestamp_ms: int, closing: bytes | None) -> None:
        """Drop what is too old at `timestamp_ms`, except the import that is being closed."""
        late = [
            import_id
            for import_id, staged in self._open.items()
            if timestamp_ms - staged.first_ms > IMPORT_MS_MAX and import_id != closing
        ]
        for import_id in late:
            del self._open[import_id]

    def stage(self, import_id: bytes, change: Change, timestamp_ms: int) -> str:
        """Let a row wait; the verdict on it."""
        if change.kind != "GRANT":
            return NOT_IMPORTABLE
        staged = self._open.get(import_id)
        if staged is None:
            staged = self._open[import_id] = Import(timestamp_ms)
        elif len(staged.rows) >= IMPORT_ROWS_MAX:
            return TOO_LONG
        grant = grant_of(change.body, change.actor, change.reason, -1)
        row = Row(change.change_id, change.base, change.restricting, grant_fault(change), grant)
        staged.rows.append(row)
        return STAGED

    def close(
        self, state: RightsState, change: Change, offset: int, timestamp_ms: int
    ) -> tuple[str, bool]:
        """Judge a closing record; accepted, its rows take effect.

        Returns the verdict, and whether a row restricts.
        """
        import_id = change.import_id
        if import_id is None or change.subject != import_subject(import_id):
            return SUBJECT, False
        staged = self._open.pop(import_id, None)
        rows = staged.rows if staged is not None else []
        if staged is None or len(rows) != change.body["rows"]:
            return COUNT, False
        if sha256(b"".join(row.change_id for row in rows)).digest() != change.body["digest"]:
            return DIGEST, False
        if timestamp_ms - staged.first_ms > IMPORT_MS_MAX:
            return LATE, False
        judged = _judge_rows(state, rows, offset)
        if judged is None:
            return ROW, False
        grants, restricting = judged
        for grant in grants:
            state.put_grant(grant, new=grant.grant_id not in state.grants)
        return ACCEPTED, restricting


def _judge_rows(
    state: RightsState, rows: list[Row], offset: int
) -> tuple[list[Grant], bool] | None:
    """None when any row would be void; else the grants in force, and whether any restricts."""
    grants: list[Grant] = []
    before: dict[str, Grant] = {}
    in_force = state.grants.find
    restricting = False
    for row in rows:
        grant_id = row.grant.grant_id
        present = before.get(grant_id) or in_force(grant_id)
        if row.fault or judge_grant(state, row.grant, row.base, present) != ACCEPTED:
            return None
        restricting = restricting or row.restricting or grant_narrows(present, row.grant)
        grant = before[grant_id] = at_offset(row.grant, offset)
        grants.append(grant)
    return grants, restricting
