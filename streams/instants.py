"""Instants as people write them and as the log holds them (milliseconds since 1970, UTC)."""

from datetime import UTC, datetime
from functools import lru_cache

EXPECTED = "an instant with its zone, as 2026-04-01T00:00:00Z, or a date (midnight UTC)"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def parse_instant(text: str) -> int:
    """Milliseconds UTC of an RFC 3339 instant or a plain date.

    An instant without a zone is refused rather than read as somebody's local time.

    Raises:
        ValueError: the text is neither; the message says what was expected.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(EXPECTED) from None
    if moment.tzinfo is None:
        if len(text) != len("2026-04-01"):
            raise ValueError(EXPECTED)
        moment = moment.replace(tzinfo=UTC)
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def format_instant(instant_ms: int | None) -> str:
    """RFC 3339 in UTC, with milliseconds only where there are some; empty for None."""
    if instant_ms is None:
        return ""
    moment = datetime.fromtimestamp(instant_ms / 1000, UTC)
    spec = "milliseconds" if instant_ms % 1000 else "seconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")
