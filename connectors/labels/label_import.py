"""Import a file of labels: all of it is checked before anything of it is written.

What the file would make of each number's history is staged in a temporary store on disk, so memory
stays bounded whatever the size of the file. Written is in transactions of some thousand numbers: a
kill between two leaves a part, and the same file again adds the rest, as a label counts once.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from connectors.labels.limits import LabelLimits
from connectors.labels.registry import LabelRegistry
from streams.grant_csv import RowError
from streams.label_csv import LabelRow, read_labels
from streams.label_history import Label, LabelConflictError, merged
from streams.label_store import LabelStore, LabelStores
from streams.packed_labels import pack, unpack

Progress = Callable[[int, int], None]


class Checked(NamedTuple):
    """What a file holds: rows, and how many of their labels are not registered yet."""

    rows: int
    new: int
    errors: list[RowError]


class LabelImport:
    """One file, first `check`, then, without errors, `write`. `close` removes what was staged."""

    def __init__(self, registry: LabelRegistry, limits: LabelLimits | None = None) -> None:
        self._registry = registry
        self._limits = limits or LabelLimits()
        self._staged: LabelStore = LabelStores(None).open("import", "import")
        self._pics = 0

    async def check(self, lines: Iterable[str], *, on_progress: Progress) -> Checked:
        """Read all rows; every error by line and column, at most `errors_max`, then it stops."""
        read = read_labels(lines)
        errors: list[RowError] = []
        rows = new = 0
        while chunk := list(islice(read, self._limits.rows_at_once)):
            good = [one for one in chunk if isinstance(one, LabelRow)]
            errors += [one for one in chunk if isinstance(one, RowError)]
            rows += len(good)
            new += self._stage(good, errors)
            if rows > self._limits.rows_max:
                errors.append(
                    RowError(good[-1].line, "", "", f"at most {self._limits.rows_max} rows")
                )
            if len(errors) >= self._limits.errors_max or rows > self._limits.rows_max:
                break
            on_progress(rows, 0)
            # Connections live on the same loop, and must not starve.
            await asyncio.sleep(0)
        errors.sort(key=lambda error: error.line)
        return Checked(rows, new, errors[: self._limits.errors_max])

    def _stage(self, rows: list[LabelRow], errors: list[RowError]) -> int:
        """Merge rows into what is staged, else registered; answers how many labels are new."""
        pics = sorted({row.pic for row in rows})
        staged = self._staged.find([pic.encode("ascii") for pic in pics])
        known = {
            pic: unpack(pic, packed) for pic, packed in zip(pics, staged, strict=True) if packed
        }
        known.update(self._registry.histories([pic for pic in pics if pic not in known]))
        changed: dict[str, list[Label]] = {}
        new = 0
        for line, pic, label in rows:
            try:
                history = merged(known[pic], [label])
            except LabelConflictError as error:
                errors.append(RowError(line, "label_id", error.label_id, error.expected))
                continue
            if len(history) > len(known[pic]):
                new += 1
                known[pic] = changed[pic] = history
        self._pics += len(changed)
        self._staged.put(
            [(pic.encode("ascii"), pack(pic, history)) for pic, history in changed.items()],
            self._pics,
        )
        return new

    async def write(self, *, on_progress: Progress) -> int:
        """Register what was staged; answers how many labels are new.

        Raises TransactionFailedError when another writer has taken over, or the broker has gone:
        the same file again adds what is missing.
        """
        done = written = 0
        for batch in self._batches():
            written += (await self._registry.register(batch)).new
            done += len(batch)
            on_progress(done, max(done, self._pics))
        return written

    def _batches(self) -> Iterator[dict[str, list[Label]]]:
        items = iter(self._staged.items())
        while chunk := list(islice(items, self._limits.pics_a_transaction)):
            yield {key.decode("ascii"): unpack(key.decode("ascii"), one) for key, one in chunk}

    def close(self) -> None:
        """Remove what was staged."""
        self._staged.close()
