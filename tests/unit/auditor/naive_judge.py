"""The judge in a few dozen lines: slow, in memory, and written to be seen to be right.

Everything is written out: what must stand where, by topic and raw position, and what stands
there. It finds what the auditor's judge must find about deliveries and quarantine, no more.
"""

from collections import defaultdict
from hashlib import blake2b
from typing import Any

from auditor.avro_reader import UnknownFrameError, UnreadableError, read, read_scan
from auditor.barcodes import ownership
from auditor.contents import Contents, Record
from auditor.entitlement import Candidates, Scan, entitled
from auditor.expected import EVENT_ID_BYTES, MINUTE_MS
from auditor.findings import Findings
from auditor.log import Replay
from schemas.reasons import BarcodeVerdict

Found = tuple[str, str, int, int, tuple[int, int] | None]
Claims = dict[tuple[int, int], dict[str, list[Record]]]


def naive_findings(world: Contents) -> list[Found]:
    """Kind, topic, partition, offset and raw position of all that is wrong with deliveries."""
    found: list[Found] = []
    decided = decided_by(world)
    claims = claims_of(world, decided, found)
    raw = {(one.partition, one.offset): one for one in world.raw.records()}
    for position in sorted({*claims, *(raw.keys() & decided.keys())}):
        standing = claims.get(position, {})
        if position not in raw:
            for topic, records in standing.items():
                kind = "quarantine_extra" if topic == world.quarantine.name else "extra"
                found += [(kind, topic, one.partition, one.offset, position) for one in records]
            continue
        due = due_for(world, raw[position], decided[position])
        for topic in {*standing, *due}:
            judge_topic(world, topic, due.get(topic), standing.get(topic, []), position, found)
    return found


def decided_by(world: Contents) -> dict[tuple[int, int], dict[str, Any]]:
    """The first ledger entry of each raw offset that any covers."""
    decided: dict[tuple[int, int], dict[str, Any]] = {}
    for record in world.ledger.records():
        _, entry = read(record.value)
        for offset in range(entry["raw_from"], entry["raw_next"]):
            decided.setdefault((record.partition, offset), entry)
    return decided


def claims_of(world: Contents, decided: Any, found: list[Found]) -> Claims:
    """What stands for each raw position; what claims none that is decided is found here."""
    claims: Claims = defaultdict(lambda: defaultdict(list))
    for topic in [*world.tenants.values(), world.quarantine]:
        inside = topic is world.quarantine
        highest: dict[tuple[int, int], int] = {}
        for record in topic.records():
            name = "mg-origin" if inside else "ce_id"
            claim = dict(record.headers).get(name, b"").removeprefix(b"raw:").split(b"-")
            place = (topic.name, record.partition, record.offset)
            if len(claim) != 2:
                found.append(("quarantine_extra" if inside else "wrong_headers", *place, None))
                continue
            partition, offset = int(claim[0]), int(claim[1])
            if offset >= max((o + 1 for p, o in decided if p == partition), default=0):
                kind = "quarantine_extra" if inside else "extra"
                found.append((kind, *place, (partition, offset)))
                continue
            stream = (record.partition, partition)
            if offset < highest.get(stream, -1) and not inside:
                found.append(("out_of_order", *place, (partition, offset)))
            highest[stream] = max(offset, highest.get(stream, -1))
            claims[partition, offset][topic.name].append(record)
    return claims


def due_for(world: Contents, raw: Record, entry: dict[str, Any]) -> dict[str, Record]:
    """The records that must stand for one raw record, by topic; the log is read anew for each."""
    replay, candidates = Replay(world.log), Candidates()
    replay.advance(entry["version"], Findings())
    candidates.refresh(replay.rights.tables)
    reason = ""
    try:
        fields, cut_at = read_scan(raw.value)
    except (UnreadableError, UnknownFrameError) as error:
        unknown = isinstance(error, UnknownFrameError)
        reason = "unknown_frame" if unknown else "malformed_record"
    else:
        owner = ownership(fields["barcode"])
        if fields["channel"] == "UNKNOWN":
            reason = "channel_unknown"
        elif owner.verdict is BarcodeVerdict.NO_OWNER:
            return {}
        elif owner.verdict is not BarcodeVerdict.OWNED:
            reason = owner.reason
    if reason:
        origin = b"raw:%d-%d" % (raw.partition, raw.offset)
        headers = (*raw.headers, ("mg-reason", reason.encode()), ("mg-origin", origin))
        return {world.quarantine.name: raw._replace(headers=headers)}
    happened = Scan(fields["event_time"], fields["time_basis"] == "UTC")
    answer = entitled(candidates, owner.mid, fields["channel"], entry["decided_at"], happened)
    minute = str(fields["event_time"] // MINUTE_MS)
    parts = (owner.pic, fields["event_code"], minute, fields["facility_zip"])
    event = blake2b("\x1f".join(parts).encode(), digest_size=EVENT_ID_BYTES).digest()
    due = {}
    for tenant_id, grant_id in answer.allowed.items():
        tenant = replay.rights.tables.tenants[tenant_id]
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_type", b"org.midgate.scan.v1"),
            ("ce_source", f"/midgate/{world.app_id}".encode()),
            ("ce_id", b"%d-%d" % (raw.partition, raw.offset)),
            ("mg-event", event),
            ("mg-authz", f"{entry['log_id'][:8]}:{entry['version']}".encode()),
            ("mg-grant", grant_id.encode()),
        )
        value = raw.value or b""
        if tenant_id not in answer.uncut:
            value = value[:cut_at] + b"\0"
        partition = raw.partition % tenant["partitions"]
        due[tenant["topic"]] = Record(partition, -1, raw.timestamp, raw.key, value, headers)
    return due


def judge_topic(
    world: Contents,
    topic: str,
    due: Record | None,
    standing: list[Record],
    position: tuple[int, int],
    found: list[Found],
) -> None:
    """One raw record and one topic: nothing due, nothing there, or one copy and its doubles."""
    inside = topic == world.quarantine.name
    if due is None:
        kind = "quarantine_extra" if inside else "wrong_tenant"
        found += [(kind, topic, one.partition, one.offset, position) for one in standing]
        return
    if not standing:
        kind = "quarantine_missing" if inside else "missing"
        found.append((kind, topic, due.partition, -1, position))
        return
    standing.sort(key=lambda one: (one.partition != due.partition, one.partition, one.offset))
    delivery, *doubles = standing
    kind = "quarantine_doubled" if inside else "doubled"
    found += [(kind, topic, one.partition, one.offset, position) for one in doubles]
    different = {
        "wrong_partition": delivery.partition != due.partition,
        "not_cut": delivery.value != due.value and whole(delivery, due),
        "wrong_value": delivery.value != due.value and not whole(delivery, due),
        "wrong_key": delivery.key != due.key,
        "wrong_timestamp": delivery.timestamp != due.timestamp,
        "wrong_headers": delivery.headers != due.headers,
    }
    for name, is_so in different.items():
        if is_so:
            kind = "quarantine_changed" if inside else name
            found.append((kind, topic, delivery.partition, delivery.offset, position))


def whole(delivery: Record, due: Record) -> bool:
    """Whether the value goes on where it should have been cut."""
    cut, value = due.value or b"", delivery.value or b""
    return value.startswith(cut[:-1]) and len(value) > len(cut)
