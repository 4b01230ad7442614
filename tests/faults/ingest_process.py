"""One ingest in a process of its own, to be killed: `python -m tests.faults.ingest_process
BOOTSTRAP PREFIX FILE GUARD`.

Prints a line after every commit, so that the test knows where it is. GUARD is `guarded`, or:
`split` writes the progress in a transaction after the one with the records; `unfenced` uses a
transactional id of its own for every start.
"""

import asyncio
import sys
import uuid
from pathlib import Path

from connectors.see_files.batches import Batch, Portion
from connectors.see_files.facility_time import FacilityClock
from connectors.see_files.file_progress import Progress
from connectors.see_files.ingest import FileIngest
from connectors.see_files.limits import IngestLimits
from connectors.see_files.line_reader import LineReader
from connectors.see_files.source_file import SourceFile
from streams.settings import KafkaSettings, LayoutSettings
from streams.transactions import TransactionalProducer

GUARDED, SPLIT, UNFENCED = "guarded", "split", "unfenced"
LINES_A_TRANSACTION = 250
RECORDS_WRITTEN = "records written, progress not"


class SplitIngest(FileIngest):
    """Records first, progress after: what a kill in between leaves is taken in twice."""

    async def _commit(
        self, producer: TransactionalProducer, portion: Portion, batch: Batch
    ) -> None:
        await producer.begin()
        await self._send_records(producer, batch)
        await producer.commit()
        print(RECORDS_WRITTEN, flush=True)
        await super()._commit(producer, portion, Batch(raw_count=batch.raw_count))


class UnfencedIngest(FileIngest):
    """Nobody is fenced: two runs over one content do not know of each other."""

    @property
    def transactional_id(self) -> str:
        return f"{super().transactional_id}-{uuid.uuid4().hex}"


INGESTS = {GUARDED: FileIngest, SPLIT: SplitIngest, UNFENCED: UnfencedIngest}


def say(progress: Progress) -> None:
    print(progress.lines, flush=True)


async def main() -> None:
    bootstrap, prefix, file, guard = sys.argv[1:]
    with SourceFile(Path(file)) as source:
        ingest = INGESTS[guard](
            KafkaSettings(bootstrap=bootstrap),
            LayoutSettings(prefix=prefix, app_id=prefix),
            source,
            source.check(),
            LineReader(FacilityClock({})),
            by="test",
            limits=IngestLimits(lines_a_transaction=LINES_A_TRANSACTION),
            on_progress=say,
        )
        await ingest.run()


if __name__ == "__main__":
    asyncio.run(main())
