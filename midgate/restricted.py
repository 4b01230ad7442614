"""Personal data of recipients on an operator's screen: hidden, unless the look is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.errors import InputError

if TYPE_CHECKING:
    from streams.settings import Settings

HIDDEN = "hidden"
"""What stands in place of what is there and not shown."""

Reveal = Annotated[
    bool, typer.Option("--reveal", help="show recipients' names and firms; needs --reason")
]
Why = Annotated[str, typer.Option("--reason", help="why you must see it; recorded for ever")]


@dataclass(frozen=True, slots=True)
class Look:
    """Whether this command may show personal data, and what is recorded when it does."""

    reveal: bool
    actor: str
    reason: str
    command: str

    def event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """A tracking event as it may be shown. What was to be revealed must stand recorded."""
        if self.reveal or event["restricted"] is None:
            return dict(event)
        return {**event, "restricted": HIDDEN}

    async def record(self, effective: Settings, topic: str, records: Iterable[Any]) -> None:
        """Write down that these records of a topic are about to be shown, if they are revealed.

        Raises what `streams.reveals.record_reveal` raises; then nothing may be shown.
        """
        if not self.reveal:
            return
        from streams.reveals import Looker, record_reveal

        positions = [f"{record.partition}:{record.offset}" for record in records]
        if positions:
            looker = Looker(self.actor, self.reason, self.command)
            reveals = effective.layout.topics.reveals
            await record_reveal(effective.kafka, reveals, looker, topic, positions)


NO_LOOK = Look(False, "", "", "")
"""Of what shows no personal data, whoever asks."""


def look(reveal: bool, actor: str, reason: str, command: str) -> Look:
    """The look a command was asked for. Raises InputError for one without a reason."""
    from midgate.rights_session import actor_or_user

    if reveal and not reason.strip():
        raise InputError("--reveal needs a reason", hint="--reason TEXT; it is recorded for ever")
    return Look(reveal, actor_or_user(actor), reason.strip(), command)
