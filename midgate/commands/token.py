"""`midgate token add|end|list|show`."""

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
    show_applied,
    with_rights,
)
from streams.changes import merchant_token_change, merchant_token_end_change
from streams.errors import InputError
from streams.structure import ID, ID_EXPECTED

TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="id of the token, not the secret")]
COLUMNS = ["token", "tenant", "merchant", "state", "grants"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Merchant access tokens that platforms hold, by their ids."
    )
    group.command("add")(add)
    group.command("end")(end)
    group.command("list")(list_)
    group.command("show")(show)
    app.add_typer(group, name="token")


def row_of(session: Session, token_id: str) -> dict[str, Any]:
    """A token for a listing; `grants` counts those under it that were not revoked."""
    token = session.rights.tokens[token_id]
    grants = [one for one in session.rights.grants.values() if one.merchant_token_id == token_id]
    return {
        "token": token_id,
        "tenant": token.tenant_id,
        "merchant": token.merchant,
        "state": "ended" if token.ended else "active",
        "grants": sum(not grant.ended for grant in grants),
        "changed_at": session.base(f"token/{token_id}"),
    }


def add(
    context: typer.Context,
    token: TokenId,
    tenant: Annotated[str, typer.Option(help="the platform that holds it")],
    merchant: Annotated[str, typer.Option(help="the merchant that gave it, for people")] = "",
    reason: Reason = "",
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Make a merchant's active token known. Give its id; the token itself is never stored."""
    if not ID.fullmatch(token):
        raise InputError(f"{token!r} is no id of a token", hint=f"expected {ID_EXPECTED}")

    async def work(session: Session) -> None:
        known_tenant(session, tenant)
        base = session.base(f"token/{token}")
        plan = {"token": token, "tenant": tenant, "new": base < 0}
        if dry_run:
            return dry(output, plan)
        applied = await session.append(
            merchant_token_change,
            token,
            tenant_id=tenant,
            merchant=merchant,
            base=base,
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output, **plan)

    with_rights(context, work, writing=True)


def end(
    context: typer.Context,
    token: TokenId,
    reason: Reason = "",
    actor: Actor = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """End a token for good: none of its grants gives a right from here on.

    A token that is not known is refused unless --yes is said: its id is ended all the same.
    """

    async def work(session: Session) -> None:
        known = token in session.rights.tokens
        if not known and not yes and not session.behind:
            raise InputError(
                f"token {token} is not known", hint="`midgate token list` shows all; --yes ends it"
            )
        if dry_run:
            return dry(output, row_of(session, token) if known else {"token": token})
        confirm(f"end token {token} and all its grants for good?", yes=yes)
        applied = await session.append(
            merchant_token_end_change, token, actor=actor_or_user(actor), reason=reason
        )
        show_applied(applied, output)

    with_rights(context, work, writing=True, ending=True)


def list_(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="only this tenant's")] = "",
    everything: Annotated[bool, typer.Option("--all", help="ended ones, too")] = False,
    limit: Annotated[int, typer.Option(min=1, help="at most so many rows")] = 1000,
    output: Output = Format.TABLE,
) -> None:
    """List tokens."""

    async def work(session: Session) -> tuple[list[dict[str, Any]], int]:
        chosen = sorted(
            token_id
            for token_id, token in session.rights.tokens.items()
            if (not tenant or token.tenant_id == tenant) and (everything or not token.ended)
        )
        return [_listed(session, token_id) for token_id in chosen[:limit]], len(chosen)

    rows, total = with_rights(context, work)
    columns = COLUMNS[:-1]
    show_rows(
        "tokens", rows, output, columns=columns, empty="no such tokens", extra={"total": total}
    )


def _listed(session: Session, token_id: str) -> dict[str, Any]:
    """Without the count of grants, which looks through all of them."""
    token = session.rights.tokens[token_id]
    return {
        "token": token_id,
        "tenant": token.tenant_id,
        "merchant": token.merchant,
        "state": "ended" if token.ended else "active",
        "changed_at": token.changed_at,
    }


def show(context: typer.Context, token: TokenId, output: Output = Format.TABLE) -> None:
    """Show one token, and how many grants rest on it."""

    async def work(session: Session) -> dict[str, Any]:
        if token not in session.rights.tokens:
            raise InputError(f"token {token} is not known", hint="`midgate token list` shows all")
        return row_of(session, token)

    show_record("token", with_rights(context, work), output)
