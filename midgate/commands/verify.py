"""`midgate verify`: the independent recount of every delivery."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from midgate.effective import settings
from midgate.output import Format, Output, Progress, note, show_json
from midgate.rights_session import instant_option
from streams.errors import InputError

if TYPE_CHECKING:
    from auditor.report import Report
    from streams.settings import Settings

EXIT_WRONG = 7


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="only this tenant's topic")] = "",
    since: Annotated[
        str, typer.Option(help="raw received before this instant is context, and not judged")
    ] = "",
    at_rest: Annotated[
        bool, typer.Option("--at-rest", help="nothing flows: what is not decided is wrong, too")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="how many judge; as many as cores by default")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Recount every delivery, with code that shares nothing with the router.

    What each tenant topic and quarantine must hold follows from raw, authorization log and
    ledger; what is missing, extra, doubled, out of order, wrongly cut or wrong in any byte is named
    by its position. Events may flow meanwhile: the ends are taken once, the report says how far
    each raw partition was judged, and what is under way is no finding.

    Exit code: 0 nothing is wrong; 7 something is; 2, 4 and others: `midgate --help`.
    """
    effective = settings(context)
    since_ms = instant_option("--since", since)
    with Progress("verify", unit="events") as bar:
        report = asyncio.run(
            _verified(effective, tenant, since_ms, bar, at_rest=at_rest, processes=processes)
        )
    if output is Format.JSON:
        show_json({"verify": report.as_json()})
    else:
        typer.echo(report.as_text())
    if not report.ok:
        note("`midgate explain PARTITION:OFFSET` tells how a raw record was decided")
        raise typer.Exit(EXIT_WRONG)


async def _verified(
    effective: "Settings",
    tenant: str,
    since_ms: int | None,
    bar: Progress,
    *,
    at_rest: bool,
    processes: int | None,
) -> "Report":
    from aiokafka.errors import KafkaConnectionError

    from auditor.contents import Scope
    from auditor.kafka_records import AbsentError, CollectError
    from auditor.run import audit
    from streams.clients import ADDRESS_HINT, connection
    from streams.errors import BrokerUnreachableError, MidgateError

    try:
        return await audit(
            connection(effective.kafka),
            effective.layout.prefix,
            effective.layout.app_id,
            scope=Scope(tenant, since_ms, at_rest=at_rest),
            processes=processes,
            progress=bar.report,
        )
    except AbsentError as error:
        hint = "`midgate tenant list` and `midgate topics list` show what there is"
        raise InputError(str(error), hint=hint) from error
    except CollectError as error:
        raise MidgateError(
            str(error), hint="nothing was found wrong or right; try again"
        ) from error
    except KafkaConnectionError as error:
        raise BrokerUnreachableError(
            f"no broker answers at {effective.kafka.bootstrap}", hint=ADDRESS_HINT
        ) from error
