"""`midgate revocation add|lift|list`."""

from typing import Annotated, Any

import typer

from midgate.output import DryRun, Format, Output, Yes, confirm, show_rows
from midgate.rights_session import (
    Actor,
    Reason,
    Session,
    actor_or_user,
    dry,
    show_applied,
    with_rights,
)
from streams.changes import (
    Body,
    revocation_change,
    revocation_lift_change,
    revocation_subject,
    revoked_scope,
)
from streams.errors import InputError
from streams.structure import body_problems

Tenant = Annotated[str, typer.Option(help="whose right")]
Mid = Annotated[str, typer.Option(help="the MID (or --crid)")]
Crid = Annotated[str, typer.Option(help="all MIDs that this CRID holds (or --mid)")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Rights taken from a tenant whatever its grants say."
    )
    group.command("add")(add)
    group.command("lift")(lift)
    group.command("list")(list_)
    app.add_typer(group, name="revocation")


def scope_of(tenant: str, mid: str, crid: str) -> Body:
    """What is revoked; refuses what is none."""
    if bool(mid) == bool(crid):
        raise InputError("a revocation is for a MID or for a CRID", hint="give --mid or --crid")
    body = revoked_scope(tenant, mid=mid, crid=crid)
    for field, expected in body_problems("REVOCATION", body):
        raise InputError(f"{field} {body[field]!r} is wrong", hint=f"expected {expected}")
    return body


def add(
    context: typer.Context,
    tenant: Tenant,
    mid: Mid = "",
    crid: Crid = "",
    reason: Reason = "",
    actor: Actor = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Take every right to a MID or a CRID's MIDs from a tenant, whatever grants it has or gets.

    It stands until it is lifted, and wins over everything. A tenant that is not known is refused
    unless --yes is said.
    """
    body = scope_of(tenant, mid, crid)

    async def work(session: Session) -> None:
        known = tenant in session.rights.tenants
        if not known and not yes and not session.behind:
            raise InputError(
                f"tenant {tenant} is not known",
                hint="`midgate tenant list` shows all; --yes revokes all the same",
            )
        if dry_run:
            return dry(output, {"subject": revocation_subject(body), **body})
        confirm(f"take every right to {mid or crid} from {tenant}?", yes=yes)
        applied = await session.append(
            revocation_change, body, actor=actor_or_user(actor), reason=reason
        )
        show_applied(applied, output)

    with_rights(context, work, writing=True, ending=True)


def lift(
    context: typer.Context,
    tenant: Tenant,
    mid: Mid = "",
    crid: Crid = "",
    reason: Reason = "",
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Lift a revocation: the tenant's grants that are in force count again."""
    body = scope_of(tenant, mid, crid)
    subject = revocation_subject(body)

    async def work(session: Session) -> None:
        if subject not in session.rights.revocations:
            raise InputError(
                f"nothing of {mid or crid} is revoked for {tenant}",
                hint="`midgate revocation list` shows all",
            )
        if dry_run:
            return dry(output, {"subject": subject, **body})
        applied = await session.append(
            revocation_lift_change,
            body,
            base=session.base(subject),
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output)

    with_rights(context, work, writing=True)


def list_(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="only this tenant's")] = "",
    output: Output = Format.TABLE,
) -> None:
    """List the revocations that stand."""

    async def work(session: Session) -> list[dict[str, Any]]:
        return [
            {
                "tenant": one.tenant_id,
                "scope": f"MID {one.mid}" if one.mid else f"CRID {one.crid}",
                "reason": one.reason,
                "actor": one.actor,
                "changed_at": one.changed_at,
            }
            for _, one in sorted(session.rights.revocations.items())
            if not tenant or one.tenant_id == tenant
        ]

    show_rows("revocations", with_rights(context, work), output, empty="nothing is revoked")
