"""`grant import`: read the file, name every error, append rows and close, all or nothing."""

import asyncio
import hashlib
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import typer

from midgate.output import Format, Progress, note, show_record, show_rows
from midgate.rights_session import Session, with_rights
from streams.changes import Body, grant_change, import_close_change
from streams.errors import InputError
from streams.grant_conflicts import Present, conflicts
from streams.grant_csv import GrantRow, RowError, parse_grants

# Appending 100,000 rows takes seconds; the rule voids an import not closed within ten minutes.
APPEND_S_MAX = 540.0
ERRORS_SHOWN_MAX = 50
ROWS_AT_ONCE = 500


def import_file(
    context: typer.Context, file: Path, actor: str, *, dry_run: bool, output: Format
) -> None:
    """Run one import; raises InputError when anything in the file is wrong."""
    rows, errors = read_file(file)
    if errors and not rows:
        refuse(file, errors, output)

    async def work(session: Session) -> dict[str, Any]:
        found = sorted([*errors, *check_references(session, rows)], key=lambda error: error.line)
        if found:
            refuse(file, found, output)
        wanted = [row for row in rows if not in_force(session, row.body)]
        new = sum(row.body["grant_id"] not in session.rights.grants for row in wanted)
        summary: dict[str, Any] = {
            "file": str(file),
            "rows": len(rows),
            "new": new,
            "changed": len(wanted) - new,
            "unchanged": len(rows) - len(wanted),
        }
        if dry_run or not wanted:
            return {**summary, "version": session.follower.version, "dry_run": dry_run}
        with Progress("importing", unit="rows") as progress:
            version = await append_rows(session, wanted, actor, progress)
        return {**summary, "version": version, "dry_run": False}

    show_record("import", with_rights(context, work, writing=not dry_run), output)
    if dry_run and output is Format.TABLE:
        note("dry run: nothing was done")


def read_file(file: Path) -> tuple[list[GrantRow], list[RowError]]:
    """Rows and errors of the file; a file that is no text is one error."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{file} does not exist", hint="give the path of a CSV file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}", hint="a CSV file in UTF-8") from error
    return parse_grants(text.splitlines())


def check_references(session: Session, rows: list[GrantRow]) -> list[RowError]:
    """What the rows name and the rights do not have, or have otherwise; and what overlaps."""
    rights = session.rights
    agreements = {one.agreement_id: one.tenant_id for one in rights.agreements.values()}

    present = Present(
        now_ms=int(time.time() * 1000),
        tenant_open=rights.tenant_open,
        crid_known=rights.crids.__contains__,
        agreement_tenant=agreements.get,
        token_tenant=rights.token_tenant,
        grant_ended=rights.grant_ended,
        grant=rights.grants.get,
        stands=lambda body: in_force(session, body),
    )
    return conflicts(rows, present)


def in_force(session: Session, body: Body) -> bool:
    """Whether the very same grant stands already, so that the row changes nothing."""
    grant = session.rights.grants.get(body["grant_id"])
    if grant is None or grant.ended:
        return False
    channels = {"channels": frozenset(grant.channels)}
    stands = {name: getattr(grant, name) for name in body if name != "channels"} | channels
    return stands == body | {"channels": frozenset(body["channels"])}


async def append_rows(
    session: Session, rows: list[GrantRow], actor: str, progress: Progress
) -> int:
    """Append the rows and their close; the version from which they count.

    Raises ChangeVoidError when the close was void, and then none of them counts.
    """
    assert session.writer is not None, "an import writes"
    import_id = uuid.uuid4().bytes
    digest = hashlib.sha256()
    changes: list[tuple[bytes, bytes]] = []
    for number, row in enumerate(rows):
        if not number % ROWS_AT_ONCE:
            # The follower's connections live on the same loop, and must not starve.
            await asyncio.sleep(0)
        change_id = uuid.uuid4().bytes
        digest.update(change_id)
        base = session.base(f"grant/{row.body['grant_id']}")
        record = grant_change(
            row.body,
            base=base,
            actor=actor,
            reason=row.reason,
            change_id=change_id,
            import_id=import_id,
        )
        changes.append((record, change_id))
    close_id = uuid.uuid4().bytes
    close = import_close_change(
        import_id, len(rows), digest.digest(), actor=actor, reason="import", change_id=close_id
    )
    applied = await session.writer.append_many(
        [*changes, (close, close_id)],
        timeout_s=APPEND_S_MAX,
        on_progress=lambda done: progress.report(done, len(changes) + 1),
    )
    return applied.offset + 1


def refuse(file: Path, errors: list[RowError], output: Format) -> None:
    """Show the errors by row and column, and refuse the whole file."""
    rows = [
        {
            "line": error.line,
            "column": error.column,
            "value": error.value,
            "expected": error.expected,
        }
        for error in (errors if output is Format.JSON else errors[:ERRORS_SHOWN_MAX])
    ]
    show_rows("errors", rows, output)
    raise InputError(
        f"{file}: {len(errors)} errors, nothing was imported",
        hint="mend the rows named above and run the import again",
    )
