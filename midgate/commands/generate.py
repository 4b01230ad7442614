"""`midgate generate see`."""

import gzip
import random
import sys
import time
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from midgate.output import Format, Output, Progress, note, show_record
from streams.errors import InputError

PIECES_DEFAULT = 1_000
STDOUT = Path("-")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Write lifelike scan files.")
    group.command("see")(see)
    app.add_typer(group, name="generate")


def see(
    pieces: Annotated[
        int, typer.Option(min=0, help=f"whole histories of so many pieces [{PIECES_DEFAULT}]")
    ] = 0,
    events: Annotated[int, typer.Option(min=0, help="instead: so many lines exactly")] = 0,
    mids: Annotated[int, typer.Option(min=1, help="Mailer IDs in all")] = 10,
    mid: Annotated[
        list[str] | None, typer.Option(help="a Mailer ID that takes part (repeatable)")
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed and options give the same bytes")] = 1,
    start: Annotated[str, typer.Option(help="first day, YYYY-MM-DD")] = "2026-07-01",
    broken: Annotated[float, typer.Option(min=0.0, max=1.0, help="share of damaged lines")] = 0.002,
    out: Annotated[
        Path, typer.Option(help="file to write (gzip if it ends with .gz); - is stdout")
    ] = STDOUT,
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Write a Scan Event Extract (version 1.5) of made-up pieces.

    Whole histories, late and exactly repeated scans, odd hours, every form of number, numbers
    used again, and some damaged lines.
    """
    from connectors.see_files.generator import Plan, generate

    if pieces and events:
        raise InputError("--pieces and --events were both given", hint="give one of them")
    if output is Format.JSON and out == STDOUT:
        raise InputError("--output json needs --out FILE", hint="stdout is taken by the lines")
    plan = Plan(
        start=_day(start),
        mid_count=mids,
        mids=tuple(_checked_mid(text) for text in mid or ()),
        pieces=0 if events else pieces or PIECES_DEFAULT,
        lines=events,
        broken=broken,
    )
    began = time.monotonic()
    portions = generate(plan, random.Random(seed))
    if out == STDOUT:
        count = _write(portions, sys.stdout.buffer, events)
    else:
        count = _write_file(portions, out, events, force=force)
    seconds = time.monotonic() - began
    if output is Format.JSON:
        show_record("generated", {"file": str(out), "lines": count, "seed": seed}, output)
    else:
        note(f"{count:,} lines in {seconds:.1f} s ({count / max(seconds, 0.001):,.0f} lines/s)")


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--start {text} is no day", hint="YYYY-MM-DD, as 2026-07-01") from None
    if not 1970 <= day.year < 9000:
        raise InputError(f"--start {text} is out of range", hint="between 1970 and 9000")
    return day


def _checked_mid(text: str) -> bytes:
    from schemas.mid import is_mid

    if not is_mid(text):
        raise InputError(
            f"--mid {text} is no Mailer ID",
            hint="six digits starting with 0-8, or nine starting with 9",
        )
    return text.encode()


def _write_file(portions: Iterable[list[bytes]], out: Path, total: int, *, force: bool) -> int:
    """Write under another name first: an ingest of the folder never sees half a file."""
    if out.exists() and not force:
        raise InputError(f"{out} exists", hint="another name, or --force to overwrite it")
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as plain:
            if out.suffix == ".gz":
                # Without time and name in it, the same lines give the same bytes.
                with gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) as packed:
                    count = _write(portions, packed, total)
            else:
                count = _write(portions, plain, total)
        part.replace(out)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written: {error.strerror}", hint="check folder, rights and space"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _write(portions: Iterable[list[bytes]], target: "BinaryIO | gzip.GzipFile", total: int) -> int:
    count = 0
    with Progress("generate", unit="lines") as progress:
        for lines in portions:
            target.write(b"\n".join(lines) + b"\n")
            count += len(lines)
            progress.report(count, total)
    return count
