"""Topics built by hand: a small installation whose topics hold exactly what they must.

Deliveries are written out here from docs/authorization-log.md, not computed by the auditor, so
that the clean case proves something. Tests spoil one thing each.
"""

import hashlib
from typing import Any

from auditor import judge as judging
from auditor.avro_reader import encode
from auditor.contents import ALL, Contents, Partition, Record, Share, Topic
from auditor.judge import Judgement
from auditor.spill import DiskSpill

LOG_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
APP = "app"
NOW = 1_780_000_000_000
OWNED = "9205590123456700000017"
OWNED_TOO = "92748901234567000000000018"
OWNED_MID = "901234567"
UNGRANTED = "9361212345600000000017"
LABEL_NEEDED = "9505511069605048600624"
KINDS = {
    "LOG_START": "log_start/v1",
    "LAYOUT": "layout/v1",
    "TENANT": "tenant/v1",
    "TENANT_END": "tenant_end/v1",
    "TERMS": "terms/v1",
    "CRID": "crid/v1",
    "AGREEMENT": "agreement/v1",
    "AGREEMENT_SUSPEND": "agreement_suspend/v1",
    "AGREEMENT_RESUME": "agreement_resume/v1",
    "GRANT": "grant/v1",
    "GRANT_END": "grant_end/v1",
    "IMPORT_CLOSE": "import_close/v1",
    "DELIVERER": "deliverer/v1",
    "HEARTBEAT": "heartbeat/v1",
    "RULE_SET": "rule_set/v1",
    "MERCHANT_TOKEN": "merchant_token/v1",
    "MERCHANT_TOKEN_END": "merchant_token_end/v1",
    "REVOCATION": "revocation/v1",
    "REVOCATION_LIFT": "revocation_lift/v1",
    "GRANT_CONFIRM": "grant_confirm/v1",
    "GRANT_CORRECTION": "grant_correction/v1",
}
ENVELOPES = {
    kind: 3 if kind == "GRANT_CORRECTION" else 1 + (at >= 14) for at, kind in enumerate(KINDS)
}


def change_id(number: int) -> bytes:
    """A change id that a test can tell apart."""
    return number.to_bytes(16, "big")


def change(
    kind: str,
    subject: str,
    body: dict[str, Any] | bytes,
    *,
    number: int,
    base: int = -1,
    import_id: bytes | None = None,
    **envelope: Any,
) -> bytes:
    """A framed envelope with a framed body; a body may also be given as bytes."""
    return encode(
        f"authorization_change/v{ENVELOPES.get(kind, 1)}",
        {
            "change_id": change_id(number),
            "subject": subject,
            "base": base,
            "kind": kind,
            "rule_version": 1,
            "restricting": False,
            "import_id": import_id,
            "actor": "test",
            "reason": "",
            "body": body if isinstance(body, bytes) else _framed(kind, body),
            **envelope,
        },
    )


def _framed(kind: str, body: dict[str, Any]) -> bytes:
    """A grant in version 2 if it says what version 1 cannot."""
    if kind != "GRANT":
        return encode(KINDS[kind], body)
    if body["merchant_token_id"] or body["restricted"]:
        return encode("grant/v2", body)
    plain = {name: body[name] for name in body if name not in ("merchant_token_id", "restricted")}
    return encode("grant/v1", plain)


def tenant(
    tenant_id: str, party: str = "SHIPPER", partitions: int = 1, prefix: str = "m"
) -> dict[str, Any]:
    """Body of a tenant."""
    return {
        "tenant_id": tenant_id,
        "name": tenant_id,
        "party_type": party,
        "crid": "",
        "topic": f"{prefix}.tenant.{tenant_id}",
        "partitions": partitions,
    }


def grant(grant_id: str, tenant_id: str, **fields: Any) -> dict[str, Any]:
    """Body of an OWNER grant for the owned MID on all channels; `fields` differ."""
    return {
        "grant_id": grant_id,
        "tenant_id": tenant_id,
        "grantor_crid": "",
        "scope": "MID",
        "mid": OWNED_MID,
        "crid": "",
        "channels": ["API", "WEBHOOK", "SEE"],
        "basis": "OWNER",
        "agreement_id": "",
        "status": "ACTIVE",
        "effective_from": 0,
        "effective_to": None,
        "data_from": None,
        "data_to": None,
        "merchant_token_id": "",
        "restricted": False,
        **fields,
    }


