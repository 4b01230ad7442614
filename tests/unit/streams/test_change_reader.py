"""The quick walkers agree with the codec on any bytes: valid, cut, flipped, extended, random."""

import json
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import MalformedRecordError, UnknownFrameError, decode, frame_id
from streams import change_reader, structure
from streams.changes import ENVELOPE, KINDS, build_change
from streams.errors import UpgradeNeededError
from tests.unit.streams.log_building import simple_grant

TEXT = st.one_of(st.text("ab-9", max_size=5), st.text(max_size=80))
INSTANT = st.one_of(st.integers(-100, 100), st.integers(-(2**45), 2**45), st.just(0))
GRANTS = st.fixed_dictionaries(
    {
        "grant_id": TEXT,
        "tenant_id": TEXT,
        "grantor_crid": TEXT,
        "scope": st.sampled_from(["UNKNOWN", "MID", "CRID"]),
        "mid": st.one_of(st.sampled_from(["901234567", "123456", ""]), TEXT),
        "crid": st.one_of(st.just(""), TEXT),
        "channels": st.lists(st.sampled_from(["UNKNOWN", "API", "WEBHOOK", "SEE"]), max_size=4),
        "basis": st.sampled_from(
            ["UNKNOWN", "OWNER", "MERCHANT_TOKEN", "MID_AUTHORIZATION", "IP_AGREEMENT"]
        ),
        "agreement_id": st.one_of(st.just(""), TEXT),
        "status": st.sampled_from(["UNKNOWN", "PENDING", "ACTIVE"]),
        "effective_from": INSTANT,
        "effective_to": st.none() | INSTANT,
        "data_from": st.none() | INSTANT,
        "data_to": st.none() | INSTANT,
        "merchant_token_id": st.just("") | TEXT,
        "restricted": st.booleans(),
    }
)


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """A grant's change, mostly; then perhaps spoiled."""
    value = build_change(
        "GRANT",
        draw(TEXT),
        draw(GRANTS),
        base=draw(st.integers(-1, 2**63 - 1)),
        actor=draw(TEXT),
        reason=draw(TEXT),
        change_id=draw(st.binary(min_size=16, max_size=16)),
        import_id=draw(st.none() | st.binary(min_size=16, max_size=16)),
        restricting=draw(st.booleans()),
    )
    match draw(st.sampled_from(["whole", "whole", "cut", "flip", "extend", "random"])):
        case "cut":
            return value[: draw(st.integers(0, len(value)))]
        case "flip":
            at = draw(st.integers(0, len(value) - 1))
            return value[:at] + bytes((draw(st.integers(0, 255)),)) + value[at + 1 :]
        case "extend":
            return value + draw(st.binary(min_size=1, max_size=4))
        case "random":
            return value[:5] + draw(st.binary(max_size=60))
    return value


def by_codec(value: bytes) -> object:
    """The change as the codec reads it, or the name of what is wrong."""
    try:
        name, envelope = decode(value)
        assert name == ENVELOPE or pytest.fail(name)
        if envelope["kind"] == "HEARTBEAT":
            return "heartbeat"
        name, body = decode(envelope["body"])
    except MalformedRecordError:
        return "malformed"
    except UnknownFrameError:
        return "newer"
    spec = KINDS.get(envelope["kind"])
    if spec is None or spec.record != name or envelope["rule_version"] != 1:
        return "newer"
    enums = [body[field] for field in spec.enums]
    if any("UNKNOWN" in one if isinstance(one, list) else one == "UNKNOWN" for one in enums):
        return "newer"
    if name == "grant":
        body = {"merchant_token_id": "", "restricted": False, **body}
    fields = ("change_id", "subject", "base", "kind", "restricting", "import_id", "actor", "reason")
    return (*(envelope[field] for field in fields), body)


@given(values())
def test_reading_a_change_is_what_the_codec_says(value):
    expected = by_codec(value)
    if expected == "malformed":
        with pytest.raises(MalformedRecordError):
            change_reader.read_change(value)
    elif expected == "newer":
        with pytest.raises(UpgradeNeededError):
            change_reader.read_change(value)
    elif expected == "heartbeat":
        assert change_reader.read_change(value).kind == "HEARTBEAT"
    else:
        assert tuple(change_reader.read_change(value)) == expected


@pytest.mark.parametrize(
    ("said", "version"), [({}, 1), ({"merchant_token_id": "T1"}, 2), ({"restricted": True}, 2)]
)
def test_an_ordinary_grant_takes_the_quick_way_in_the_first_version_that_can_say_it(said, version):
    """Or the walkers would be dead weight, and older followers would stop at every grant."""
    stamp = {"actor": "a", "reason": "b", "change_id": bytes(16)}
    value = build_change("GRANT", "grant/g", simple_grant("g", "acme", **said), **stamp)
    quick = change_reader._plain_envelope(value)
    assert quick is not None
    assert quick[1][:5] == b"\0" + frame_id("grant", version).to_bytes(4, "big")
    assert change_reader._plain_grant(quick[1]) == simple_grant("g", "acme", **said)


@given(GRANTS)
def test_a_sound_grant_is_one_without_problems(body):
    assert structure.grant_is_sound(body) == (structure.body_problems("GRANT", body) == [])


def symbols(record: str, field: str) -> list[str]:
    """Symbols of an enum field, or of the items of an array field, as the schema has them."""
    name = record if "/" in record else f"{record}/v1"
    text = files("schemas").joinpath(f"avro/{name}.avsc").read_text("utf-8")
    kind = next(one["type"] for one in json.loads(text)["fields"] if one["name"] == field)
    kind = kind["items"] if kind["type"] == "array" else kind
    return list(kind["symbols"])


@pytest.mark.parametrize(
    ("table", "record", "field"),
    [
        (change_reader._KINDS, "authorization_change", "kind"),
        (change_reader._SCOPES, "grant", "scope"),
        (change_reader._BASES, "grant", "basis"),
        (change_reader._STATUSES, "grant", "status"),
    ],
)
def test_symbols_stand_in_the_order_of_the_schema(table, record, field):
    expected = {2 * at: symbol for at, symbol in enumerate(symbols(record, field)) if at}
    assert table == expected


def test_kinds_stand_in_the_order_of_the_envelope_that_brought_them():
    assert list(KINDS) == symbols("authorization_change/v3", "kind")[1:]
    first = symbols("authorization_change", "kind")[1:]
    assert {kind for kind, spec in KINDS.items() if spec.envelope == 1} == set(first)


def test_every_enum_of_a_body_is_watched_for_newer_symbols():
    """A symbol of a newer version reads as UNKNOWN only if the field is in the table of kinds."""
    for spec in KINDS.values():
        text = files("schemas").joinpath(f"avro/{spec.record}/v1.avsc").read_text("utf-8")
        enums = set()
        for field in json.loads(text)["fields"]:
            kind = field["type"]
            if isinstance(kind, dict):
                inner = kind.get("items", kind)
                if isinstance(inner, dict) and inner["type"] == "enum":
                    enums.add(field["name"])
                elif isinstance(inner, dict) and inner["type"] == "record":
                    # Every field of a row whose type is spelled out is an enum or a list of one.
                    rows = [one for one in inner["fields"] if isinstance(one["type"], dict)]
                    enums |= {f"{field['name']}.{one['name']}" for one in rows}
        assert enums == set(spec.enums), spec.record
