"""A dump is refused unless it is whole and of this build; a good one is the state (properties)."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import rights_dump
from streams.changes import revoked_scope
from streams.facts import Layout
from streams.rights import Rights
from streams.rights_dump import MAGIC, DamagedDumpError
from streams.rule_sets import USPS_RULES, body_of
from tests.unit.streams.log_building import (
    MID,
    Log,
    agreement_body,
    deliverer_body,
    replayed,
    token_body,
)


def _log() -> Log:
    log = Log()
    log.tenant("acme")
    log.tenant("vendor", "AUDITOR")
    log.put("CRID", {"crid": "C1", "mids": [MID]})
    log.put("AGREEMENT", agreement_body("A1", "vendor", mids=[MID], payment_account="ünï"))
    log.grant("g1", "acme")
    log.grant("g2", "acme", scope="CRID", mid="", crid="C1", effective_to=9)
    log.end("g1")
    log.end("never-known")
    log.put("DELIVERER", deliverer_body())
    log.tenant("shop", "PLATFORM")
    for token in ("T1", "T2"):
        log.put("MERCHANT_TOKEN", token_body(token, "shop", "Süßes"))
    log.put("MERCHANT_TOKEN_END", {"merchant_token_id": "T2"})
    log.put("MERCHANT_TOKEN_END", {"merchant_token_id": "unknown"})
    log.put("REVOCATION", revoked_scope("shop", crid="C1"))
    log.put("REVOCATION", revoked_scope("shop", mid=MID))
    log.put("REVOCATION_LIFT", revoked_scope("shop", mid=MID))
    token = {"basis": "MERCHANT_TOKEN", "merchant_token_id": "T1", "restricted": True}
    log.grant("g3", "shop", status="PENDING", data_from=5, **token)
    log.put("GRANT_CONFIRM", {"grant_id": "g3", "side": "TENANT"})
    log.put("RULE_SET", body_of(replace(USPS_RULES, rule_set_id="r1", effective_from=7)))
    return log


LOG = _log()
DUMP = LOG.rights.dump()


def test_everything_comes_back():
    loaded = Rights.load(DUMP)
    assert loaded.layout == Layout("midgate", 2, 4, 1)
    for name in (
        *("tenants", "grants", "agreements", "crids", "terms", "deliverers", "subjects"),
        *("tokens", "revocations"),
    ):
        assert dict(getattr(loaded, name)) == dict(getattr(LOG.rights, name))
    assert loaded.rule_sets == LOG.rights.rule_sets
    assert loaded.grants["g3"].confirmed_by == ("TENANT",)
    assert loaded.grant_ended("never-known")
    assert loaded.grants["g1"].reason == "why"
    assert loaded.grants["g1"].tenant_id is loaded.grants["g2"].tenant_id, "held once"


def test_change_ids_come_back():
    loaded = Rights.load(DUMP)
    for _, _, value in LOG.values[1:]:
        assert loaded.apply(loaded.version, LOG.now_ms, value).verdict == "repeat"


@given(st.integers(0, len(DUMP) - 1), st.integers(1, 255))
def test_one_wrong_byte_is_noticed(at, difference):
    damaged = DUMP[:at] + bytes(((DUMP[at] + difference) % 256,)) + DUMP[at + 1 :]
    with pytest.raises(DamagedDumpError):
        Rights.load(damaged)


@given(st.integers(0, len(DUMP) - 1))
def test_a_cut_dump_is_noticed(at):
    with pytest.raises(DamagedDumpError):
        Rights.load(DUMP[:at])


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data):
    with pytest.raises(ValueError, match=r"dump|digest"):
        Rights.load(data)
    with pytest.raises(ValueError, match="digest"):
        Rights.load(MAGIC + sha256(b"x").digest() + b"\0" * 8 + data)


def test_a_dump_of_a_build_with_other_records_is_refused(monkeypatch):
    """Or a field that moved would be read as its neighbour."""
    monkeypatch.setitem(rights_dump._FIELDS, "Grant", ["other"])
    with pytest.raises(DamagedDumpError, match="other records"):
        Rights.load(DUMP)


async def test_an_image_can_be_dumped_while_the_rights_go_on():
    log = _log()
    image = log.rights.image()
    dumping = asyncio.create_task(asyncio.to_thread(image.dump))
    for number in range(200):
        log.grant(f"more{number}", "acme")
    loaded = Rights.load(await dumping)
    assert loaded.version == LOG.rights.version
    assert set(loaded.grants) == {"g1", "g2", "g3"}
    for offset, timestamp_ms, value in log.values[len(LOG.values) :]:
        loaded.apply(offset, timestamp_ms, value)
    assert loaded.chain == log.rights.chain == replayed(log.values).chain


def test_facts_are_not_shared_with_the_dump():
    """An image holds records, which never change: what comes later is not in it."""
    log = _log()
    image = log.rights.image()
    log.put("TENANT_END", {"tenant_id": "acme"})
    loaded = Rights.load(image.dump())
    assert not loaded.tenants["acme"].closed
    changed = replace(loaded.tenants["acme"], closed=True, changed_at=log.rights.version - 1)
    assert changed == log.rights.tenants["acme"]
