"""`midgate grant add|list|show|confirm|revoke|import|plan|correct`; the last two beside this."""

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from midgate.commands.grant_correct import correct, rows_of
from midgate.commands.grant_plan import plan
from midgate.commands.tenant import known_tenant
from midgate.grant_import import import_file
from midgate.output import DryRun, Format, Output, Yes, confirm, note, show_record, show_rows
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
from streams.changes import grant_body, grant_change, grant_confirm_change, grant_end_change
from streams.errors import InputError
from streams.facts import BIT_OF_SIDE
from streams.grant_csv import BASES, CHANNELS
from streams.instants import format_instant
from streams.rule_sets import rules_at
from streams.structure import body_problems

GrantId = Annotated[str, typer.Argument(metavar="GRANT", help="grant id")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Grants: who may see the events of which Mailer ID."
    )
    group.command("add")(add)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("confirm")(confirm_)
    group.command("revoke")(revoke)
    group.command("import")(import_)
    group.command("plan")(plan)
    group.command("correct")(correct)
    app.add_typer(group, name="grant")


def row_of(session: Session, grant_id: str) -> dict[str, Any]:
    """A grant for a listing."""
    grant = session.rights.grants[grant_id]
    return {
        "grant": grant_id,
        "tenant": grant.tenant_id,
        "scope": f"MID {grant.mid}" if grant.mid else f"CRID {grant.crid}",
        "channels": "+".join(channel.lower() for channel in grant.channels),
        "basis": grant.basis,
        "status": "REVOKED" if grant.ended else grant.status,
        "from": format_instant(grant.effective_from),
        "to": format_instant(grant.effective_to),
        "agreement": grant.agreement_id,
        "token": grant.merchant_token_id,
        "data_from": format_instant(grant.data_from),
        "data_to": format_instant(grant.data_to),
        "restricted": grant.restricted,
        "confirmed_by": [side.lower() for side in grant.confirmed_by],
        "changed_at": session.base(f"grant/{grant_id}"),
    }


def channels_of(text: str) -> list[str]:
    """Channels joined by + (or a comma), in any case."""
    names = [name.strip().upper() for name in text.replace(",", "+").split("+")]
    if not all(name in CHANNELS for name in names) or len(set(names)) != len(names):
        raise InputError(f"{text} are no channels", hint="api, webhook, see, joined by +")
    return names


