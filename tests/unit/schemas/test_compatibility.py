"""What may never change: every version of a record reads every other one, restricted stays last.

The checker is the `avro` package's own; made-up versions show that it bites.
"""

import copy
import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Schema, parse

AVRO = Path(str(files("schemas") / "avro"))
FRAMES: dict[str, str] = json.loads((AVRO / "frames.json").read_text())
RECORDS = sorted(folder.name for folder in AVRO.iterdir() if folder.is_dir())
# What a router reads of an event, in this order, before anything else.
ROUTING_FIELDS = [
    "barcode",
    "event_code",
    "event_time",
    "time_basis",
    "facility_zip",
    "mailing_date",
    "channel",
]


def versions(record: str) -> dict[str, dict[str, Any]]:
    """Published versions of a record by name, v1 first."""
    paths = sorted((AVRO / record).glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def incompatibilities(schemas: list[dict[str, Any]]) -> list[str]:
    """FULL_TRANSITIVE: every version as reader of every other. The checker's messages."""
    parsed: list[Schema] = [parse(json.dumps(schema)) for schema in schemas]
    found = []
    for reader, writer in permutations(parsed, 2):
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found += sorted(result.messages) or ["incompatible"]
    return found


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a schema: records, fields, enums, types."""
    if isinstance(node, dict):
        yield node
        for part in node.values():
            yield from walk(part)
    elif isinstance(node, list):
        for part in node:
            yield from walk(part)


@pytest.mark.parametrize("record", RECORDS)
def test_versions_are_fully_compatible(record: str) -> None:
    published = list(versions(record).values())
    # A copy stands for the version that does not exist yet, so that one version is checked, too.
    assert incompatibilities([*published, copy.deepcopy(published[-1])]) == []


def with_field(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(schema)
    changed["fields"].insert(-1, field)
    return changed


def without_field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    changed = copy.deepcopy(schema)
    changed["fields"] = [field for field in changed["fields"] if field["name"] != name]
    return changed


def retyped(schema: dict[str, Any], name: str, kind: Any) -> dict[str, Any]:
    changed = copy.deepcopy(schema)
    for field in changed["fields"]:
        if field["name"] == name:
            field["type"] = kind
            field.pop("default", None)
    return changed


def test_the_checker_bites() -> None:
    """A field without default, one taken away, one of another type; and a third version counts."""
    event = versions("tracking_event")["v1"]
    new = {"name": "weather", "type": "string", "doc": "Made up."}
    assert incompatibilities([event, with_field(event, new)])
    assert incompatibilities([event, without_field(event, "barcode")])
    assert incompatibilities([event, retyped(event, "event_time", "string")])
    assert incompatibilities([event, retyped(event, "event_time", "int")])
    assert incompatibilities([event, retyped(event, "restricted", "null")])
    fine = with_field(event, new | {"default": ""})
    assert incompatibilities([event, fine]) == []
    assert incompatibilities([event, fine, retyped(fine, "weather", "int")])


@pytest.mark.parametrize("version", sorted(versions("tracking_event")))
def test_routing_fields_first_and_restricted_last(version: str) -> None:
    fields = versions("tracking_event")[version]["fields"]
    names = [field["name"] for field in fields]
    assert names[: len(ROUTING_FIELDS)] == ROUTING_FIELDS
    assert names[-1] == "restricted"
    assert fields[-1]["type"][0] == "null"
    assert fields[-1]["default"] is None


@pytest.mark.parametrize("record", RECORDS)
def test_every_enum_has_the_default_unknown(record: str) -> None:
    for schema in versions(record).values():
        for node in walk(schema):
            if node.get("type") == "enum":
                assert node["symbols"][0] == node["default"] == "UNKNOWN", node["name"]


@pytest.mark.parametrize("record", RECORDS)
def test_everything_is_documented(record: str) -> None:
    for schema in versions(record).values():
        for node in walk(schema):
            if node.get("type") in ("record", "enum") or ("name" in node and "size" not in node):
                assert node.get("doc", "").endswith("."), node["name"]


@pytest.mark.parametrize("record", RECORDS)
def test_inner_records_hold_no_numbers(record: str) -> None:
    """The auditor checks the bounds of a record's own numbers; nested ones would escape it.

    A label's entries are the one exception, which its reader has to check by itself.
    """
    for schema in versions(record).values():
        for field in schema["fields"]:
            for node in walk(field["type"]):
                if node.get("type") == "record" and node["name"] != "LabelEntry":
                    kinds = {part for inner in node["fields"] for part in inner["type"]}
                    assert not kinds & {"int", "long"}, node["name"]


def test_every_file_has_a_frame_id_of_its_own() -> None:
    text = (AVRO / "frames.json").read_text()
    pairs = json.loads(text, object_pairs_hook=list)
    assert len({frame for frame, _ in pairs}) == len(pairs)
    assert len({name for _, name in pairs}) == len(pairs)
    names = {f"{path.parent.name}/{path.stem}" for path in AVRO.glob("*/*.avsc")}
    assert set(FRAMES.values()) == names
    assert all(0 < int(frame) < 2**31 for frame in FRAMES)


def test_ids_that_were_published_are_fixed() -> None:
    """Records in topics carry these numbers for ever."""
    published = {
        1: "tracking_event/v1",
        2: "ledger_entry/v1",
        3: "ingested_file/v1",
        20: "authorization_change/v1",
        21: "log_start/v1",
        22: "layout/v1",
        23: "tenant/v1",
        24: "tenant_end/v1",
        25: "terms/v1",
        26: "crid/v1",
        27: "agreement/v1",
        28: "agreement_suspend/v1",
        29: "agreement_resume/v1",
        30: "grant/v1",
        31: "grant_end/v1",
        32: "import_close/v1",
        33: "deliverer/v1",
        34: "heartbeat/v1",
        35: "authorization_change/v2",
        36: "grant/v2",
        37: "rule_set/v1",
        38: "merchant_token/v1",
        39: "merchant_token_end/v1",
        40: "revocation/v1",
        41: "revocation_lift/v1",
        42: "grant_confirm/v1",
    }
    for frame, name in published.items():
        assert FRAMES[str(frame)] == name


@pytest.mark.parametrize("record", RECORDS)
def test_versions_are_numbered_from_one(record: str) -> None:
    assert list(versions(record)) == [f"v{n}" for n in range(1, len(versions(record)) + 1)]
