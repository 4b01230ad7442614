"""`midgate tenant add|list|show|remove|terms`."""

from typing import Annotated, Any

import typer

from midgate.output import DryRun, Format, Output, Yes, confirm, note, show_record, show_rows
from midgate.rights_session import (
    Actor,
    Reason,
    Session,
    actor_or_user,
    dry,
    show_applied,
    with_rights,
)
from streams.changes import tenant_change, tenant_end_change, terms_change
from streams.errors import InputError
from streams.topics import is_tenant_id

TenantId = Annotated[str, typer.Argument(metavar="TENANT", help="tenant id")]
PARTY_TYPES = (
    "SHIPPER",
    "PLATFORM",
    "LABEL_PROVIDER",
    "CONSOLIDATOR",
    "SERVICE_PROVIDER",
    "AUDITOR",
    "SOFTWARE_VENDOR",
    "TRACKING_ANALYTICS_VENDOR",
    "PUBLIC_TRACKING_WEBSITE",
    "CONSUMER_BUSINESS",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Tenants, and the terms they accepted.")
    group.command("add")(add)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("remove")(remove)
    group.command("terms")(terms)
    app.add_typer(group, name="tenant")


def party_type_of(text: str) -> str:
    """A party type as people write it: any case, dashes or underscores."""
    name = text.upper().replace("-", "_")
    if name not in PARTY_TYPES:
        raise InputError(
            f"{text} is no party type", hint="one of " + ", ".join(PARTY_TYPES).lower()
        )
    return name


def known_tenant(session: Session, tenant: str) -> Any:
    """The tenant, or an error that says where tenants are listed."""
    found = session.rights.tenants.get(tenant)
    if found is None:
        raise InputError(f"tenant {tenant} is not known", hint="`midgate tenant list` shows all")
    return found


def row_of(session: Session, tenant_id: str) -> dict[str, Any]:
    """A tenant for a listing."""
    rights = session.rights
    tenant = rights.tenants[tenant_id]
    terms = rights.terms.get(tenant_id)
    return {
        "tenant": tenant_id,
        "state": "closed" if tenant.closed else "open",
        "party_type": tenant.party_type,
        "name": tenant.name,
        "crid": tenant.crid,
        "terms_accepted": bool(terms and terms.accepted),
        "terms_version": terms.terms_version if terms else "",
        "topic": tenant.topic,
        "partitions": tenant.partitions,
        "changed_at": rights.subjects.get(f"tenant/{tenant_id}", -1),
    }


def add(
    context: typer.Context,
    tenant: TenantId,
    party_type: Annotated[str, typer.Option("--party-type", help="party class, as shipper")],
    name: Annotated[str, typer.Option(help="name for people (else the id)")] = "",
    crid: Annotated[str, typer.Option(help="the tenant's own CRID")] = "",
    partitions: Annotated[
        int, typer.Option(min=1, help="partitions of the topic, for life; divides those of raw")
    ] = 1,
    accept_terms: Annotated[
        str, typer.Option("--accept-terms", help="version of the terms the tenant has accepted")
    ] = "",
    reason: Reason = "",
    actor: Actor = "",
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Add a tenant: its topic first, then its record in the authorization log.

    A tenant that is there is changed (name, party type, CRID).
    """
    party = party_type_of(party_type)
    if not is_tenant_id(tenant):
        raise InputError(
            f"{tenant} is no tenant id",
            hint="small letters and digits, single dashes between, at most 100 characters",
        )

    async def work(session: Session) -> None:
        from streams.topics_admin import create_tenant_topic

        effective = session.settings
        topic = effective.layout.topics.tenant(tenant)
        base = session.base(f"tenant/{tenant}")
        plan = {"tenant": tenant, "party_type": party, "topic": topic, "new": base < 0}
        if dry_run:
            return dry(output, plan)
        stamp = {"actor": actor_or_user(actor), "reason": reason}
        await create_tenant_topic(effective.kafka, effective.layout, tenant, partitions)
        applied = await session.append(
            tenant_change,
            tenant,
            name=name or tenant,
            party_type=party,
            topic=topic,
            partitions=partitions,
            crid=crid,
            base=base,
            **stamp,
        )
        if accept_terms:
            terms_base = session.base(f"terms/{tenant}")
            await session.append(terms_change, tenant, accept_terms, True, base=terms_base, **stamp)
        show_applied(applied, output, **plan, terms=accept_terms)

    with_rights(context, work, writing=True)


def list_(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List all tenants, closed ones too."""

    async def work(session: Session) -> list[dict[str, Any]]:
        return [row_of(session, tenant) for tenant in sorted(session.rights.tenants)]

    rows = with_rights(context, work)
    columns = ["tenant", "state", "party_type", "terms_accepted", "topic", "name"]
    show_rows("tenants", rows, output, columns=columns, empty="no tenants yet")


def show(context: typer.Context, tenant: TenantId, output: Output = Format.TABLE) -> None:
    """Show one tenant."""

    async def work(session: Session) -> dict[str, Any]:
        known_tenant(session, tenant)
        grants = [g for g in session.rights.grants.values() if g.tenant_id == tenant]
        agreements = [a for a in session.rights.agreements.values() if a.tenant_id == tenant]
        return {
            **row_of(session, tenant),
            "grants": sum(not grant.ended for grant in grants),
            "grants_ended": sum(grant.ended for grant in grants),
            "agreements": sorted(agreement.agreement_id for agreement in agreements),
        }

    show_record("tenant", with_rights(context, work), output)


def remove(
    context: typer.Context,
    tenant: TenantId,
    reason: Reason = "",
    actor: Actor = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Close a tenant for good: nothing is decided for it any more. Its topic stays."""

    async def work(session: Session) -> None:
        if not session.behind:
            known_tenant(session, tenant)
        topic = session.settings.layout.topics.tenant(tenant)
        if dry_run:
            return dry(output, {"tenant": tenant, "ends": "all its rights", "topic": topic})
        confirm(f"close tenant {tenant} for good?", yes=yes)
        applied = await session.append(
            tenant_end_change, tenant, actor=actor_or_user(actor), reason=reason
        )
        show_applied(applied, output, topic=topic)
        if output is Format.TABLE:
            note(f"what was delivered stays in {topic} until its retention")

    with_rights(context, work, writing=True, ending=True)


def terms(
    context: typer.Context,
    tenant: TenantId,
    version: Annotated[str, typer.Option("--version", help="which terms, as 2026-04")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="withdrawn, not accepted")] = False,
    reason: Reason = "",
    actor: Actor = "",
    output: Output = Format.TABLE,
) -> None:
    """Record that a tenant accepted (or withdrew from) the terms."""

    async def work(session: Session) -> None:
        known_tenant(session, tenant)
        applied = await session.append(
            terms_change,
            tenant,
            version,
            not withdraw,
            base=session.base(f"terms/{tenant}"),
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output, terms_version=version, accepted=not withdraw)

    with_rights(context, work, writing=True)