def agreement(agreement_id: str, tenant_id: str, **fields: Any) -> dict[str, Any]:
    """Body of an active agreement for all MIDs; `fields` differ."""
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


def deliverer(lane: int, nonce: str) -> dict[str, Any]:
    """Body of a lane's registration."""
    return {
        "nonce": nonce,
        "transactional_id": f"{APP}-router-{lane}",
        "producer_id": 7,
        "producer_epoch": 0,
        "kind": "LANE",
        "app_id": APP,
        "lane": lane,
        "lanes": 2,
        "partitions": 2,
        "ack_group": f"{APP}-router",
        "ack_topic": "m.ledger",
        "ack_partition": lane,
        "build": "test",
    }


LAYOUT = {"app_id": APP, "lanes": 2, "partitions": 2}


def changes(prefix: str = "m") -> list[tuple[str, str, dict[str, Any]]]:
    """The log of the small installation: kind, subject, body."""
    return [
        ("LOG_START", "log", {"log_id": LOG_ID}),
        ("LAYOUT", "layout", LAYOUT),
        ("TENANT", "tenant/acme", tenant("acme", prefix=prefix)),
        ("TENANT", "tenant/globex", tenant("globex", "PLATFORM", 2, prefix)),
        ("TERMS", "terms/acme", {"tenant_id": "acme", "terms_version": "2026", "accepted": True}),
        ("GRANT", "grant/g-acme", grant("g-acme", "acme")),
        (
            "GRANT",
            "grant/g-globex",
            grant("g-globex", "globex", basis="MID_AUTHORIZATION", channels=["SEE"]),
        ),
        ("DELIVERER", f"deliverer/{APP}-router-0", deliverer(0, "nonce-0")),
        ("DELIVERER", f"deliverer/{APP}-router-1", deliverer(1, "nonce-1")),
        ("HEARTBEAT", "heartbeat", {"nonce": "beat"}),
    ]


VERSION = len(changes())


def log_record(offset: int, value: bytes | None, key: bytes | None = None) -> Record:
    """A record of the log, with broker time."""
    fresh = b"key-%d" % offset
    return Record(0, offset, NOW - 1000 + offset, key or fresh, value, (), True)


def log_topic(prefix: str) -> Topic:
    """The log of the small installation, as records."""
    records = [
        log_record(offset, change(kind, subject, body, number=offset))
        for offset, (kind, subject, body) in enumerate(changes(prefix))
    ]
    return Topic(f"{prefix}.authorization", {0: Partition(0, len(records), len(records), records)})


def scan_value(barcode: str, channel: str = "SEE", name: str | None = "JANE DOE") -> bytes:
    """A tracking event with a restricted part (unless `name` is None)."""
    return encode(
        "tracking_event/v1",
        {
            "barcode": barcode,
            "event_code": "01",
            "event_time": 1_779_999_930_000,
            "time_basis": "UTC",
            "facility_zip": "90009",
            "mailing_date": None,
            "channel": channel,
            "restricted": None if name is None else {"recipient_name": name, "firm": None},
        },
    )


def raw_record(partition: int, offset: int, value: bytes | None, key: bytes = b"k") -> Record:
    """A raw record; its timestamp tells its position."""
    headers = (("source", b"file"),)
    return Record(partition, offset, NOW - 5000 + offset, key, value, headers)


GARBAGE = b"\0\0\0\0\1\xff"
RAW = {
    0: [
        raw_record(0, 0, scan_value(OWNED)),
        raw_record(0, 1, scan_value(LABEL_NEEDED)),
        raw_record(0, 2, scan_value(OWNED_TOO)),
    ],
    1: [
        raw_record(1, 0, scan_value(OWNED)),
        raw_record(1, 1, GARBAGE),
        raw_record(1, 2, scan_value(UNGRANTED)),
    ],
}


