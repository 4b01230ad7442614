"""`midgate grant correct`: write down that a grant was wrong in the past."""

import time
import uuid
from typing import Annotated, Any

import typer

from midgate.output import DryRun, Format, Output
from midgate.rights_session import (
    Actor,
    Reason,
    Session,
    actor_or_user,
    dry,
    instant_option,
    show_applied,
    with_rights,
)
from streams.changes import grant_correction_change
from streams.errors import InputError
from streams.facts import Correction
from streams.instants import format_instant

SHOULD_NOT, SHOULD = "SHOULD_NOT_HAVE_COUNTED", "SHOULD_HAVE_COUNTED"


def correct(
    context: typer.Context,
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="grant id")],
    wrong_from: Annotated[str, typer.Option(help="first instant at which it was wrong")] = "",
    wrong_to: Annotated[
        str, typer.Option(help="first instant at which it was right again; else it still is wrong")
    ] = "",
    known_at: Annotated[str, typer.Option(help="when you came to know; else now")] = "",
    missing: Annotated[
        bool, typer.Option("--should-have-counted", help="it gave nothing, and should have")
    ] = False,
    correction: Annotated[
        str, typer.Option("--id", help="of the finding, to replace it; else a new one")
    ] = "",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="the finding --id was itself a mistake")
    ] = False,
    reason: Reason = "",
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Write down that a grant counted and should not have (or the reverse) from a past date on.

    It changes no right: revoke the grant as well if it still counts. `midgate breach --grant GRANT`
    lists what was delivered and should not have been, and the reverse.
    """
    if withdraw and not correction:
        raise InputError("--withdraw needs the finding", hint="--id; `midgate breach` names it")
    if not withdraw and not wrong_from:
        raise InputError("--wrong-from is missing", hint="an instant, as 2026-04-01T00:00:00Z")
    known = instant_option("--known-at", known_at)

    async def work(session: Session) -> None:
        if grant not in session.rights.grants:
            raise InputError(f"grant {grant} is not known", hint="`midgate grant list` shows all")
        present = session.rights.corrections.get(correction)
        if withdraw:
            said = _withdrawn(present, correction)
        else:
            said = {
                "finding": SHOULD if missing else SHOULD_NOT,
                "wrong_from": instant_option("--wrong-from", wrong_from),
                "wrong_to": instant_option("--wrong-to", wrong_to),
                "known_at": int(time.time() * 1000) if known is None else known,
                "withdrawn": False,
            }
        if said["wrong_from"] >= said["known_at"]:
            raise InputError(
                "--wrong-from must lie before --known-at", hint="a finding is about the past"
            )
        if said["wrong_to"] is not None and said["wrong_to"] <= said["wrong_from"]:
            raise InputError("--wrong-to must lie after --wrong-from", hint="leave it out: still")
        finding_id = correction or f"c-{uuid.uuid4().hex[:16]}"
        if dry_run:
            return dry(output, {"correction": finding_id, "grant": grant, **said})
        applied = await session.append(
            grant_correction_change,
            finding_id,
            grant_id=grant,
            **said,
            base=session.base(f"correction/{finding_id}"),
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output, correction=finding_id, grant=grant)

    with_rights(context, work, writing=True)


def _withdrawn(present: Correction | None, correction: str) -> dict[str, Any]:
    if present is None:
        raise InputError(f"finding {correction} is not known", hint="`grant show` lists them")
    return {
        "finding": present.finding,
        "wrong_from": present.wrong_from,
        "wrong_to": present.wrong_to,
        "known_at": present.known_at,
        "withdrawn": True,
    }


def rows_of(session: Session, grant_id: str) -> list[dict[str, Any]]:
    """The findings about a grant, for a listing."""
    return [
        {
            "correction": one.correction_id,
            "finding": one.finding,
            "wrong_from": format_instant(one.wrong_from),
            "wrong_to": format_instant(one.wrong_to),
            "known_at": format_instant(one.known_at),
            "recorded_at_version": one.changed_at + 1,
            "withdrawn": one.withdrawn,
            "actor": one.actor,
            "reason": one.reason,
        }
        for one in session.rights.corrections.values()
        if one.grant_id == grant_id
    ]
