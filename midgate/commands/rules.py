"""`midgate rules show|apply FILE`."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from midgate.output import DryRun, Format, Output, Yes, confirm, note, show_json, show_rows
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
from streams.changes import rule_set_change
from streams.errors import InputError
from streams.instants import format_instant
from streams.rule_sets import USPS_RULES, RuleSet, rule_set_of, rules_at
from streams.rules_file import parse_rules, shown_rules

COLUMNS = ["party_type", "basis", "channels", "restricted", "metering"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="The rules: which basis gives which party type what, and since when.",
    )
    group.command("show")(show)
    group.command("apply")(apply)
    app.add_typer(group, name="rules")


def show(
    context: typer.Context,
    at: Annotated[str, typer.Option("--at", help="in force at this instant, else now")] = "",
    built_in: Annotated[
        bool, typer.Option("--built-in", help="those that hold where the log has none; no broker")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show the rules in force, and which others the log holds.

    The JSON under `rules` is the form that `midgate rules apply` reads.
    """
    given = instant_option("--at", at)
    now_ms = int(time.time() * 1000) if given is None else given

    async def work(session: Session) -> tuple[RuleSet, ...]:
        return session.rights.rule_sets

    later = () if built_in else with_rights(context, work)
    rules = rules_at(later, now_ms)
    if output is Format.JSON:
        others = [_summary(one, rules) for one in (USPS_RULES, *later)]
        show_json({"rules": shown_rules(rules), "rule_sets": others})
        return
    shown = shown_rules(rules)
    typer.echo(f"{rules.rule_set_id}, in force from {shown['effective_from'] or 'the beginning'}")
    typer.echo(f"metered from {shown['metered_from']}; source: {rules.source}")
    show_rows("rows", shown["rows"], output, columns=COLUMNS)
    for one in later:
        note(f"in the log: {one.rule_set_id}, from {format_instant(one.effective_from)}")


def _summary(one: RuleSet, in_force: RuleSet) -> dict[str, Any]:
    shown = shown_rules(one)
    return {
        "rule_set_id": one.rule_set_id,
        "effective_from": shown["effective_from"],
        "in_force": one is in_force,
        "changed_at": one.changed_at,
    }


def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="the rules; - for stdin")],
    reason: Reason = "",
    actor: Actor = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Put rules into the log; they replace the present ones whole from their first instant on.

    FILE is JSON as `midgate rules show --output json` prints it, with an id of its own.
    """
    body, errors = parse_rules(_read(file))
    if errors:
        show_rows("errors", [error._asdict() for error in errors], output)
        raise InputError(
            f"{file}: {len(errors)} errors, nothing was applied",
            hint="mend what is named above; `midgate rules show --output json` shows the form",
        )

    async def work(session: Session) -> None:
        present = rules_at(session.rights.rule_sets, body["effective_from"])
        plan = {
            "rule_set_id": body["rule_set_id"],
            "effective_from": format_instant(body["effective_from"]),
            "replaces": present.rule_set_id,
            "changes": changes(present, rule_set_of(body, 0)),
        }
        if dry_run:
            return dry(output, plan)
        confirm(f"let rules {body['rule_set_id']} replace {present.rule_set_id}?", yes=yes)
        applied = await session.append(
            rule_set_change,
            body,
            base=session.base("rules"),
            actor=actor_or_user(actor),
            reason=reason,
        )
        show_applied(applied, output, **plan)

    with_rights(context, work, writing=True)


def changes(present: RuleSet, new: RuleSet) -> list[str]:
    """What differs, one line a party type and basis."""
    found = []
    for pair in sorted({*present.by_pair, *new.by_pair}):
        before, after = present.row(*pair), new.row(*pair)
        if before is None or after is None:
            found.append(f"{' '.join(pair)}: {'added' if before is None else 'removed'}")
        elif before != after:
            shown = [
                f"{name} {_word(getattr(before, name))} to {_word(getattr(after, name))}"
                for name in ("channels", "restricted", "metering")
                if getattr(before, name) != getattr(after, name)
            ]
            found.append(f"{' '.join(pair)}: {', '.join(shown)}")
    return found


def _word(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value).lower()


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"{file} does not exist", hint="give the path of a JSON file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}", hint="a JSON file in UTF-8") from error
