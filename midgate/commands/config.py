"""`midgate config`: the effective settings, and where each comes from."""

import typer

from midgate.effective import options_of, origin, settings
from midgate.output import Format, Output, show_rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("config")(config)


def config(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Show the effective settings and where each comes from; secrets are masked."""
    effective = settings(context)
    options = options_of(context)
    rows = []
    for concern in type(effective).model_fields:
        values = getattr(effective, concern)
        for name in type(values).model_fields:
            rows.append(
                {
                    "setting": name,
                    "value": getattr(values, name),
                    "origin": origin(name, options),
                    "concern": concern,
                    "variable": f"MIDGATE_{name.upper()}",
                }
            )
    show_rows("settings", rows, output, columns=["setting", "value", "origin", "variable"])
