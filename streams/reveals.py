"""Who looked at personal data of recipients: a record before anything is shown, or nothing is.

A topic of its own, `<prefix>.reveals`, and not the authorization log: a reveal is no input to any
right, and whoever may look must not need the right to write what changes rights. One partition,
kept for ever, stamped by the broker.
"""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka.errors import (
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from schemas.codec import encode
from streams.errors import BrokerUnreachableError, ConfigurationError, NotAuthorizedError
from streams.log_appender import LogAppender
from streams.settings import KafkaSettings

# So that a record stays far below what a topic takes.
POSITIONS_MAX = 2_000
ATTEMPTS_MAX = 3


class Looker(NamedTuple):
    """Who looks, why, and by which command."""

    actor: str
    reason: str
    command: str


async def record_reveal(
    kafka: KafkaSettings, topic: str, looker: Looker, shown: str, positions: Sequence[str]
) -> None:
    """Write down that `looker` is about to see records of the topic `shown`; return when it stands.

    `positions` are `partition:offset`. An append of unknown outcome is repeated under the same id.
    Raises NotAuthorizedError, ConfigurationError (no such topic), BrokerUnreachableError: then
    nothing may be shown.
    """
    records = [
        (b"reveal", _record(looker, shown, positions[start : start + POSITIONS_MAX]))
        for start in range(0, len(positions), POSITIONS_MAX)
    ]
    appender = LogAppender(kafka, topic, metadata_max_age_ms=kafka.request_timeout_ms)
    timeout_s = kafka.request_timeout_ms / 1000
    try:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                await appender.append_many(records, timeout_s=timeout_s)
                return
            except TopicAuthorizationFailedError as error:
                raise NotAuthorizedError(
                    f"this principal may not write to {topic}, so nothing is shown",
                    hint="whoever may reveal personal data must be able to say so there",
                ) from error
            except UnknownTopicOrPartitionError as error:
                raise _missing(topic) from error
            except (KafkaError, OSError) as error:
                if attempt == ATTEMPTS_MAX:
                    raise BrokerUnreachableError(
                        f"the reveal could not be recorded in {topic}, so nothing is shown:"
                        f" {error!r}",
                        hint="see whether the topic is there (`midgate topics apply`) and healthy",
                    ) from error
    finally:
        await appender.close()


def _record(looker: Looker, shown: str, positions: Sequence[str]) -> bytes:
    return encode(
        "reveal",
        {
            "reveal_id": secrets.token_bytes(16),
            "actor": looker.actor,
            "reason": looker.reason,
            "command": looker.command,
            "topic": shown,
            "positions": list(positions),
        },
    )


def _missing(topic: str) -> ConfigurationError:
    return ConfigurationError(
        f"topic {topic} does not exist, so nothing is shown", hint="run `midgate topics apply`"
    )
