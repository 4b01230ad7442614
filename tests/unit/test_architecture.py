"""The import direction is the architecture: who may import whom, and what a core module may not.

`schemas` ← `streams` ← `connectors`; `auditor` imports nothing of ours but the reason names;
`midgate` imports all. Core modules do no I/O and read no clock.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"schemas", "streams", "connectors", "auditor", "deploy", "midgate", "tests"}

# Package -> what it may import of ours (a package, or single modules of one).
ALLOWED: dict[str, set[str]] = {
    "schemas": {"schemas"},
    "streams": {"schemas", "streams"},
    "connectors": {
        "schemas",
        "connectors",
        "streams.clients",
        "streams.errors",
        "streams.garbage",
        "streams.grant_csv",
        "streams.label_csv",
        "streams.label_feed",
        "streams.label_history",
        "streams.label_store",
        "streams.packed_labels",
        "streams.log_end",
        "streams.record_format",
        "streams.metrics",
        "streams.record_batches",
        "streams.settings",
        "streams.topics",
        "streams.transactions",
        "streams.transaction_failures",
        "streams.describe_producers",
        "streams.usage_records",
    },
    "auditor": {"auditor", "schemas.reasons"},
    "deploy": {"deploy", "streams.errors"},
    "midgate": OURS - {"tests"},
}

# Modules without I/O and clock: everything that decides.
CORE = {
    "schemas": [
        "barcode",
        "codec",
        "event_codes",
        "event_id",
        "event_reader",
        "foreign_forms",
        "mid",
        "piece",
        "reasons",
        "strict_avro",
    ],
    "streams": [
        "acceptance",
        "acknowledgement",
        "batch_output",
        "batch_size",
        "billable",
        "change_ids",
        "change_reader",
        "changes",
        "corrected_past",
        "decision",
        "errors",
        "facts",
        "grant_conflicts",
        "grant_csv",
        "held_events",
        "holds",
        "imports",
        "index_keys",
        "instants",
        "label_csv",
        "label_desk",
        "label_facts",
        "label_history",
        "label_lookup",
        "label_routing",
        "lanes",
        "lease",
        "log_start",
        "metering",
        "packed_labels",
        "plans",
        "raw_record",
        "record_format",
        "rights",
        "rights_snapshot",
        "rights_state",
        "routing",
        "rule_sets",
        "rules_file",
        "sharded_map",
        "structure",
        "tenant_vocabulary",
        "topics",
        "usage_records",
        "what_if",
    ],
    "connectors/see_files": [
        "batches",
        "facility_time",
        "generator",
        "layout",
        "line_reader",
        "line_splitter",
        "scan_histories",
        "tracking_numbers",
    ],
    "auditor": [
        "avro_reader",
        "barcodes",
        "contents",
        "course",
        "entitlement",
        "expected",
        "findings",
        "first_look",
        "holds",
        "judge",
        "labels",
        "ledger",
        "log",
        "placements",
        "report",
        "rights",
        "scan_reader",
        "shelves",
        "structure",
        "tally",
    ],
}
FORBIDDEN_IN_CORE = {
    "aiohttp",
    "aiokafka",
    "asyncio",
    "confluent_kafka",
    "faust",
    "logging",
    "mode",
    "os",
    "pathlib",
    "prometheus_client",
    "random",
    "secrets",
    "socket",
    "structlog",
    "subprocess",
    "time",
}
# A generator draws from a seed it is given; that is no outside.
SEEDED = {"connectors/see_files/generator.py"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module of a file with its line; `from a import b` as `a` (and `a.b`)."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def permitted(package: str, imported: str) -> bool:
    top = imported.partition(".")[0]
    if top not in OURS:
        return True
    return any(imported == one or imported.startswith(f"{one}.") for one in ALLOWED[package])


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_go_one_way(package):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, imported in imports(path)
        if not permitted(package, imported)
    ]
    assert wrong == []


def core_files() -> list[Path]:
    return [ROOT / folder / f"{name}.py" for folder, names in CORE.items() for name in names]


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_core_modules_do_no_io_and_read_no_clock(path):
    allowed = {"random"} if str(path.relative_to(ROOT)) in SEEDED else set()
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for line, imported in imports(path)
        if imported.partition(".")[0] in FORBIDDEN_IN_CORE - allowed
    ]
    assert wrong == []


def test_the_check_finds_a_wrong_import(tmp_path):
    """It can fail: an import the wrong way is named with its line."""
    module = tmp_path / "wrong.py"
    module.write_text("import streams.app\nfrom connectors.see_files import ingest\n")
    found = [(line, name) for line, name in imports(module) if not permitted("schemas", name)]
    assert found == [(1, "streams.app"), (2, "connectors.see_files.ingest")]
