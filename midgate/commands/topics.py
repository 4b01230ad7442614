"""`midgate topics apply|list`."""

import asyncio
from dataclasses import asdict

import typer

from midgate.effective import settings
from midgate.output import DryRun, Format, Output, note, show_rows
from midgate.rights_session import say_only_warnings

WORDS = {
    "create": ("create", "created"),
    "configure": ("change", "changed"),
    "append": ("append", "appended"),
    "commit": ("commit", "committed"),
    "warn": ("WARNING", "WARNING"),
    "none": ("nothing to do", "as it should be"),
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Make, mend and list topics.")
    group.command("apply")(apply)
    group.command("list")(list_)
    app.add_typer(group, name="topics")


def apply(context: typer.Context, dry_run: DryRun = False, output: Output = Format.TABLE) -> None:
    """Make the topics, log id, layout and first offsets; mend settings that have drifted.

    P (MIDGATE_PARTITIONS) and lanes (MIDGATE_LANES) count on a new cluster; later they are fixed,
    and another value is refused. Running it again changes nothing.
    """
    from streams.topics_admin import apply_topics

    say_only_warnings()
    effective = settings(context)
    changes = asyncio.run(apply_topics(effective.kafka, effective.layout, dry_run=dry_run))
    rows = [asdict(change) for change in changes]
    if output is Format.TABLE:
        for row in rows:
            row["action"] = WORDS[row["action"]][0 if dry_run else 1]
    show_rows("changes", rows, output, extra={"dry_run": dry_run})
    if output is Format.TABLE and dry_run:
        note("dry run: nothing was done")


def list_(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List every topic under the prefix."""
    from streams.topics_admin import list_topics

    say_only_warnings()
    effective = settings(context)
    rows = [
        {
            "topic": state.name,
            "partitions": state.partitions,
            "replication": state.replication,
            "policy": state.config.get("cleanup.policy", ""),
            "retention_ms": int(state.config.get("retention.ms", -1)),
            "config": {name: state.config[name] for name in sorted(state.own)},
        }
        for state in asyncio.run(list_topics(effective.kafka, effective.layout))
    ]
    show_rows(
        "topics",
        rows,
        output,
        columns=["topic", "partitions", "replication", "policy", "retention_ms"],
        empty=f"no topics under prefix {effective.layout.prefix}: run `midgate topics apply`",
    )
