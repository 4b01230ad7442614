"""[core] The state of the rights as bytes for a local snapshot, and back.

    MAGIC | SHA-256 of all that follows | length of the facts (8 bytes) | facts | change ids

The facts are JSON: rows of the records of `streams/facts.py`, in the order of their fields, which
stand in the facts themselves. A dump with another magic, digest or set of fields is refused, and
the log is read from its beginning instead: a dump saves time, it is never the truth.
"""

import json
from dataclasses import fields
from hashlib import sha256
from sys import intern
from typing import Any

from streams.changes import RULE_VERSION
from streams.facts import (
    Agreement,
    Correction,
    Crid,
    Deliverer,
    Grant,
    Layout,
    MerchantToken,
    Revocation,
    Tenant,
    Terms,
)
from streams.imports import Import, Imports, Row
from streams.rights_state import RightsState
from streams.rule_sets import RuleRow, RuleSet, body_of, rule_set_of

MAGIC = b"midgate rights 1\n"
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
_PREFIX_BYTES = len(MAGIC) + _DIGEST_BYTES

_RECORDS: tuple[Any, ...] = (
    *(Layout, Tenant, Terms, Crid, Agreement, Deliverer),
    *(MerchantToken, Revocation, RuleSet, RuleRow, Correction),
)
_FIELDS: dict[str, list[str]] = {
    **{record.__name__: [field.name for field in fields(record)] for record in _RECORDS},
    "Grant": list(Grant._fields),
    "Row": list(Row._fields),
    "rule": [str(RULE_VERSION)],
}


class DamagedDumpError(ValueError):
    """The bytes are no dump of this version, or not all of one."""


class RightsImage:
    """The whole state at one version. Immutable, so it can be dumped while the rights go on."""

    def __init__(
        self, version: int, chain: bytes, state: RightsState, change_ids: bytes, imports: Imports
    ) -> None:
        self._head = {
            "fields": _FIELDS,
            "version": version,
            "chain": chain.hex(),
            "log_id": state.log_id,
        }
        self._layout = state.layout
        self._tenants = state.tenants.freeze()
        self._terms = state.terms.freeze()
        self._crids = state.crids.freeze()
        self._agreements = state.agreements.freeze()
        self._grants = state.grants.freeze()
        self._deliverers = list(state.deliverers.values())
        self._tokens = state.tokens.freeze()
        self._revocations = state.revocations.freeze()
        self._rule_sets = state.rule_sets
        self._corrections = state.corrections.freeze()
        self._offsets = state.offsets.copy()
        self._terminal = sorted(state.terminal)
        self._change_ids = change_ids
        self._imports = [
            (import_id, staged.first_ms, staged.rows.copy())
            for import_id, staged in imports.items()
        ]

    def dump(self) -> bytes:
        """The bytes."""
        facts = {
            **self._head,
            "layout": None if self._layout is None else _row(self._layout),
            "tenants": [_row(tenant) for tenant in self._tenants.values()],
            "terms": [_row(terms) for terms in self._terms.values()],
            "crids": [_row(crid) for crid in self._crids.values()],
            "agreements": [_row(agreement) for agreement in self._agreements.values()],
            "grants": list(self._grants.values()),
            "deliverers": [_row(deliverer) for deliverer in self._deliverers],
            "tokens": [_row(token) for token in self._tokens.values()],
            "revocations": {subject: _row(one) for subject, one in self._revocations.items()},
            "rule_sets": [[body_of(rules), rules.changed_at] for rules in self._rule_sets],
            "corrections": [_row(one) for one in self._corrections.values()],
            "offsets": self._offsets,
            "terminal": self._terminal,
            "imports": [
                [import_id.hex(), first_ms, [_staged(row) for row in rows]]
                for import_id, first_ms, rows in self._imports
            ],
        }
        text = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()
        body = len(text).to_bytes(_LENGTH_BYTES, "big") + text + self._change_ids
        return MAGIC + sha256(body).digest() + body


def restore(data: bytes, state: RightsState, imports: Imports) -> tuple[int, bytes, bytes]:
    """Fill an empty state; returns version, running hash and change ids end to end.

    Raises DamagedDumpError; the state is then to be thrown away.
    """
    view = memoryview(data)
    body = view[_PREFIX_BYTES:]
    if data[: len(MAGIC)] != MAGIC or len(body) < _LENGTH_BYTES:
        raise DamagedDumpError("not a dump of this version")
    if sha256(body).digest() != data[len(MAGIC) : _PREFIX_BYTES]:
        raise DamagedDumpError("the digest does not fit")
    size = int.from_bytes(body[:_LENGTH_BYTES], "big")
    facts: dict[str, Any] = json.loads(bytes(body[_LENGTH_BYTES : _LENGTH_BYTES + size]))
    if facts["fields"] != _FIELDS:
        raise DamagedDumpError("written by a build with other records")
    _fill(state, facts)
    for import_id, first_ms, rows in facts["imports"]:
        staged = Import(first_ms, [_unstaged(row) for row in rows])
        imports.restore(bytes.fromhex(import_id), staged)
    change_ids = bytes(body[_LENGTH_BYTES + size :])
    return facts["version"], bytes.fromhex(facts["chain"]), change_ids


def _fill(state: RightsState, facts: dict[str, Any]) -> None:
    state.log_id = facts["log_id"]
    if facts["layout"] is not None:
        state.layout = Layout(*facts["layout"])
    for row in facts["tenants"]:
        state.tenants[row[0]] = Tenant(*row)
    for row in facts["terms"]:
        state.terms[row[0]] = Terms(*row)
    for name, mids, changed_at in facts["crids"]:
        state.put_crid(Crid(name, tuple(mids), changed_at))
    for row in facts["agreements"]:
        row[_MIDS] = frozenset(row[_MIDS])
        state.agreements[row[0]] = Agreement(*row)
    for row in facts["deliverers"]:
        deliverer = Deliverer(*row)
        state.deliverers[deliverer.transactional_id] = deliverer
    for row in facts["grants"]:
        state.add_grant(_grant(row))
    for row in facts["tokens"]:
        state.tokens[row[0]] = MerchantToken(*row)
    for subject, row in facts["revocations"].items():
        state.revocations[subject] = Revocation(*row)
    state.rule_sets = tuple(rule_set_of(body, offset) for body, offset in facts["rule_sets"])
    for row in facts["corrections"]:
        state.corrections[row[0]] = Correction(*row)
    state.offsets = facts["offsets"]
    state.terminal = set(facts["terminal"])


_MIDS = _FIELDS["Agreement"].index("mids")
_SHARED_FIELDS = frozenset(
    {"tenant_id", "grantor_crid", "scope", "crid", "basis", "agreement_id", "status"}
    | {"merchant_token_id", "actor", "reason"}
)
_SHARED = [at for at, name in enumerate(Grant._fields) if name in _SHARED_FIELDS]


def _row(record: Any) -> list[Any]:
    values = [getattr(record, name) for name in record.__slots__]
    return [sorted(one) if isinstance(one, frozenset) else one for one in values]


def _grant(row: list[Any]) -> Grant:
    """What many grants share is held once, as when they were read from the log."""
    for at in _SHARED:
        row[at] = intern(row[at])
    return Grant._make(row)


def _staged(row: Row) -> list[Any]:
    return [row.change_id.hex(), row.base, row.restricting, row.fault, row.grant]


def _unstaged(row: list[Any]) -> Row:
    change_id, base, restricting, fault, grant = row
    return Row(bytes.fromhex(change_id), base, restricting, fault, _grant(grant))