def delivered(
    topic_partition: int,
    offset: int,
    raw: Record,
    grant_id: str,
    pic: str,
    version: int = VERSION,
    named_by: bytes = b"",
) -> Record:
    """The record that must stand in a tenant topic for a raw scan of `scan_value`.

    `named_by`: index and id of the label that named the owner.
    """
    cut = scan_value(pic, name=None)
    event = hashlib.blake2b(
        b"\x1f".join([pic.encode(), b"01", b"29666665", b"90009"]), digest_size=12
    ).digest()
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_type", b"org.midgate.scan.v1"),
        ("ce_source", b"/midgate/app"),
        ("ce_id", b"%d-%d" % (raw.partition, raw.offset)),
        ("mg-event", event),
        ("mg-authz", b"0f8fad5b:%d" % version),
        *((("mg-label", named_by),) if named_by else ()),
        ("mg-grant", grant_id.encode()),
    )
    return Record(topic_partition, offset, raw.timestamp, raw.key, cut, headers)


def ledger_value(partition: int, raw_from: int, raw_next: int, **fields: Any) -> bytes:
    """A ledger entry of the lane that has this partition."""
    later = {"decided_anew", "given_up", "not_held", "hold_ms"}
    return encode(
        "ledger_entry/v2" if later & fields.keys() else "ledger_entry/v1",
        {
            "deliverer": f"{APP}-router-{partition}",
            "registration": f"nonce-{partition}",
            "partition": partition,
            "raw_from": raw_from,
            "raw_next": raw_next,
            "label_position": -1,
            "log_id": LOG_ID,
            "version": VERSION,
            "decided_at": NOW,
            "build": "test",
            **fields,
        },
    )


def ledger_record(partition: int, offset: int, value: bytes) -> Record:
    """A record of the ledger."""
    return Record(partition, offset, NOW, b"%d" % partition, value)


def quarantined(raw: Record, reason: str, offset: int = 0) -> Record:
    """The record that must stand in quarantine for a raw record."""
    origin = b"raw:%d-%d" % (raw.partition, raw.offset)
    headers = (*raw.headers, ("mg-reason", reason.encode()), ("mg-origin", origin))
    return raw._replace(offset=offset, headers=headers)


def topic(name: str, partitions: dict[int, list[Record]]) -> Topic:
    """A topic from its first offset on, nothing open."""
    built = {}
    for number, records in partitions.items():
        end = records[-1].offset + 1 if records else 0
        built[number] = Partition(0, end, end, list(records))
    return Topic(name, built)


def clean(prefix: str = "m") -> Contents:
    """An installation in which everything stands where it must.

    Offset 3 of raw partition 0 is a commit marker: a ledger entry covers it, no record is there.
    """
    first, third, other = RAW[0][0], RAW[0][2], RAW[1][0]
    before_raw = Record(
        0, 0, NOW, b"f:3", b"bad line", (("mg-reason", b"line_unreadable"), ("mg-origin", b"f:3"))
    )
    return Contents(
        prefix,
        APP,
        log_topic(prefix),
        topic(f"{prefix}.raw", RAW),
        topic(
            f"{prefix}.ledger",
            {
                0: [
                    ledger_record(0, 0, ledger_value(0, 0, 2)),
                    ledger_record(0, 2, ledger_value(0, 2, 4, decided_at=NOW + 10)),
                ],
                1: [ledger_record(1, 0, ledger_value(1, 0, 3))],
            },
        ),
        topic(
            f"{prefix}.quarantine",
            {0: [before_raw], 1: [quarantined(RAW[1][1], "malformed_record")]},
        ),
        {
            f"{prefix}.tenant.acme": topic(
                f"{prefix}.tenant.acme",
                {
                    0: [
                        delivered(0, 0, first, "g-acme", OWNED),
                        delivered(0, 1, other, "g-acme", OWNED),
                        delivered(0, 3, third, "g-acme", OWNED_TOO),
                    ]
                },
            ),
            f"{prefix}.tenant.globex": topic(
                f"{prefix}.tenant.globex",
                {
                    0: [
                        delivered(0, 0, first, "g-globex", OWNED),
                        delivered(0, 2, third, "g-globex", OWNED_TOO),
                    ],
                    1: [delivered(1, 0, other, "g-globex", OWNED)],
                },
            ),
        },
    )


def records(contents: Contents, name: str, partition: int = 0) -> list[Record]:
    """The records of one partition, to be spoiled in place."""
    every = {one.name: one for one in contents.all_topics()}
    return every[name].partitions[partition].records


def judge(contents: Contents, share: Share = ALL) -> Judgement:
    """One judgement, with a disk of its own to set aside on."""
    with DiskSpill() as aside:
        return judging.judge(contents, aside, share)