def add(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="to whom")],
    basis: Annotated[str, typer.Option(help="owner, mid-authorization, ip-agreement, …")],
    mid: Annotated[str, typer.Option(help="the MID (or --crid)")] = "",
    crid: Annotated[str, typer.Option(help="all MIDs of this CRID (or --mid)")] = "",
    channels: Annotated[str, typer.Option(help="api, webhook, see, joined by +")] = "see",
    start: Annotated[str, typer.Option("--from", help="first instant in force; else now")] = "",
    end: Annotated[str, typer.Option("--to", help="first instant no longer in force")] = "",
    agreement: Annotated[str, typer.Option(help="its agreement, for basis ip-agreement")] = "",
    token: Annotated[
        str, typer.Option(help="the merchant's token, by its id, for basis merchant-token")
    ] = "",
    data_from: Annotated[str, typer.Option(help="first event time that it covers")] = "",
    data_to: Annotated[str, typer.Option(help="first event time that it no longer covers")] = "",
    restricted: Annotated[
        bool, typer.Option("--restricted", help="with the recipient's name and the like")
    ] = False,
    grant_id: Annotated[str, typer.Option("--id", help="its id, else a new one")] = "",
    pending: Annotated[bool, typer.Option("--pending", help="not yet confirmed by both")] = False,
    reason: Reason = "",
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Grant a tenant the events of a MID or a CRID, or change the grant with this id."""
    basis_name = basis.upper().replace("-", "_")
    if basis_name not in BASES:
        raise InputError(f"{basis} is no basis", hint="one of " + ", ".join(BASES).lower())
    if bool(mid) == bool(crid):
        raise InputError("a grant is for a MID or for a CRID", hint="give --mid or --crid")
    body = grant_body(
        grant_id or f"g-{uuid.uuid4().hex[:16]}",
        tenant_id=tenant,
        basis=basis_name,
        channels=channels_of(channels),
        effective_from=_start(start),
        effective_to=instant_option("--to", end),
        mid=mid,
        crid=crid,
        agreement_id=agreement,
        status="PENDING" if pending else "ACTIVE",
        data_from=instant_option("--data-from", data_from),
        data_to=instant_option("--data-to", data_to),
        merchant_token_id=token,
        restricted=restricted,
    )
    if basis_name == "MERCHANT_TOKEN" and not token:
        raise InputError(
            "basis merchant-token needs the token",
            hint="--token; `midgate token add` makes it known",
        )
    for field, expected in body_problems("GRANT", body):
        raise InputError(f"{field} {body[field]!r} is wrong", hint=f"expected {expected}")

    async def work(session: Session) -> None:
        known_tenant(session, tenant)
        if restricted:
            _note_rules(session, tenant, basis_name)
        base = session.base(f"grant/{body['grant_id']}")
        plan = {"grant": body["grant_id"], "tenant": tenant, "new": base < 0}
        if dry_run:
            return dry(output, plan)
        applied = await session.append(
            grant_change, body, base=base, actor=actor_or_user(actor), reason=reason
        )
        show_applied(applied, output, **plan)

    with_rights(context, work, writing=True)


def _note_rules(session: Session, tenant: str, basis: str) -> None:
    """Say it when the rules do not let a grant of this kind carry the restricted part."""
    import time

    rules = rules_at(session.rights.rule_sets, int(time.time() * 1000))
    row = rules.row(session.rights.tenants[tenant].party_type, basis)
    if row is None or not row.restricted:
        note(f"the rules in force give no restricted part by this basis ({rules.rule_set_id})")


def _start(text: str) -> int:
    import time

    given = instant_option("--from", text)
    return int(time.time() * 1000) if given is None else given


def list_(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="only this tenant's")] = "",
    mid: Annotated[str, typer.Option(help="only for this MID (scope MID)")] = "",
    everything: Annotated[bool, typer.Option("--all", help="revoked ones, too")] = False,
    limit: Annotated[int, typer.Option(min=1, help="at most so many rows")] = 1000,
    output: Output = Format.TABLE,
) -> None:
    """List grants."""

    async def work(session: Session) -> tuple[list[dict[str, Any]], int]:
        chosen = [
            grant_id
            for grant_id, grant in session.rights.grants.items()
            if (not tenant or grant.tenant_id == tenant)
            and (not mid or grant.mid == mid)
            and (everything or not grant.ended)
        ]
        return [row_of(session, grant_id) for grant_id in sorted(chosen)[:limit]], len(chosen)

    rows, total = with_rights(context, work)
    columns = ["grant", "tenant", "scope", "channels", "basis", "status", "from", "to"]
    show_rows(
        "grants", rows, output, columns=columns, empty="no such grants", extra={"total": total}
    )


def show(context: typer.Context, grant: GrantId, output: Output = Format.TABLE) -> None:
    """Show one grant."""

    async def work(session: Session) -> dict[str, Any]:
        if grant not in session.rights.grants:
            raise InputError(f"grant {grant} is not known", hint="`midgate grant list` shows all")
        return {**row_of(session, grant), "corrections": rows_of(session, grant)}

    show_record("grant", with_rights(context, work), output)


def confirm_(
    context: typer.Context,
    grant: GrantId,
    side: Annotated[str, typer.Option("--as", help="who confirms: grantor or tenant")],
    reason: Reason = "",
    actor: Actor = "",
    output: Output = Format.TABLE,
) -> None:
    """Confirm a pending grant, as it stands, for one side; it counts once both have."""
    if side.upper() not in BIT_OF_SIDE:
        raise InputError(f"{side} is no side of a grant", hint="--as grantor or --as tenant")

    async def work(session: Session) -> None:
        if grant not in session.rights.grants:
            raise InputError(f"grant {grant} is not known", hint="`midgate grant list` shows all")
        applied = await session.append(
            grant_confirm_change,
            grant,
            side.upper(),
            base=session.base(f"grant/{grant}"),
            actor=actor_or_user(actor),
            reason=reason,
        )
        status = session.rights.grants[grant].status
        show_applied(applied, output, grant=grant, side=side.lower(), status=status)

    with_rights(context, work, writing=True)


def revoke(
    context: typer.Context,
    grant: GrantId,
    reason: Reason = "",
    actor: Actor = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Revoke a grant for good; its id can never be used again.

    A grant that is not known is refused unless --yes is said: its id is ended all the same.
    """

    async def work(session: Session) -> None:
        known = grant in session.rights.grants
        if not known and not yes and not session.behind:
            raise InputError(
                f"grant {grant} is not known", hint="`midgate grant list` shows all; --yes ends it"
            )
        if dry_run:
            return dry(output, row_of(session, grant) if known else {"grant": grant})
        confirm(f"revoke grant {grant} for good?", yes=yes)
        applied = await session.append(
            grant_end_change, grant, actor=actor_or_user(actor), reason=reason
        )
        show_applied(applied, output)

    with_rights(context, work, writing=True, ending=True)


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="the rows; - for stdin")],
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Import grants from a CSV file, all of them or none.

    Columns: grant_id, tenant, scope, mid, crid, channels, basis, agreement, from, to, reason, then
    any of token, data_from, data_to, restricted. Empty are allowed: grant_id (then derived from
    the row), mid or crid as the scope says, agreement unless the basis is IP_AGREEMENT, to, reason,
    and the later ones, but token if the basis is MERCHANT_TOKEN. A row that is in force already
    changes nothing.
    """
    import_file(context, file, actor_or_user(actor), dry_run=dry_run, output=output)
