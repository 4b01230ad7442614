"""The command line: one table of commands, one place that turns errors into exit codes.

Nothing but the command that is called gets imported, so `midgate --help` is quick.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from midgate.effective import GlobalOptions
from midgate.output import emphasized, note
from streams.errors import MidgateError

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

# Command -> (module in midgate.commands, its line in the help), in the order of the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "See it work: three tenants, 50,000 scans, a revocation, a recount."),
    "up": ("local", "Start a local Kafka and make the topics."),
    "down": ("local", "Stop the local Kafka."),
    "worker": ("worker", "Route events until told to stop."),
    "doctor": ("doctor", "Check everything that delivery rests on."),
    "topics": ("topics", "Make, mend and list topics."),
    "tenant": ("tenant", "Tenants, and the terms they accepted."),
    "crid": ("crid", "The Mailer IDs of a Customer Registration ID."),
    "agreement": ("agreement", "IP agreements of service providers."),
    "token": ("token", "Merchant access tokens that platforms hold, by their ids."),
    "grant": ("grant", "Grants: who may see the events of which Mailer ID."),
    "labels": ("labels", "Labels: who generated the label of which number."),
    "revocation": ("revocation", "Rights taken from a tenant whatever its grants say."),
    "rules": ("rules", "The rules: which basis gives which party type what, and since when."),
    "quarantine": ("quarantine", "Events that could not be decided."),
    "ingest": ("ingest", "Bring scan files into the stream."),
    "generate": ("generate", "Write lifelike scan files."),
    "barcode": ("barcode", "Read barcodes: every valid reading, and the owner."),
    "tail": ("tail", "Show what a tenant sees."),
    "explain": ("explain", "Explain the decision about a barcode or an event."),
    "breach": ("breach", "What a wrong grant delivered and should not have, and the reverse."),
    "index": ("index", "Keep the index of raw that makes `explain` quick."),
    "reveals": ("reveals", "Who looked at recipients' personal data, and why."),
    "verify": ("verify", "Recount every delivery, independently of the router."),
    "usage": ("usage", "Units of use, and what they cost."),
    "config": ("config", "Show the effective settings and where they come from."),
}

HELP = """Distributes USPS tracking events to the tenants entitled to each package's Mailer ID.

The broker's address: --bootstrap, else MIDGATE_BOOTSTRAP, else what `midgate up` left in
./.midgate/bootstrap.
"""

EXIT_CODES = """Exit codes: 0 ok, 1 unexpected error, 2 wrong usage or input, 3 configuration,
4 broker unreachable, 5 not authorised, 6 schema, 7 a check failed or a change was refused,
130 interrupted."""


class LazyGroup(TyperGroup):
    """Lists commands from the table, and imports a command's module only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import the module of a command and build the command."""
    module, text = COMMANDS[name]
    holder = typer.Typer(
        pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None
    )
    # A second command keeps typer from taking a single one for the whole program.
    holder.command("-", hidden=True)(lambda: None)
    importlib.import_module(f"midgate.commands.{module}").register(holder)
    command = typer.main.get_group(holder).commands[name]
    command.help = command.help or text
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    # Boxes would cost half of the time that `--help` takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GLOBAL_WITH_VALUE = ("--bootstrap", "--prefix", "--app-id")
GLOBAL_FLAGS = ("--debug",)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"midgate {version('midgate')}")
        raise typer.Exit


@app.callback(help=HELP, epilog=EXIT_CODES)
def midgate(
    context: typer.Context,
    bootstrap: Annotated[
        str | None, typer.Option(help="broker address, host:port[,host:port…]")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="prefix of all topics (MIDGATE_PREFIX, else midgate)")
    ] = None,
    app_id: Annotated[
        str | None, typer.Option(help="application id (MIDGATE_APP_ID, else midgate)")
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="show the traceback of an unexpected error")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="show the version", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Options of every command; they may stand anywhere on the line."""
    context.obj = GlobalOptions(bootstrap, prefix, app_id)


def global_options_first(arguments: Sequence[str]) -> list[str]:
    """Move the global options before the command, as people write them anywhere."""
    first: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            rest += [word, *waiting]
            break
        if word in GLOBAL_WITH_VALUE and waiting:
            first += [word, waiting.pop(0)]
        elif word in GLOBAL_FLAGS or word.startswith(tuple(f"{n}=" for n in GLOBAL_WITH_VALUE)):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code, having said what went wrong on stderr."""
    try:
        result = typer.main.get_command(app).main(
            args=global_options_first(arguments), prog_name="midgate", standalone_mode=False
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else EXIT_OK
    except MidgateError as error:
        say_error(str(error), error.hint)
        if "--debug" in arguments:
            traceback.print_exc()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _broken_pipe()
    except SystemExit as error:
        # typer ends the process by itself when the reader of our output has gone.
        if isinstance(error.__context__, BrokenPipeError):
            return _broken_pipe()
        return error.code if isinstance(error.code, int) else EXIT_UNEXPECTED
    except Exception as error:  # noqa: BLE001  # the last line: nobody wants a traceback unasked
        return _other_error(error, debug="--debug" in arguments)


def _other_error(error: Exception, *, debug: bool) -> int:
    message = getattr(error, "format_message", None)
    if message is not None:  # typer's own: wrong usage
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "midgate"
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            note(message())
        else:
            say_error(message(), f"`{path} --help` shows how it is called")
        return int(getattr(error, "exit_code", EXIT_USAGE))
    if debug:
        traceback.print_exc()
    say_error(
        f"unexpected {type(error).__name__}: {error}", "--debug shows where; please report it"
    )
    return EXIT_UNEXPECTED


def _broken_pipe() -> int:
    # Python flushes stdout once more at its end, and would complain there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE


def say_error(message: str, hint: str) -> None:
    """`error: …` and `hint: …` on stderr."""
    note(f"{emphasized('error:', 'red')} {message}")
    if hint:
        note(f"{emphasized('hint:', 'cyan')} {hint}")


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
