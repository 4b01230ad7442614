"""The demonstration for people: at a glance, is it right?"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from midgate.commands.explain import show_explained
from midgate.demo import scenario
from midgate.demo.story import Outcome
from midgate.output import emphasized, takes_color


def show_outcome(outcome: Outcome) -> None:
    """Counts, samples, a denial explained, the revocation, the verdict."""
    first, last = outcome.first.as_json(), outcome.last.as_json()
    heading("Who got what of the first file")
    show_counts(first)
    for tenant, rows in outcome.samples.items():
        heading(f"What {tenant} sees ({scenario.WHO[tenant]})")
        if not rows:
            typer.echo("nothing")
        for row in rows:
            sees = (row["event_time"], row["event"], row["barcode"], row["facility"])
            typer.echo("  " + "  ".join(sees))
    heading(f"Why {scenario.ANALYST} did not get one of them")
    show_explained(outcome.denial)
    heading("A revocation in the middle of the second file")
    told = outcome.told
    typer.echo(
        f"{scenario.PLATFORM} got {told.platform_before:,} events of it, and"
        f" {told.platform_after} after version {told.version} took its grant away;"
        f" {scenario.SHIPPER} went on with {told.shipper_after:,} more"
    )
    heading("The recount of both files")
    show_counts(last)
    show_verdict(outcome)


def show_counts(report: Mapping[str, Any]) -> None:
    """Due and delivered by tenant, and where the rest went, by reason."""
    rows = [
        (tenant, f"{counts['due']:,}", f"{counts['has']:,}", _reasons(counts["denied"]))
        for tenant, counts in report["tenants"].items()
    ]
    table(("tenant", "due", "in its topic", "denied, by reason"), rows)
    rest = [
        ("withheld (nobody is entitled)", report["withheld"]),
        ("quarantined (owner undecidable)", report["quarantined"]),
        ("quarantined (line unreadable)", report["quarantined_before_raw"]),
    ]
    table(
        ("of all raw events and lines", "", "by reason"),
        [(what, f"{sum(counts.values()):,}", _reasons(counts)) for what, counts in rest],
    )


def show_verdict(outcome: Outcome) -> None:
    """One line that says whether every topic holds what it must."""
    findings = outcome.last.as_json()["findings_by_kind"]
    counted = outcome.last.as_json()["tenants"].values()
    copies = sum(counts["has"] for counts in counted)
    if outcome.ok:
        word = emphasized("EQUAL", "green", sys.stdout)
        typer.echo(
            f"\n{word}: {copies:,} delivered events recounted, none missing, doubled or astray"
            f" ({outcome.seconds:.0f} s)"
        )
        return
    typer.echo(f"\n{emphasized('DIFFERENT', 'red', sys.stdout)}: {findings or 'see above'}")
    for finding in outcome.last.as_json()["findings"]:
        typer.echo(f"  {finding['kind']}: {finding['topic']} {finding['sentence']}")


def heading(text: str) -> None:
    """A line of its own above what follows."""
    typer.echo(f"\n{emphasized(text, 'cyan', sys.stdout)}")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A small table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        last = number == len(columns) - 1
        drawn.add_column(column, justify="left" if not number or last else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    width = None if sys.stdout.isatty() else 110
    color = takes_color(sys.stdout)
    Console(no_color=not color, highlight=False, width=width).print(drawn)


def _reasons(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {number:,}" for reason, number in ordered) or "-"
