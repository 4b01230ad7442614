"""Heartbeats: records without meaning that show a follower that its log still takes appends."""

import asyncio
import contextlib
import secrets

import structlog
from aiokafka.errors import KafkaError

from streams.changes import heartbeat_change
from streams.ending import end_tasks
from streams.log_appender import LogAppender
from streams.settings import KafkaSettings

log = structlog.get_logger(__name__)

# One key for all of them: compaction leaves the last.
KEY = b"heartbeat"
CLOSE_S_MAX = 2.0


class Heartbeats:
    """Appends one at a time, in the background; a lost one is followed by the next."""

    def __init__(self, kafka: KafkaSettings, topic: str, *, timeout_s: float) -> None:
        self._appender = LogAppender(kafka, topic, metadata_max_age_ms=round(timeout_s * 1000))
        self._timeout_s = timeout_s
        self._task: asyncio.Task[None] | None = None
        self.trouble = ""

    def beat(self) -> None:
        """Append a heartbeat, unless one is under way."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._append(), name="authorization heartbeat")

    @property
    def clock_offset_s(self) -> float:
        """This machine's clock minus the broker's, at the last heartbeat; NaN before."""
        return self._appender.clock_offset_s

    async def stop(self) -> None:
        """Give up what is under way and close the connection."""
        if self._task is not None:
            await end_tasks([self._task], CLOSE_S_MAX)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._appender.close()

    async def _append(self) -> None:
        try:
            await self._appender.append(KEY, heartbeat(), timeout_s=self._timeout_s)
        except (KafkaError, OSError, TimeoutError) as error:
            self.trouble = f"a heartbeat could not be appended ({error!r})"
            log.warning("heartbeat_not_appended", problem=repr(error))
        else:
            self.trouble = ""


def heartbeat() -> bytes:
    """A framed heartbeat; each one is different, so that it can be told apart in the log."""
    return heartbeat_change(
        secrets.token_hex(8), actor="", reason="", change_id=secrets.token_bytes(16)
    )
