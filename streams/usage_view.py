"""The view of one partition of `<prefix>.usage`: first events, tallies, and the next fact.

What a record of the topic means for the store, in both directions: `entries_of` for records that
are read, `entry_of` for those just written. Only the owner of the partition writes first events,
tallies and positions; units of calls come from others and are none of the view's business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from schemas.codec import MalformedRecordError, UnknownFrameError
from streams.errors import UpgradeNeededError
from streams.metering import Tallied
from streams.usage_records import (
    CHANNELS,
    FirstEvent,
    UsagePosition,
    UsageTally,
    UsageUnit,
    decode_usage,
    tally_key,
)
from streams.usage_store import UsageStore, ViewPosition

log = structlog.get_logger(__name__)

_COPIES_BYTES = 8


class UsageView:
    """The store of one partition, read and written as what it means."""

    def __init__(self, store: UsageStore, partition: int) -> None:
        self._store = store
        self._partition = partition

    @property
    def position(self) -> ViewPosition:
        """Up to where the view goes."""
        return self._store.position

    def find(self, keys: Any) -> list[bytes | None]:
        """Packed first events of units' keys."""
        return self._store.find(keys)

    def read(self, records: Iterable[Any], position: int) -> set[str]:
        """Take in records of the topic, up to `position`; answers the nonces of starts among them.

        Raises UpgradeNeededError at a record of a newer version, LocalStoreError.
        """
        entries: dict[bytes, bytes | None] = {}
        nonces: set[str] = set()
        view = replace(self._store.position, usage=position)
        for record in records:
            key, usage = record.key or b"", self._decoded(record)
            if isinstance(usage, UsagePosition) and usage.nonce:
                nonces.add(usage.nonce)
            elif isinstance(usage, UsagePosition):
                view = replace(view, next_fact=usage.next_fact, facts=usage.facts)
            elif isinstance(usage, UsageTally):
                entries[key] = usage.copies.to_bytes(_COPIES_BYTES, "big")
            elif isinstance(usage, UsageUnit) and usage.kind == "EVENT":
                entries[key] = first_event(usage).packed()
            elif record.value is None:
                entries[key] = None
        self._store.write(entries, view)
        return nonces

    def _decoded(self, record: Any) -> Any:
        if record.value is None:
            return None
        try:
            return decode_usage(record.value)
        except UnknownFrameError as error:
            raise UpgradeNeededError(
                f"usage partition {self._partition} holds a record of a newer version: {error}",
                hint="upgrade this worker",
            ) from error
        except MalformedRecordError as error:
            # Not ours: whatever it is, it made no unit of ours.
            log.error("usage_without_effect", offset=record.offset, problem=str(error))
            return None

    def tallies(self, more: Mapping[Tallied, int]) -> dict[bytes, UsageTally]:
        """By key, the tallies that grow, with their new totals."""
        grown = {}
        for (agreement_id, month, billing), copies in more.items():
            key = tally_key(agreement_id, month, billing, self._partition)
            before = int.from_bytes(self._store.find([key])[0] or b"", "big")
            tally = UsageTally(agreement_id, month, billing, self._partition, before + copies)
            grown[key] = tally
        return grown

    def wrote(
        self,
        first: Mapping[bytes, FirstEvent],
        tallies: Mapping[bytes, UsageTally],
        position: ViewPosition,
    ) -> None:
        """What was committed to the topic is in the view. Raises LocalStoreError."""
        entries: dict[bytes, bytes | None] = {
            key: tally.copies.to_bytes(_COPIES_BYTES, "big") for key, tally in tallies.items()
        }
        entries.update((key, event.packed()) for key, event in first.items())
        self._store.write(entries, position)

    def close(self) -> None:
        """Give the store back."""
        self._store.close()


def first_event(unit: UsageUnit) -> FirstEvent:
    """Which event made a unit of kind EVENT."""
    channel = CHANNELS.index(unit.channel)
    return FirstEvent(unit.metered_at, unit.raw_partition, unit.raw_offset, channel, unit.billing)
