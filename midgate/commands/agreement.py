"""`midgate agreement add|list|show|suspend|resume`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from midgate.commands.tenant import known_tenant
from midgate.output import DryRun, Format, Output, Yes, confirm, show_record, show_rows
from midgate.rights_session import (
    Actor,
    Reason,
    Session,
    actor_or_user,
    dry,
    instant_option,
    require_mids,
    show_applied,
    with_rights,
)
from streams.changes import (
    agreement_change,
    agreement_resume_change,
    agreement_suspend_change,
)
from streams.errors import InputError
from streams.instants import format_instant

AgreementId = Annotated[str, typer.Argument(metavar="AGREEMENT", help="agreement id")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="IP agreements of service providers.")
    group.command("add")(add)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("suspend")(suspend)
    group.command("resume")(resume)
    app.add_typer(group, name="agreement")


def row_of(session: Session, agreement_id: str) -> dict[str, Any]:
    """An agreement for a listing."""
    agreement = session.rights.agreements[agreement_id]
    return {
        "agreement": agreement_id,
        "tenant": agreement.tenant_id,
        "status": "SUSPENDED" if agreement.suspended else agreement.status,
        "from": format_instant(agreement.effective_from),
        "to": format_instant(agreement.effective_to),
        "mids": sorted(agreement.mids) or "all",
        "fee_model": agreement.fee_model,
        "crid": agreement.crid,
        "changed_at": session.base(f"agreement/{agreement_id}"),
    }


def known(session: Session, agreement_id: str) -> None:
    """Refuse an agreement that is not known."""
    if agreement_id not in session.rights.agreements:
        raise InputError(
            f"agreement {agreement_id} is not known", hint="`midgate agreement list` shows all"
        )


def add(
    context: typer.Context,
    agreement: AgreementId,
    tenant: Annotated[str, typer.Option(help="the tenant that signed it")],
    start: Annotated[str, typer.Option("--from", help="first instant in force, with its zone")],
    end: Annotated[str, typer.Option("--to", help="first instant no longer in force")] = "",
    mid: Annotated[
        list[str] | None, typer.Option("--mid", help="an authorized MID; none: all")
    ] = None,
    fee_model: Annotated[str, typer.Option(help="transaction or unlimited")] = "transaction",
    crid: Annotated[str, typer.Option(help="CRID of the agreement")] = "",
    payment_account: Annotated[str, typer.Option(help="payment account")] = "",
    pending: Annotated[bool, typer.Option("--pending", help="not yet signed by both")] = False,
    reason: Reason = "",
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Add an agreement, or change the one with this id."""
    require_mids(mid or [])
    if fee_model.upper() not in ("TRANSACTION", "UNLIMITED"):
        raise InputError(f"{fee_model} is no fee model", hint="transaction or unlimited")
    window = (instant_option("--from", start), instant_option("--to", end))

    async def work(session: Session) -> None:
        known_tenant(session, tenant)
        base = session.base(f"agreement/{agreement}")
        plan = {"agreement": agreement, "tenant": tenant, "new": base < 0, "mids": mid or "all"}
        if dry_run:
            return dry(output, plan)
        applied = await session.append(
            agreement_change,
            agreement,
            tenant_id=tenant,
            fee_model=fee_model.upper(),
            effective_from=window[0] or 0,
            effective_to=window[1],
            mids=mid or [],
            status="PENDING" if pending else "ACTIVE",
            crid=crid,
            payment_account=payment_account,
            base=base,
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output, **plan)

    with_rights(context, work, writing=True)


def list_(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List all agreements."""

    async def work(session: Session) -> list[dict[str, Any]]:
        return [row_of(session, one) for one in sorted(session.rights.agreements)]

    columns = ["agreement", "tenant", "status", "from", "to", "mids"]
    show_rows(
        "agreements", with_rights(context, work), output, columns=columns, empty="no agreements yet"
    )


def show(context: typer.Context, agreement: AgreementId, output: Output = Format.TABLE) -> None:
    """Show one agreement."""

    async def work(session: Session) -> dict[str, Any]:
        known(session, agreement)
        grants = [g for g in session.rights.grants.values() if g.agreement_id == agreement]
        return {
            **row_of(session, agreement),
            "payment_account": session.rights.agreements[agreement].payment_account,
            "grants": sum(not grant.ended for grant in grants),
        }

    show_record("agreement", with_rights(context, work), output)


def suspend(
    context: typer.Context,
    agreement: AgreementId,
    reason: Reason = "",
    actor: Actor = "",
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Suspend an agreement: none of its grants gives a right until it is resumed."""

    async def work(session: Session) -> None:
        if not session.behind:
            known(session, agreement)
        confirm(f"suspend agreement {agreement} and all its grants?", yes=yes)
        applied = await session.append(
            agreement_suspend_change, agreement, actor=actor_or_user(actor), reason=reason
        )
        show_applied(applied, output)

    with_rights(context, work, writing=True, ending=True)


def resume(
    context: typer.Context,
    agreement: AgreementId,
    reason: Reason = "",
    actor: Actor = "",
    output: Output = Format.TABLE,
) -> None:
    """Let a suspended agreement count again."""
    build: Callable[..., bytes] = agreement_resume_change

    async def work(session: Session) -> None:
        known(session, agreement)
        applied = await session.append(
            build,
            agreement,
            base=session.base(f"agreement/{agreement}"),
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output)

    with_rights(context, work, writing=True)
