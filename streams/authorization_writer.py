"""Appends changes to the authorization log and brings back their verdict.

Kafka has no compare-and-append, so nobody knows at the append whether a change counts: every
follower judges it by the same rule. The writer answers its caller only after its own follower has
read the record and judged it.

A lost answer leaves the outcome of an append unknown. The change is then appended again, with the
same change id, as a change id counts once, where it stands first.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import structlog
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from streams.clients import ADDRESS_HINT
from streams.errors import (
    BrokerUnreachableError,
    ChangeVoidError,
    EmptyLogError,
    InputError,
    LeaseExpiredError,
    MidgateError,
    NotAuthorizedError,
)
from streams.follower import Follower
from streams.log_appender import LogAppender, fresh_key
from streams.log_end import LogClient
from streams.log_watch import HINT_APPLY
from streams.rights import Applied
from streams.settings import KafkaSettings, LayoutSettings

log = structlog.get_logger(__name__)

# With an unknown outcome each; more would not help within the time a caller waits.
ATTEMPTS_MAX = 5
BACKOFF_S = 0.1
# Rows of an import appended at one go, and repeated together after an unknown outcome.
CHUNK_CHANGES = 10_000
VOID = "void:"
HINTS = {
    "base": "somebody changed it meanwhile: look at it again, then repeat the command",
    "terminal": "what has ended stays ended: use a new id",
    "unknown_reference": "the tenant, CRID, agreement or token it names is not there (any more)",
    "fixed": "this cannot be changed: end it and use a new id",
    "layout": "the settings differ from the layout in force: see `midgate topics list`",
    "import_late": "an import must close within ten minutes of its first row: run it again",
    "import_row": "a row was overtaken by another change: run the import again",
}


class AuthorizationWriter:
    """One idempotent, acks=all writer of the authorization log, on top of a running follower."""

    def __init__(self, kafka: KafkaSettings, layout: LayoutSettings, follower: Follower) -> None:
        self._kafka = kafka
        self._topic = layout.topics.authorization
        self._follower = follower
        self._attempt_s = kafka.request_timeout_ms / 1000
        self._metadata_max_age_ms = kafka.request_timeout_ms
        self._appender = LogAppender(
            kafka, self._topic, metadata_max_age_ms=self._metadata_max_age_ms
        )

    async def start(self) -> None:
        """Refuse a log that has not been begun: whatever is appended would be its record 0.

        Raises EmptyLogError, WrongLogError, BrokerUnreachableError, NotAuthorizedError.
        """
        client = LogClient(self._kafka, self._topic, metadata_max_age_ms=self._metadata_max_age_ms)
        try:
            async with asyncio.timeout(self._attempt_s):
                await client.open()
                end = await client.first_end()
        except (KafkaError, OSError) as error:
            raise self._explained(error) from error
        finally:
            await client.close()
        if not end.high_watermark:
            raise EmptyLogError(f"{self._topic} is empty", hint=HINT_APPLY)

    async def stop(self) -> None:
        """Close the connection; what is under way has an unknown outcome."""
        await self._appender.close()

    async def append(self, change: bytes, change_id: bytes, *, timeout_s: float = 10.0) -> Applied:
        """Append one change and return its verdict: accepted, or `repeat` when the very same
        change was judged before this process began to read.

        Raises ChangeVoidError when the rule refuses it; LeaseExpiredError when no verdict was
        read in time (the message says whether the change stands in the log);
        NotAuthorizedError, InputError when the broker refuses it; WrongLogError or
        UpgradeNeededError, without appending, when the follower has ended.
        """
        return await self.append_many([(change, change_id)], timeout_s=timeout_s)

    async def append_many(
        self,
        changes: Sequence[tuple[bytes, bytes]],
        *,
        timeout_s: float = 60.0,
        on_progress: Callable[[int], None] | None = None,
    ) -> Applied:
        """Append changes (bytes and change id) in order; the verdict of the *last* one counts.

        For imports: all rows, then the close, on whose verdict the rows depend. `on_progress`
        hears how many have been appended. Raises as `append`.
        """
        deadline = time.monotonic() + timeout_s
        last_id = changes[-1][1]
        verdict = asyncio.create_task(self._follower.wait_for_change(last_id, timeout_s))
        taken = False
        try:
            await asyncio.sleep(0)
            for first in range(0, len(changes), CHUNK_CHANGES):
                chunk = changes[first : first + CHUNK_CHANGES]
                taken = await self._append(chunk, verdict, deadline)
                if verdict.done():
                    break
                if not taken and first + len(chunk) < len(changes):
                    raise BrokerUnreachableError(
                        f"after {first} of {len(changes)} records no more could be appended",
                        hint="an import without its close never takes effect: run it again",
                    )
                if on_progress is not None:
                    on_progress(first + len(chunk))
            return _judged(await verdict)
        except LeaseExpiredError as error:
            known = "was appended" if taken else "may have been appended"
            raise LeaseExpiredError(
                f"the change {known}, its verdict is not known: {error}",
                hint="look whether it is in force before you repeat it",
            ) from error
        finally:
            verdict.cancel()

    async def _append(
        self,
        changes: Sequence[tuple[bytes, bytes]],
        verdict: asyncio.Task[Applied],
        deadline: float,
    ) -> bool:
        """Append until the broker says so, the verdict is in, or it has been tried enough.

        True when the broker acknowledged all of it.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            remaining_s = deadline - time.monotonic()
            if verdict.done() or remaining_s <= 0:
                return False
            # A fresh key for each attempt: compaction must not take the first one away.
            records = [(fresh_key(change_id), change) for change, change_id in changes]
            try:
                await self._appender.append_many(
                    records, timeout_s=min(remaining_s, self._attempt_s)
                )
                return True
            except (TopicAuthorizationFailedError, MessageSizeTooLargeError) as error:
                raise self._explained(error) from error
            except (KafkaError, OSError) as error:  # TimeoutError is an OSError
                log.warning("append_outcome_unknown", attempt=attempt, problem=repr(error))
            pause_s = BACKOFF_S * 2**attempt * random.uniform(0.5, 1.0)
            await asyncio.wait(
                [verdict], timeout=min(pause_s, max(0.0, deadline - time.monotonic()))
            )
        return False

    def _explained(self, error: Exception) -> MidgateError:
        if isinstance(error, TopicAuthorizationFailedError):
            return NotAuthorizedError(f"this principal may not write to {self._topic}")
        if isinstance(error, MessageSizeTooLargeError):
            return InputError("the change is larger than a record may be")
        if isinstance(error, UnknownTopicOrPartitionError):
            return EmptyLogError(f"{self._topic} does not exist", hint=HINT_APPLY)
        return BrokerUnreachableError(
            f"no broker that leads {self._topic} answers at {self._kafka.bootstrap}",
            hint=ADDRESS_HINT,
        )


def _judged(applied: Applied) -> Applied:
    """The verdict as the caller's result."""
    if applied.verdict.startswith(VOID):
        reason = applied.verdict.removeprefix(VOID)
        raise ChangeVoidError(
            f"{applied.kind} of {applied.subject} is void: {reason}",
            reason=reason,
            hint=HINTS.get(reason, ""),
        )
    return applied
