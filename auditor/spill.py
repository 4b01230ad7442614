"""[shell] What the judge sets aside: a private database on disk that goes when it is closed.

SQLite keeps some megabytes of it in memory and the rest in an unnamed file in the folder for
temporary files (TMPDIR).
"""

import marshal
import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from auditor.contents import Record
from auditor.findings import RawPosition
from auditor.hold_spill import DiskHolds, DiskLabels
from auditor.placements import Open
from auditor.shelves import Waiting

ROWS_AT_ONCE = 5_000
CACHE_KIB = 16_384
TABLES = """
CREATE TABLE waiting (place INTEGER PRIMARY KEY, queue INTEGER, raw INTEGER, record BLOB);
CREATE INDEX waiting_by_queue ON waiting (queue, place);
CREATE TABLE open (place INTEGER PRIMARY KEY, part INTEGER, raw INTEGER, topic TEXT, turn INTEGER,
                   record BLOB, later INTEGER DEFAULT 0);
CREATE INDEX open_by_position ON open (part, raw);
"""


class DiskSpill:
    """Queues and open positions of one judge (auditor/shelves.py, auditor/placements.py)."""

    def __init__(self) -> None:
        # An empty name is a temporary database of this connection's own. One judge uses it, but
        # is started in one thread and judges in another.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.executescript(TABLES)
        self.labels = DiskLabels(self._database)
        self.holds = DiskHolds(self._database)
        self._any_later = False
        self._rows: list[tuple[int, int, str, int | None, bytes | None]] = []
        self.any_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def wait(self, queue: int, waiting: list[Waiting]) -> None:
        """Add to the end of a queue."""
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO waiting (queue, raw, record) VALUES (?, ?, ?)",
            ((queue, raw, _packed(record)) for raw, record in waiting),
        )
        self._database.execute("COMMIT")

    def take(self, queue: int, most: int) -> list[Waiting]:
        """Remove and answer the first of a queue."""
        rows = self._database.execute(
            "SELECT place, raw, record FROM waiting WHERE queue = ? ORDER BY place LIMIT ?",
            (queue, most),
        ).fetchall()
        if rows:
            self._database.execute(
                "DELETE FROM waiting WHERE queue = ? AND place <= ?", (queue, rows[-1][0])
            )
        return [(raw, _unpacked(packed)) for _, raw, packed in rows]

    def absent(self, position: RawPosition, topic: str) -> None:
        """Note that a record due in a topic did not stand in its turn."""
        self._add((*position, topic, None, None))

    def standing(self, position: RawPosition, topic: str, record: Record, *, turn: bool) -> None:
        """Note a record that is not what must stand; `turn` says that it stood in its turn."""
        self._add((*position, topic, int(turn), _packed(record)))

    def open_in(self, partition: int, start: int, end: int) -> Iterator[Open]:
        """The open positions of a raw partition with start ≤ offset < end, in order."""
        condition = "part = ? AND raw >= ? AND raw < ? AND NOT later"
        yield from self._read(condition, (partition, start, end))

    def settle(self, partition: int, start: int, end: int) -> None:
        """Forget these: they were judged."""
        self._write()
        self._database.execute(
            "DELETE FROM open WHERE part = ? AND raw >= ? AND raw < ? AND NOT later",
            (partition, start, end),
        )

    def postpone(self, position: RawPosition, topics: list[str]) -> None:
        """Do not forget these yet: they are judged when the event is decided anew."""
        self._any_later = True
        self._database.executemany(
            "UPDATE open SET later = 1 WHERE part = ? AND raw = ? AND topic = ?",
            [(*position, topic) for topic in topics],
        )

    def postponed(self, partition: int, offset: int) -> Open | None:
        """What was postponed about a position, and is forgotten now."""
        if not self._any_later:
            return None
        found = list(self._read("part = ? AND raw = ? AND later", (partition, offset)))
        self._database.execute(
            "DELETE FROM open WHERE part = ? AND raw = ? AND later", (partition, offset)
        )
        return found[0] if found else None

    def left(self) -> Iterator[Open]:
        """All that were not settled, by raw position."""
        yield from self._read("1", ())

    def _add(self, row: tuple[int, int, str, int | None, bytes | None]) -> None:
        self.any_open = True
        self._rows.append(row)
        if len(self._rows) >= ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        if not self._rows:
            return
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO open (part, raw, topic, turn, record) VALUES (?, ?, ?, ?, ?)", self._rows
        )
        self._database.execute("COMMIT")
        self._rows.clear()

    def _read(self, condition: str, values: tuple[int, ...]) -> Iterator[Open]:
        self._write()
        query = "SELECT part, raw, topic, turn, record FROM open WHERE "
        open_one: Open | None = None
        for part, raw, topic, turn, packed in self._database.execute(
            f"{query}{condition} ORDER BY part, raw, place", values
        ):
            position = RawPosition(part, raw)
            if open_one is None or open_one.position != position:
                if open_one is not None:
                    yield open_one
                open_one = Open(position)
            if packed is None:
                open_one.absent.add(topic)
            else:
                open_one.standing.append((topic, _unpacked(packed), bool(turn)))
        if open_one is not None:
            yield open_one


def _packed(record: Record) -> bytes:
    return marshal.dumps(tuple(record))


def _unpacked(packed: bytes) -> Record:
    return Record(*marshal.loads(packed))  # noqa: S302  (our own, written by this process)
