"""Lines -> the records of one transaction, sorted by topic partition.

Order within a partition is the file's. Records are (key, value, timestamp, headers); the header
`mg-origin` is `<first 16 hex digits of the file's hash>:<line number from 1>`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from connectors.see_files.line_reader import LineError, LineReader
from connectors.see_files.line_splitter import LINE_BYTES_MAX, LineSplitter

Record = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes]]]

PORTION_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of lines in one transaction; ordinary lines reach their number long before."""


@dataclass(slots=True)
class Portion:
    """Lines that go into one transaction; `first_line` counts from 1."""

    first_line: int
    lines: list[bytes] = field(default_factory=list)
    is_last: bool = False


@dataclass(slots=True)
class Batch:
    """Records of one transaction by partition, and how many there are."""

    raw: dict[int, list[Record]] = field(default_factory=dict)
    quarantine: dict[int, list[Record]] = field(default_factory=dict)
    raw_count: int = 0
    quarantined: int = 0


def portions(chunks: Iterable[bytes], *, done: int, lines_max: int) -> Iterator[Portion]:
    """The file's lines after the first `done`, in portions; the last one may be empty."""
    splitter = LineSplitter()
    portion = Portion(done + 1)
    size = 0
    number = 0
    for lines in _line_lists(chunks, splitter):
        skipped = min(max(done - number, 0), len(lines))
        number += len(lines)
        for line in lines[skipped:] if skipped else lines:
            if len(portion.lines) >= lines_max or size + len(line) > PORTION_BYTES_MAX:
                yield portion
                portion = Portion(portion.first_line + len(portion.lines))
                size = 0
            portion.lines.append(line)
            size += len(line)
    portion.is_last = True
    yield portion


def _line_lists(chunks: Iterable[bytes], splitter: LineSplitter) -> Iterator[list[bytes]]:
    for chunk in chunks:
        yield splitter.feed(chunk)
    yield splitter.finish()


class BatchMaker:
    """Makes the batches of one file.

    `hash_of` is the partitioner's hash of a key (murmur2 as every Kafka client has it, positive).
    """

    def __init__(
        self,
        reader: LineReader,
        hash_of: Callable[[bytes], int],
        *,
        origin: str,
        file_name: str,
        raw_partitions: int,
        quarantine_partitions: int,
    ) -> None:
        self._reader = reader
        self._hash_of = hash_of
        self._origin = origin.encode()
        self._file_name = file_name.encode("utf-8", "surrogateescape")
        self._raw_partitions = raw_partitions
        self._quarantine_partitions = quarantine_partitions

    def make(self, portion: Portion, now_ms: int) -> Batch:
        """Records of a portion; `now_ms` is the time received."""
        read, hash_of, partitions = self._reader.read, self._hash_of, self._raw_partitions
        origin = self._origin
        batch = Batch()
        raw = batch.raw
        for number, line in enumerate(portion.lines, start=portion.first_line):
            scan = read(line)
            if isinstance(scan, LineError):
                self._quarantine(batch, scan, line, number, now_ms)
                continue
            key, value = scan
            partition = hash_of(key) % partitions
            record: Record = (key, value, now_ms, [("mg-origin", b"%b:%d" % (origin, number))])
            if partition in raw:
                raw[partition].append(record)
            else:
                raw[partition] = [record]
        batch.raw_count = len(portion.lines) - batch.quarantined
        return batch

    def _quarantine(
        self, batch: Batch, error: LineError, line: bytes, number: int, now_ms: int
    ) -> None:
        origin = b"%b:%d" % (self._origin, number)
        key = error.number or origin
        headers = [
            ("mg-reason", error.reason.value.encode()),
            ("mg-origin", origin),
            ("mg-file", self._file_name),
            ("mg-column", b"%d" % error.column),
            ("mg-field", error.field.encode()),
            ("mg-expected", error.expected.encode()),
        ]
        if len(line) >= LINE_BYTES_MAX:
            headers.append(("mg-cut", b"%d" % LINE_BYTES_MAX))
        partition = self._hash_of(key) % self._quarantine_partitions
        batch.quarantine.setdefault(partition, []).append((key, line, now_ms, headers))
        batch.quarantined += 1
