"""An authorization log built change by change, from real bytes; bases are looked up.

`Log.put` appends a change as a writer would: with the base in force, unless a test says otherwise.
"""

import itertools
from hashlib import sha256
from typing import Any

from streams.changes import KINDS, Body, build_change, grant_body, import_subject
from streams.rights import Applied, Rights

LOG_ID = "1b671a64-40d5-491e-99b0-da01ff1f3341"
APP_ID = "midgate"
MID = "901234567"
OTHER_MID = "123456"
BEGIN_MS = 1_780_000_000_000
ACCEPTED = "accepted"


def tenant_body(tenant_id: str, party_type: str = "SHIPPER", **fields: Any) -> Body:
    return {
        "tenant_id": tenant_id,
        "name": tenant_id.title(),
        "party_type": party_type,
        "crid": "",
        "topic": f"midgate.tenant.{tenant_id}",
        "partitions": 1,
        **fields,
    }


def agreement_body(agreement_id: str, tenant_id: str, **fields: Any) -> Body:
    return {
        "agreement_id": agreement_id,
        "tenant_id": tenant_id,
        "crid": "",
        "payment_account": "",
        "fee_model": "UNLIMITED",
        "mids": [],
        "status": "ACTIVE",
        "effective_from": 0,
        "effective_to": None,
        **fields,
    }


def token_body(merchant_token_id: str, tenant_id: str, merchant: str = "") -> Body:
    return {
        "merchant_token_id": merchant_token_id,
        "tenant_id": tenant_id,
        "merchant": merchant,
    }


def correction_body(correction_id: str, grant_id: str, **fields: Any) -> Body:
    return {
        "correction_id": correction_id,
        "grant_id": grant_id,
        "finding": "SHOULD_NOT_HAVE_COUNTED",
        "wrong_from": 0,
        "wrong_to": None,
        "known_at": BEGIN_MS,
        "withdrawn": False,
        **fields,
    }


def simple_grant(grant_id: str, tenant_id: str, **fields: Any) -> Body:
    """A grant of scope MID by ownership on every channel, open-ended, unless told otherwise."""
    body = grant_body(
        grant_id,
        tenant_id=tenant_id,
        basis="OWNER",
        channels=["API", "WEBHOOK", "SEE"],
        effective_from=0,
        mid=MID,
    )
    return {**body, **fields}


def deliverer_body(**fields: Any) -> Body:
    return {
        "nonce": "n1",
        "transactional_id": "midgate-router-0",
        "producer_id": 7,
        "producer_epoch": 0,
        "kind": "LANE",
        "app_id": APP_ID,
        "lane": 0,
        "lanes": 2,
        "partitions": 4,
        "ack_group": "midgate-router",
        "ack_topic": "midgate.ledger",
        "ack_partition": 0,
        "build": "test",
        **fields,
    }


class Log:
    """A log with its start and layout in it, and the rights after every record."""

    def __init__(self) -> None:
        self.rights = Rights()
        self.values: list[tuple[int, int, bytes | None]] = []
        self.now_ms = BEGIN_MS
        self._ids = itertools.count(1)
        self.put("LOG_START", {"log_id": LOG_ID})
        self.put("LAYOUT", {"app_id": APP_ID, "lanes": 2, "partitions": 4})

    def change_id(self) -> bytes:
        """A fresh one, spread like a random one."""
        return sha256(next(self._ids).to_bytes(8, "big")).digest()[:16]

    def append(self, value: bytes | None) -> Applied:
        """Apply the bytes at the next offset."""
        offset = self.rights.version
        self.values.append((offset, self.now_ms, value))
        return self.rights.apply(offset, self.now_ms, value)

    def change(self, kind: str, body: Body, **envelope: Any) -> bytes:
        """Bytes of a change; base, subject and change id as they should be unless given."""
        subject = envelope.pop("subject", KINDS[kind].subject(body))
        envelope.setdefault("base", self.rights.subjects.get(subject, -1))
        envelope.setdefault("change_id", self.change_id())
        return build_change(kind, subject, body, actor="test", reason="why", **envelope)

    def put(self, kind: str, body: Body, **envelope: Any) -> Applied:
        return self.append(self.change(kind, body, **envelope))

    def tenant(self, tenant_id: str, party_type: str = "SHIPPER", **fields: Any) -> Applied:
        """A tenant that has accepted the terms."""
        applied = self.put("TENANT", tenant_body(tenant_id, party_type, **fields))
        self.put("TERMS", {"tenant_id": tenant_id, "terms_version": "1", "accepted": True})
        return applied

    def grant(self, grant_id: str, tenant_id: str, **fields: Any) -> Applied:
        return self.put("GRANT", simple_grant(grant_id, tenant_id, **fields))

    def end(self, grant_id: str) -> Applied:
        return self.put("GRANT_END", {"grant_id": grant_id})

    def stage(self, import_id: bytes, bodies: list[Body], **envelope: Any) -> list[bytes]:
        """Append rows of an import; their change ids."""
        ids = []
        for body in bodies:
            ids.append(self.change_id())
            self.put("GRANT", body, import_id=import_id, change_id=ids[-1], **envelope)
        return ids

    def close(self, closed: bytes, ids: list[bytes], **wrong: Any) -> Applied:
        """Append the closing record of an import with these rows."""
        envelope = {"subject": import_subject(closed), "import_id": closed}
        body: Body = {"rows": len(ids), "digest": sha256(b"".join(ids)).digest()}
        for name in set(wrong) & set(body):
            body[name] = wrong.pop(name)
        return self.put("IMPORT_CLOSE", body, **{**envelope, **wrong})


def replayed(values: list[tuple[int, int, bytes | None]]) -> Rights:
    """Rights of a log read from its beginning."""
    rights = Rights()
    for offset, timestamp_ms, value in values:
        rights.apply(offset, timestamp_ms, value)
    return rights
