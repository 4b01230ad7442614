"""`midgate crid set|show`."""

from typing import Annotated, Any

import typer

from midgate.output import DryRun, Format, Output, show_record
from midgate.rights_session import (
    Actor,
    Reason,
    Session,
    actor_or_user,
    dry,
    require_mids,
    show_applied,
    with_rights,
)
from streams.changes import crid_change
from streams.errors import InputError

Crid = Annotated[str, typer.Argument(metavar="CRID", help="customer registration id")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The Mailer IDs of a Customer Registration ID.")
    group.command("set")(set_)
    group.command("show")(show)
    app.add_typer(group, name="crid")


def set_(
    context: typer.Context,
    crid: Crid,
    mid: Annotated[list[str], typer.Option("--mid", help="a MID of it; give all")],
    reason: Reason = "",
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Say all MIDs of a CRID from now on. A MID left out is taken from every grant of the CRID."""
    require_mids(mid)
    mids = list(dict.fromkeys(mid))

    async def work(session: Session) -> None:
        known = session.rights.crids.get(crid)
        before = set(known.mids) if known else set()
        plan: dict[str, Any] = {
            "crid": crid,
            "added": sorted(set(mids) - before),
            "removed": sorted(before - set(mids)),
        }
        if dry_run:
            return dry(output, plan)
        applied = await session.append(
            crid_change,
            crid,
            mids,
            base=session.base(f"crid/{crid}"),
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output, **plan)

    with_rights(context, work, writing=True)


def show(context: typer.Context, crid: Crid, output: Output = Format.TABLE) -> None:
    """Show the MIDs of a CRID."""

    async def work(session: Session) -> dict[str, Any]:
        known = session.rights.crids.get(crid)
        if known is None:
            raise InputError(f"CRID {crid} is not known", hint="`midgate crid set` says its MIDs")
        return {
            "crid": crid,
            "mids": sorted(known.mids),
            "changed_at": session.base(f"crid/{crid}"),
        }

    show_record("crid", with_rights(context, work), output)
