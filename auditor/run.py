"""[shell] One audit: take the ends, judge what lies below them, report.

A large installation is judged by several processes, each a share of the raw partitions: Python
judges on one core. Each reads every tenant partition that its raw partitions lead to.
"""

import asyncio
import gc
import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from auditor.contents import ALL, Contents, Scope, Share
from auditor.ends import take_ends
from auditor.judge import Judgement, judge, merged
from auditor.kafka_records import CollectError, reading
from auditor.log import Replay
from auditor.report import Report
from auditor.spill import DiskSpill

SETTLE_S_MAX = 30.0
# A process takes a second to begin; a core judges some 30,000 events in that time.
OFFSETS_A_PROCESS_MIN = 100_000
PROGRESS_EVERY_S = 0.2
# Records come and go by the million and hold no cycles: looking for some took a third of the time.
COLLECT_AFTER = (100_000, 50, 1_000)
EVERYTHING = Scope()
Progress = Callable[[int, int], None]


async def audit(
    kafka_options: dict[str, Any],
    prefix: str,
    app_id: str,
    *,
    settle_s: float = SETTLE_S_MAX,
    scope: Scope = EVERYTHING,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Judge the deliveries of one installation, at rest or running.

    `kafka_options` are plain aiokafka options, at least `bootstrap_servers`. Open transactions
    are waited for, at most `settle_s` seconds for each kind of topic. `processes`: as many as
    there are cores by default, none of its own for little; 0 judges in this one. `progress`
    hears of raw records done, and of how many offsets there are. Raises AbsentError when a topic
    or the tenant does not exist, CollectError when reading fails.
    """
    contents, last = await take_ends(kafka_options, prefix, app_id, scope, settle_s=settle_s)
    total = raw_offsets(contents)
    if processes is None:
        processes = min(os.cpu_count() or 1, total // OFFSETS_A_PROCESS_MIN)
    processes = min(processes, len(contents.raw.partitions))
    if processes > 0 and _can_travel(kafka_options):
        return Report(await _in_processes(kafka_options, contents, last, processes, progress))
    done = Done([0], progress, total)
    async with reading(kafka_options, contents):
        return Report(await asyncio.to_thread(_judged, contents, last, ALL, done.heard))


def raw_offsets(contents: Contents) -> int:
    """How many offsets of raw are to be judged; some hold no record."""
    raw = contents.raw.partitions.values()
    return sum(part.end - max(part.begin, part.start) for part in raw)


@dataclass(slots=True)
class Done:
    """Raw records done, said to who wants to know."""

    counts: list[int]
    progress: Progress
    total: int

    def heard(self, records: int) -> None:
        """So many more."""
        self.counts[0] += records
        self.progress(min(self.counts[0], self.total), self.total)


def _judged(
    contents: Contents, last: Replay, share: Share, heard: Callable[[int], None]
) -> Judgement:
    with DiskSpill() as aside:
        return judge(contents, aside, share, heard, last=last)


def _can_travel(kafka_options: dict[str, Any]) -> bool:
    """Whether the options can be given to another process; a TLS context cannot."""
    try:
        pickle.dumps(kafka_options)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True


async def _in_processes(
    kafka_options: dict[str, Any],
    contents: Contents,
    last: Replay,
    processes: int,
    progress: Progress,
) -> Judgement:
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", processes + 1)
    total = raw_offsets(contents)
    stop = processes
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(processes, context, _begin, (counts,)) as pool:
        shares = [
            loop.run_in_executor(
                pool, _judge_share, kafka_options, contents, last, Share(n, processes)
            )
            for n in range(processes)
        ]
        try:
            waiting = set(shares)
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=PROGRESS_EVERY_S, return_when=asyncio.FIRST_EXCEPTION
                )
                progress(min(sum(counts[:processes]), total), total)
                for one in done:
                    one.result()
            return merged([share.result() for share in shares])
        except BrokenProcessPool as error:
            raise CollectError("a process that judges ended before its work was done") from error
        finally:
            # Without this the pool would wait until every share is judged to its end.
            counts[stop] = 1


class _StoppedError(Exception):
    """Nobody waits for this share any more."""


_counts: Any = None


def _begin(counts: Any) -> None:
    global _counts
    _counts = counts


def _judge_share(
    kafka_options: dict[str, Any], contents: Contents, last: Replay, share: Share
) -> Judgement:
    """In a process of its own."""
    gc.set_threshold(*COLLECT_AFTER)

    def heard(records: int) -> None:
        _counts[share.number] += records
        if _counts[share.of]:
            raise _StoppedError

    async def work() -> Judgement:
        async with reading(kafka_options, contents):
            return await asyncio.to_thread(_judged, contents, last, share, heard)

    return asyncio.run(work())
