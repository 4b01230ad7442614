"""`midgate doctor`: everything delivery rests on, one line a check."""

import asyncio
import logging
import sys
from dataclasses import asdict

import typer

from midgate.effective import is_local, options_of, settings
from midgate.output import Format, Output, emphasized, show_json
from midgate.rights_session import say_only_warnings

EXIT_FAILED = 7
COLORS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Check everything that delivery rests on: one line a check, with what to do about it.

    Appends one heartbeat to the authorization log, to compare clocks. Exit code 7 when a check
    failed; warnings alone exit 0.
    """
    from midgate.checks import Doctor, failed

    say_only_warnings()
    # The checks say what is wrong; a library's own lines would say it twice.
    logging.disable(logging.CRITICAL)
    effective = settings(context)
    checks = asyncio.run(Doctor(effective, is_local(options_of(context))).examine())
    ok = not any(failed(checks))
    if output is Format.JSON:
        show_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            status = emphasized(f"{check.status:<4}", COLORS[check.status], sys.stdout)
            fix = f" -> {check.fix}" if check.fix else ""
            typer.echo(f"{status} {check.name:<{width}}  {check.detail}{fix}")
    if not ok:
        raise typer.Exit(EXIT_FAILED)
