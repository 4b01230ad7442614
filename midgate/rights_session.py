"""A command's view of the rights: follow the log to its end, and write to it if asked."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from midgate.effective import settings
from midgate.output import Format, note, show_record

if TYPE_CHECKING:
    from streams.authorization_writer import AuthorizationWriter
    from streams.follower import Follower
    from streams.rights import Applied, Rights
    from streams.settings import Settings

T = TypeVar("T")

# How long what ends a right waits for the log to be read to its end.
END_PATIENCE_S = 5.0

Reason = Annotated[str, typer.Option("--reason", help="why, kept with the change for ever")]
Actor = Annotated[
    str, typer.Option("--actor", envvar="MIDGATE_ACTOR", help="who asks (else user@host)")
]


@dataclass(frozen=True, slots=True)
class Session:
    """The rights as they stand, and the way to change them."""

    settings: Settings
    follower: Follower
    writer: AuthorizationWriter | None
    behind: bool = False
    """The log is held up, so what is not known here may be there all the same."""

    @property
    def rights(self) -> Rights:
        return self.follower.rights

    def base(self, subject: str) -> int:
        """Offset at which the subject last changed, -1: never."""
        return self.rights.subjects.get(subject, -1)

    async def append(self, build: Callable[..., bytes], *what: Any, **stamp: Any) -> Applied:
        """Build one change, append it, and wait for our own follower's verdict.

        Raises ChangeVoidError with the rule's reason when it is void.
        """
        assert self.writer is not None, "a reading session does not write"
        change_id = uuid.uuid4().bytes
        return await self.writer.append(build(*what, change_id=change_id, **stamp), change_id)


def with_rights(
    context: typer.Context,
    work: Callable[[Session], Awaitable[T]],
    *,
    writing: bool = False,
    ending: bool = False,
) -> T:
    """Run `work` on the rights read to the end of the log.

    `ending` is for what ends a right: it is appended even while the log is held up, as an end
    needs no base and is never void, and waiting would leave the right in force.
    """

    async def run() -> T:
        async with open_session(settings(context), writing=writing, ending=ending) as session:
            return await work(session)

    return asyncio.run(run())


@asynccontextmanager
async def open_session(
    effective: Settings, *, writing: bool, ending: bool = False
) -> AsyncIterator[Session]:
    """Follow the log to its end; close everything afterwards."""
    from streams.authorization_writer import AuthorizationWriter
    from streams.follower import Follower

    say_only_warnings()
    authorization = effective.authorization
    if authorization.snapshot_dir is None:
        authorization = authorization.model_copy(update={"snapshot_dir": default_snapshot_dir()})
    follower = Follower(effective.kafka, effective.layout, authorization, heartbeat=False)
    starting = asyncio.create_task(follower.start())
    try:
        await asyncio.wait([starting], timeout=END_PATIENCE_S if ending else None)
        behind = not starting.done()
        if behind:
            note(f"{follower.problem}; the end is appended all the same")
        else:
            starting.result()
        if not writing:
            yield Session(effective, follower, None)
            return
        writer = AuthorizationWriter(effective.kafka, effective.layout, follower)
        await writer.start()
        try:
            yield Session(effective, follower, writer, behind)
        finally:
            await writer.stop()
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await follower.stop()


def actor_or_user(actor: str) -> str:
    """Who asks: what was said, else the user and host of this process."""
    return actor or f"{getpass.getuser()}@{socket.gethostname()}"


def show_applied(applied: Applied, output: Format, **more: Any) -> None:
    """What a change became: its offset is the version from which it counts."""
    record = {
        "subject": applied.subject,
        "verdict": applied.verdict,
        "offset": applied.offset,
        "version": applied.offset + 1,
        **more,
    }
    show_record("change", record, output)


def dry(output: Format, plan: dict[str, Any]) -> None:
    """Show what would be done."""
    show_record("plan", {**plan, "dry_run": True}, output)
    if output is Format.TABLE:
        note("dry run: nothing was done")


def default_snapshot_dir() -> Path:
    """Folder of the rights' local snapshots for commands: they start from it plus the tail."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "midgate" / "rights"


def say_only_warnings() -> None:
    """A command's own words are enough; of the libraries and the follower, only warnings."""
    import logging.config

    from streams.logs import configure, logging_config
    from streams.settings import WebSettings

    level = os.environ.get("MIDGATE_LOG_LEVEL", "WARNING")
    config = logging_config(WebSettings(log_level=level))
    if "MIDGATE_LOG_LEVEL" not in os.environ:
        # What ends a command is said by its error; what the client mends by itself is not.
        config["loggers"] = {name: {"level": "CRITICAL"} for name in config["loggers"]}
    logging.config.dictConfig(config)
    configure()


def instant_option(option: str, text: str) -> int | None:
    """Milliseconds of an instant given as an option; None for an empty one."""
    from streams.errors import InputError
    from streams.instants import parse_instant

    if not text:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InputError(f"{option} {text} cannot be read", hint=f"expected {error}") from error


def require_mids(mids: list[str]) -> None:
    """Refuse what is no MID, all of it in one error."""
    from schemas.mid import is_mid
    from streams.errors import InputError

    wrong = [one for one in mids if not is_mid(one)]
    if wrong:
        raise InputError(
            f"{', '.join(wrong)}: no MID", hint="6 digits starting with 0-8, or 9 starting with 9"
        )
