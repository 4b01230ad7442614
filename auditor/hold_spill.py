"""[shell] Labels, and events that wait or have waited for one, in a judge's database on disk."""

import marshal
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice

from auditor.contents import Record
from auditor.holds import Held, State
from auditor.labels import Row
from auditor.ledger import turn_anew

ROWS_AT_ONCE = 5_000
TABLES = """
CREATE TABLE anew (part INTEGER, raw INTEGER, before INTEGER, number INTEGER,
                   PRIMARY KEY (part, raw)) WITHOUT ROWID;
CREATE TABLE held (part INTEGER, raw INTEGER, pic TEXT, since INTEGER, hold_ms INTEGER,
                   told INTEGER, awaits TEXT, state INTEGER, ended_by INTEGER, record BLOB);
CREATE UNIQUE INDEX held_by_position ON held (part, raw);
CREATE INDEX held_by_number ON held (part, pic) WHERE state < 2;
CREATE INDEX held_due ON held (part, raw) WHERE state = 1;
"""
HELD = "SELECT pic, since, hold_ms, told, awaits, state, ended_by, record FROM held WHERE "
ADD = "INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LABELS, NUMBERS = "SELECT at, value FROM ", "SELECT pic FROM "
HeldRow = tuple[str, int, int, int, str, int, int, bytes]


class DiskLabels:
    """All records of labels partitions (`auditor.labels.LabelStore`)."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def load(self, partition: int, rows: Iterable[Row]) -> None:
        """Keep offset, PIC and value of a partition's records, in order."""
        name = f"label_{partition}"
        self._database.execute(
            f"CREATE TABLE {name} (at INTEGER PRIMARY KEY, pic TEXT, value BLOB)"
        )
        add = " ".join(("INSERT INTO", name, "VALUES (?, ?, ?)"))
        coming = iter(rows)
        while some := list(islice(coming, ROWS_AT_ONCE)):
            self._database.execute("BEGIN")
            self._database.executemany(add, some)
            self._database.execute("COMMIT")
        # Afterwards: a sorted index is made many times faster than one that grows at random.
        self._database.execute(f"CREATE INDEX {name}_by_number ON {name} (pic, at)")

    def of(self, partition: int, pic: str) -> list[tuple[int, bytes | None]]:
        """Offset and value of every record of a number, in order."""
        rows = f"label_{partition} WHERE pic = ? ORDER BY at"
        return self._database.execute(f"{LABELS}{rows}", (pic,)).fetchall()


class DiskHolds:
    """Events that wait or have waited (`auditor.holds.HoldStore`)."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(TABLES)
        self._rows: list[tuple[int | str | bytes, ...]] = []
        self._with_anew: set[int] = set()

    def list_anew(self, partition: int, offset: int, before: int, number: int) -> None:
        """Note when an event is decided anew; the first time counts."""
        self._with_anew.add(partition)
        row = (partition, offset, before, number)
        self._database.execute("INSERT OR IGNORE INTO anew VALUES (?, ?, ?, ?)", row)

    def turn(self, partition: int, offset: int) -> int | None:
        """The turn that was noted for an event that is decided anew."""
        if partition not in self._with_anew:
            return None
        row = self._database.execute(
            "SELECT before, number FROM anew WHERE part = ? AND raw = ?", (partition, offset)
        ).fetchone()
        return None if row is None else turn_anew(*row)

    def add(self, held: Held) -> None:
        """A further event."""
        raw = held.raw
        self._rows.append(
            (
                raw.partition,
                raw.offset,
                held.pic,
                held.since,
                held.hold_ms,
                int(held.told),
                "/".join(held.awaits),
                int(held.state),
                held.ended_by,
                marshal.dumps(tuple(raw)),
            )
        )
        if len(self._rows) >= ROWS_AT_ONCE:
            self._write()

    def find(self, partition: int, offset: int) -> Held | None:
        """The event of a raw position, if it needed a label."""
        found = self._read("part = ? AND raw = ?", (partition, offset))
        return next(found, None)

    def change(self, partition: int, offset: int, state: State, ended_by: int = -1) -> None:
        """What becomes of it."""
        self._write()
        self._database.execute(
            "UPDATE held SET state = ?, ended_by = ? WHERE part = ? AND raw = ?",
            (int(state), ended_by, partition, offset),
        )

    def relabelled(self, partition: int, start: int, end: int) -> Iterator[Held]:
        """WAITING and DUE events of numbers with a label record at start ≤ offset < end."""
        changed = f"label_{partition} WHERE at >= ? AND at < ?"
        condition = f"part = ? AND state < 2 AND pic IN ({NUMBERS}{changed}) ORDER BY raw"
        return iter(list(self._read(condition, (partition, start, end))))

    def due(self, partition: int, pic: str = "") -> list[int]:
        """Raw offsets that are DUE, in order; of one number if one is given."""
        self._write()
        rows = self._database.execute(
            "SELECT raw FROM held WHERE part = ? AND state = 1 AND ? IN ('', pic) ORDER BY raw",
            (partition, pic),
        )
        return [raw for (raw,) in rows]

    def _write(self) -> None:
        if not self._rows:
            return
        self._database.execute("BEGIN")
        self._database.executemany(ADD, self._rows)
        self._database.execute("COMMIT")
        self._rows.clear()

    def _read(self, condition: str, values: tuple[int | str, ...]) -> Iterator[Held]:
        self._write()
        return map(_held, self._database.execute(f"{HELD}{condition}", values))


def _held(row: HeldRow) -> Held:
    pic, since, hold_ms, told, awaits, state, ended_by, packed = row
    raw = Record(*marshal.loads(packed))  # noqa: S302  (our own, written by this process)
    tenants = tuple(awaits.split("/")) if awaits else ()
    return Held(raw, pic, since, hold_ms, bool(told), tenants, State(state), ended_by)
