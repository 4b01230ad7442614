"""`midgate usage statement|list`."""

import asyncio
import csv
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from midgate.commands.agreement import known
from midgate.effective import settings
from midgate.output import Format, Output, Progress, note, show_json, show_rows
from midgate.rates import MONTH, read_rates
from midgate.rights_session import Session, with_rights
from midgate.statement import Statement, make_statement
from schemas.reasons import UnitBilling
from streams.errors import InputError
from streams.instants import format_instant


class StatementFormat(StrEnum):
    """How a statement is shown."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Units of use, and what they cost.")
    group.command("statement")(statement)
    group.command("list")(list_)
    app.add_typer(group, name="usage")


def month_option(text: str) -> str:
    """Refuse what is no month."""
    if text and MONTH.fullmatch(text) is None:
        raise InputError(f"--month {text} is no month", hint="year and month, as 2026-04 (UTC)")
    return text


def statement(
    context: typer.Context,
    agreement: Annotated[str, typer.Option(help="agreement id")],
    month: Annotated[str, typer.Option(help="month in UTC, as 2026-04")],
    output: Annotated[
        StatementFormat, typer.Option("--output", "-o", help="table, csv or json")
    ] = StatementFormat.TABLE,
) -> None:
    """Show what an agreement used in a month: units billed, not billed and why, amounts.

    A month begins at midnight UTC. Rates come from MIDGATE_RATES_FILE; without, there are no
    amounts. What is not final yet is said on stderr, and in JSON under `complete`.
    """
    month = month_option(month)
    path = settings(context).metering.rates_file
    rates = read_rates(path) if path is not None else None

    async def work(session: Session) -> tuple[Statement, list[int]]:
        known(session, agreement)
        counts, waiting = await _counted(session, agreement, month)
        try:
            found = make_statement(
                session.rights.agreements[agreement],
                month,
                counts.units(),
                counts.copies(),
                metered_from_ms=_metered_from(session),
                rates=rates,
            )
        finally:
            counts.close()
        return found, waiting

    found, waiting = with_rights(context, work)
    is_over = time.time() * 1000 >= found.to_ms
    _show(found, output, complete=is_over and not waiting)
    if not is_over:
        note(f"{month} is not over (until {format_instant(found.to_ms)}): the figures will grow")
    if waiting:
        note(f"facts wait to be metered in partitions {', '.join(map(str, waiting))}")
    if rates is None:
        note("no amounts: MIDGATE_RATES_FILE is not set")


async def _counted(session: Session, agreement_id: str, month: str) -> tuple[Any, list[int]]:
    from midgate.reading import reading
    from midgate.usage_reading import MonthCounts, waiting_partitions, whole_topic

    topics = session.settings.layout.topics
    counts = MonthCounts(agreement_id, month)
    try:
        with Progress("usage", unit="records") as progress:
            async with reading(session.settings.kafka) as consumer:
                async for records in whole_topic(consumer, topics.usage, progress.report):
                    counts.read(records)
                waiting = await waiting_partitions(consumer, topics.metering, counts.positions)
    except BaseException:
        counts.close()
        raise
    return counts, waiting


def _metered_from(session: Session) -> int:
    from streams.rule_sets import rules_at

    return rules_at(session.rights.rule_sets, int(time.time() * 1000)).metered_from


def _show(found: Statement, output: StatementFormat, *, complete: bool) -> None:
    if output is StatementFormat.JSON:
        bounds = {"from": format_instant(found.from_ms), "to": format_instant(found.to_ms)}
        show_json({"statement": {**found.as_record(), **bounds, "complete": complete}})
    elif output is StatementFormat.CSV:
        rows = found.as_rows()
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        until = format_instant(found.to_ms)
        note(
            f"agreement {found.agreement_id}, tenant {found.tenant_id}, fee model"
            f" {found.fee_model}; {format_instant(found.from_ms)} until before {until}"
        )
        columns = ["line", "what", "reason", "count", "rate", "amount", "currency"]
        show_rows("statement", found.as_rows(), Format.TABLE, columns=columns)


def list_(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", min=1, max=100_000, help="the last so many")] = 50,
    agreement: Annotated[
        str, typer.Option(help="only of this agreement; - for what has none")
    ] = "",
    month: Annotated[str, typer.Option(help="only of this month in UTC, as 2026-04")] = "",
    billing: Annotated[str, typer.Option(help="only billable, or with this reason")] = "",
    output: Output = Format.TABLE,
) -> None:
    """List the newest units, and the tallies of copies that made none (kind tally)."""
    month = month_option(month)
    if billing and billing not in set(UnitBilling):
        raise InputError(
            f"--billing {billing} is no reason", hint=", ".join(one.value for one in UnitBilling)
        )
    wanted = {"agreement": agreement, "month": month, "billing": billing}
    rows = asyncio.run(_rows(context, {k: v for k, v in wanted.items() if v}, count))
    columns = ["agreement", "kind", "month", "tracking_number", "channel", "billing", "count"]
    show_rows("usage", rows, output, columns=columns, empty="no usage yet")


async def _rows(
    context: typer.Context, wanted: Mapping[str, str], count: int
) -> list[dict[str, Any]]:
    from midgate.reading import reading
    from midgate.usage_reading import usage_of, whole_topic

    effective = settings(context)
    # By key, so that a unit that was corrected is shown as it stands.
    found: dict[bytes, dict[str, Any]] = {}
    with Progress("usage", unit="records") as progress:
        async with reading(effective.kafka) as consumer:
            topic = effective.layout.topics.usage
            async for records in whole_topic(consumer, topic, progress.report):
                for record in records:
                    found.pop(record.key, None)
                    row = row_of(usage_of(record))
                    if row and all(row[name] == value for name, value in wanted.items()):
                        found[record.key] = row
                found = _newest(found, count)
    return list(_newest(found, count).values())


def _newest(found: dict[bytes, dict[str, Any]], count: int) -> dict[bytes, dict[str, Any]]:
    """The newest units, and behind them every tally, of which there are few."""
    units = [item for item in found.items() if item[1]["kind"] != "tally"]
    tallies = [item for item in found.items() if item[1]["kind"] == "tally"]
    newest = sorted(units, key=lambda item: str(item[1]["metered_at"]))[-count:]
    return dict(newest + sorted(tallies))


def row_of(usage: Any) -> dict[str, Any] | None:
    """A unit or tally for a listing."""
    from streams.usage_records import UsageTally, UsageUnit, month_of

    if isinstance(usage, UsageUnit):
        return {
            "agreement": usage.agreement_id or "-",
            "tenant": usage.tenant_id,
            "kind": usage.kind.lower(),
            "month": month_of(usage.metered_at),
            "metered_at": format_instant(usage.metered_at),
            "tracking_number": usage.tracking_number,
            "channel": usage.channel.lower(),
            "billing": usage.billing.value,
            "count": 1,
            "call": usage.call_id,
            "raw": f"{usage.raw_partition}:{usage.raw_offset}" if usage.raw_offset >= 0 else "",
        }
    if isinstance(usage, UsageTally):
        return {
            "agreement": usage.agreement_id or "-",
            "tenant": "",
            "kind": "tally",
            "month": usage.month,
            "metered_at": "",
            "tracking_number": "",
            "channel": "",
            "billing": usage.billing.value,
            "count": usage.copies,
            "call": "",
            "raw": "",
        }
    return None
