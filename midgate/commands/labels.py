"""`midgate labels import|show`."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from midgate.effective import settings
from midgate.output import DryRun, Format, Output, Progress, note, show_record, show_rows
from streams.errors import InputError
from streams.instants import format_instant

if TYPE_CHECKING:
    from connectors.labels.label_import import Checked
    from streams.label_history import Label
    from streams.settings import Settings

COLUMNS = ["index", "label_id", "mid", "generated_by", "valid_from", "valid_to", "mailing_date"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Labels: who generated the label of which number, and when."
    )
    group.command("import")(import_)
    group.command("show")(show)
    app.add_typer(group, name="labels")


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="the rows; - for stdin")],
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Register labels from a CSV file; all of it is checked before anything is written.

    Columns: pic, label_id, mid, generated_by (tenant id), merchant_token, generated_at,
    valid_from, valid_to (exclusive), mailing_date, unique_tracking_id. Empty are allowed:
    label_id (then derived from the row), merchant_token, generated_at (then valid_from),
    mailing_date, unique_tracking_id. A label that is registered already changes nothing; the same
    label id with other content is refused. Interrupted, the same command adds the rest.
    """
    from midgate.grant_import import refuse
    from midgate.rights_session import say_only_warnings

    say_only_warnings()
    effective = settings(context)
    with _opened(file) as lines:
        checked, written = asyncio.run(_import(effective, lines, dry_run=dry_run))
    if checked.errors:
        refuse(file, checked.errors, output)
    summary = {
        "file": str(file),
        "rows": checked.rows,
        "new": checked.new,
        "known": checked.rows - checked.new,
        "written": written,
        "dry_run": dry_run,
    }
    show_record("import", summary, output)
    if dry_run and output is Format.TABLE:
        note("dry run: nothing was done")


async def _import(effective: "Settings", lines: TextIO, *, dry_run: bool) -> tuple["Checked", int]:
    from connectors.labels.label_import import LabelImport
    from connectors.labels.registry import LabelRegistry

    written = 0
    async with AsyncExitStack() as stack:
        with Progress("reading what is registered", unit="records") as reading:
            registry = await stack.enter_async_context(
                LabelRegistry(
                    effective.kafka, effective.layout, effective.stores, on_progress=reading.report
                )
            )
        work = stack.enter_context(closing(LabelImport(registry)))
        with Progress("checking", unit="rows") as checking:
            checked = await work.check(lines, on_progress=checking.report)
        if not checked.errors and not dry_run:
            with Progress("registering", unit="numbers") as writing:
                written = await work.write(on_progress=writing.report)
    return checked, written


@contextmanager
def _opened(file: Path) -> Iterator[TextIO]:
    """The file's lines; InputError when it cannot be read, or is no text."""
    hint = "a CSV file in UTF-8"
    try:
        if str(file) == "-":
            yield sys.stdin
            return
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield lines
    except FileNotFoundError:
        raise InputError(f"{file} does not exist", hint="give the path of a CSV file") from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}", hint=hint) from error


def show(
    context: typer.Context,
    pic: Annotated[str, typer.Argument(metavar="PIC", help="the number; routing is cut off")],
    output: Output = Format.TABLE,
) -> None:
    """Show every label of a number, in the order in which they were registered."""
    from midgate.rights_session import say_only_warnings
    from schemas.barcode import normalise, owner
    from schemas.reasons import BarcodeVerdict

    say_only_warnings()
    found = owner(normalise(pic).encode("ascii", "replace"))
    if found.verdict not in (BarcodeVerdict.OWNED, BarcodeVerdict.NO_OWNER):
        raise InputError(f"{pic} is no tracking number: {found.reason}", hint="`midgate barcode`")
    effective = settings(context)
    with Progress("reading labels", unit="records") as progress:
        labels = asyncio.run(_history(effective, found.pic, progress))
    rows = [_row(index, label) for index, label in enumerate(labels)]
    number = found.pic.decode("ascii")
    show_rows(
        "labels",
        rows,
        output,
        columns=COLUMNS,
        empty=f"no label of {number} is registered",
        extra={"pic": number},
    )


async def _history(effective: "Settings", pic: bytes, progress: Progress) -> "list[Label]":
    """The number's newest record, found by reading its partition to the end."""
    from connectors.labels.registry import partition_of
    from midgate.reading import partitions_of, reading
    from schemas.codec import MalformedRecordError
    from streams.label_history import decode_history

    labels: list[Label] = []
    async with reading(effective.kafka) as consumer:
        places = await partitions_of(consumer, effective.layout.topics.labels)
        place = places[partition_of(pic, len(places))]
        consumer.assign([place])
        consumer.seek(place, (await consumer.beginning_offsets([place]))[place])
        end = (await consumer.end_offsets([place]))[place]
        while (position := await consumer.position(place)) < end:
            progress.report(position, end)
            for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                if record.key == pic:
                    try:
                        value = record.value
                        labels = decode_history(pic.decode("ascii"), value) if value else []
                    except MalformedRecordError:
                        note(f"offset {record.offset} is no label record; it has no effect")
    return labels


def _row(index: int, label: "Label") -> dict[str, Any]:
    from streams.label_csv import EPOCH

    mailed = label.mailing_date
    return {
        "index": index,
        "label_id": label.label_id,
        "mid": label.mid,
        "generated_by": label.generated_by,
        "merchant_token": label.merchant_token_id,
        "generated_at": format_instant(label.generated_at_ms),
        "valid_from": format_instant(label.valid_from_ms),
        "valid_to": format_instant(label.valid_to_ms),
        "mailing_date": "" if mailed is None else (EPOCH + timedelta(days=mailed)).isoformat(),
        "unique_tracking_id": label.unique_tracking_id,
    }
