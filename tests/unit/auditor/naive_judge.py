"""The judge in a few dozen lines: slow, in memory, and written to be seen to be right.

Everything is written out: what must stand where, by topic and raw position, and what stands
there. It finds what the auditor's judge must find about deliveries and quarantine, and about the
events that wait for a label, no more.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from auditor.avro_reader import UnknownFrameError, UnreadableError, read, read_scan
from auditor.barcodes import ownership
from auditor.contents import Contents, Record
from auditor.entitlement import Candidates, Label, Scan, entitled
from auditor.expected import EVENT_ID_BYTES, MINUTE_MS
from auditor.findings import Findings
from auditor.log import Replay
from schemas.reasons import BarcodeVerdict
from tests.unit.auditor.naive_labels import labels_for, pic_of

Found = tuple[str, str, int, int, tuple[int, int] | None]
Claims = dict[tuple[int, int], dict[str, list[Record]]]
NOT_YET, FOR_EVER = -1, 1 << 60


@dataclass
class Decided:
    """What is due for a raw record, by topic, when its entry came to it.

    `needs`: tenants that may get it by a label that is not known yet; all of them ("*") where only
    a label names the owner.
    """

    due: dict[str, Record] = field(default_factory=dict)
    needs: set[str] = field(default_factory=set)
    ambiguous: bool = False


@dataclass
class Wait:
    """An event that needs a label: since which entry, for whom, and how it ended."""

    raw: Record
    entry: dict[str, Any]
    needs: set[str]
    hold_ms: int
    ended: str = ""
    found_late: bool = False
    anew: Decided = field(default_factory=Decided)

    def is_for(self, tenant: str) -> bool:
        return self.needs == {"*"} or tenant in self.needs


@dataclass
class History:
    """What the ledger says happened, and what follows from it.

    `at` is the order in which records of a raw position must stand: raw offset, then 1 for one that
    was decided in its turn; for one decided anew the offset before which it was, 0, and a number.
    """

    decided: dict[tuple[int, int], Decided] = field(default_factory=dict)
    waits: dict[tuple[int, int], Wait] = field(default_factory=dict)
    anew_at: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)
    covered: dict[int, int] = field(default_factory=dict)

    def place(self, position: tuple[int, int], tenant: str) -> tuple[int, int, int]:
        """Where a tenant's record of a raw position must stand."""
        wait = self.waits.get(position)
        if wait is not None and wait.is_for(tenant) and position in self.anew_at:
            return self.anew_at[position]
        return position[1], 1, 0

    def due(self, position: tuple[int, int], tenant_of: dict[str, str]) -> dict[str, Record]:
        """All that must stand for a raw position, whenever it was decided."""
        due = dict(self.decided[position].due)
        wait = self.waits.get(position)
        if wait is not None and wait.ended == "decided_anew":
            due |= {t: one for t, one in wait.anew.due.items() if wait.is_for(tenant_of[t])}
        return due


def naive_findings(world: Contents) -> list[Found]:
    """Kind, topic, partition, offset and raw position of all that is wrong with deliveries."""
    found: list[Found] = []
    history = history_of(world, found)
    tenant_of = tenants_by_topic(world)
    claims = claims_of(world, history, tenant_of, found)
    raw = {(one.partition, one.offset): one for one in world.raw.records()}
    for position in sorted({*claims, *(raw.keys() & history.decided.keys())}):
        standing = claims.get(position, {})
        if position not in raw:
            for topic, records in standing.items():
                kind = "quarantine_extra" if topic == world.quarantine.name else "extra"
                found += [(kind, topic, one.partition, one.offset, position) for one in records]
            continue
        due = history.due(position, tenant_of)
        for topic in {*standing, *due}:
            judge_topic(world, topic, due.get(topic), standing.get(topic, []), position, found)
    return found


def tenants_by_topic(world: Contents) -> dict[str, str]:
    replay = Replay(world.log)
    replay.advance(replay.end, Findings())
    tenants = replay.rights.tables.tenants
    return {body["topic"]: tenant_id for tenant_id, body in tenants.items()}


def history_of(world: Contents, found: list[Found]) -> History:
    """Go through the ledger, entry by entry."""
    history = History()
    raw = {(one.partition, one.offset): one for one in world.raw.records()}
    told: dict[int, int] = {}
    count = 0
    for record in world.ledger.records():
        _, entry = read(record.value)
        part = record.partition
        here = (world.ledger.name, part, record.offset)
        told[part] = entry.get("hold_ms", told.get(part, NOT_YET))
        for offset in entry.get("decided_anew", ()):
            count += 1
            if offset < entry["raw_from"]:
                start = max(entry["raw_from"], history.covered.get(part, 0))
                history.anew_at.setdefault((part, offset), (start, 0, count))
            wait = history.waits.get((part, offset))
            if wait is None or wait.ended:
                found.append(("hold_not_waiting", *here, (part, offset)))
                continue
            wait.ended = "decided_anew"
            wait.anew = decide(world, wait.raw, entry)
            if not labels_for(world, wait.raw, entry["label_position"]):
                found.append(("hold_still_needed", *here, (part, offset)))
            pic = pic_of(wait.raw)
            find_overtaken(world, history, entry, here, found, pic=pic, before=offset)
        for offset in entry.get("given_up", ()):
            wait = history.waits.get((part, offset))
            if wait is None or wait.ended:
                found.append(("hold_not_waiting", *here, (part, offset)))
                continue
            wait.ended = "given_up"
            deadline = wait.entry["decided_at"] + min_told(wait, entry)
            is_known = labels_for(world, wait.raw, entry["label_position"])
            if is_known or entry["decided_at"] < deadline:
                found.append(("hold_given_up", *here, (part, offset)))
        if entry["raw_from"] < entry["raw_next"]:
            find_overtaken(world, history, entry, here, found)
        no_room = set(entry.get("not_held", ()))
        for offset in range(entry["raw_from"], entry["raw_next"]):
            position = (part, offset)
            if position in history.decided:
                continue
            history.decided[position] = Decided()
            if position in raw:
                decided = history.decided[position] = decide(world, raw[position], entry)
                if decided.needs and entry["label_position"] >= 0:
                    ended = "not_held" if offset in no_room else ""
                    needs = decided.needs
                    history.waits[position] = Wait(raw[position], entry, needs, told[part], ended)
                    no_room.discard(offset)
        found += [("hold_not_needed", *here, (part, offset)) for offset in no_room]
        history.covered[part] = max(history.covered.get(part, 0), entry["raw_next"])
    return history


def min_told(wait: Wait, entry: dict[str, Any]) -> int:
    """How long it had to wait at least: as its own entry says, else the least that was told."""
    if "hold_ms" in wait.entry:
        return int(wait.entry["hold_ms"])
    return min(one for one in (wait.hold_ms, entry["hold_ms"]) if one != NOT_YET)


def find_overtaken(
    world: Contents,
    history: History,
    entry: dict[str, Any],
    here: tuple[str, int, int],
    found: list[Found],
    *,
    pic: str = "",
    before: int = FOR_EVER,
) -> None:
    """Events whose label is known and that still wait, although something else is decided now."""
    for (part, offset), wait in history.waits.items():
        if part != entry["partition"] or wait.ended or wait.found_late or offset >= before:
            continue
        is_asked = pic in ("", pic_of(wait.raw))
        if is_asked and labels_for(world, wait.raw, entry["label_position"]):
            wait.found_late = True
            found.append(("hold_overtaken", *here, (part, offset)))


def claims_of(
    world: Contents, history: History, tenant_of: dict[str, str], found: list[Found]
) -> Claims:
    """What stands for each raw position; what claims none that is decided is found here."""
    claims: Claims = defaultdict(lambda: defaultdict(list))
    for topic in [*world.tenants.values(), world.quarantine]:
        inside = topic is world.quarantine
        highest: dict[tuple[int, int], tuple[int, int, int]] = {}
        for record in topic.records():
            name = "mg-origin" if inside else "ce_id"
            claim = dict(record.headers).get(name, b"").removeprefix(b"raw:").split(b"-")
            place = (topic.name, record.partition, record.offset)
            if len(claim) != 2:
                found.append(("quarantine_extra" if inside else "wrong_headers", *place, None))
                continue
            partition, offset = int(claim[0]), int(claim[1])
            if offset >= history.covered.get(partition, 0):
                kind = "quarantine_extra" if inside else "extra"
                found.append((kind, *place, (partition, offset)))
                continue
            stream = (record.partition, partition)
            at = history.place((partition, offset), tenant_of.get(topic.name, ""))
            if at < highest.get(stream, at) and not inside:
                found.append(("out_of_order", *place, (partition, offset)))
            highest[stream] = max(at, highest.get(stream, at))
            claims[partition, offset][topic.name].append(record)
    return claims


def decide(world: Contents, raw: Record, entry: dict[str, Any]) -> Decided:
    """What must stand for one raw record, by topic; log and labels are read anew for each."""
    replay, candidates = Replay(world.log), Candidates()
    replay.advance(entry["version"], Findings())
    candidates.refresh(replay.rights.tables)
    reason, mid, by_label = "", "", ()
    try:
        fields, cut_at = read_scan(raw.value)
    except (UnreadableError, UnknownFrameError) as error:
        unknown = isinstance(error, UnknownFrameError)
        reason = "unknown_frame" if unknown else "malformed_record"
    else:
        owner = ownership(fields["barcode"])
        mid = owner.mid
        if fields["channel"] == "UNKNOWN":
            reason = "channel_unknown"
        elif owner.verdict not in (BarcodeVerdict.OWNED, BarcodeVerdict.NO_OWNER):
            reason = owner.reason
    if reason:
        origin = b"raw:%d-%d" % (raw.partition, raw.offset)
        headers = (*raw.headers, ("mg-reason", reason.encode()), ("mg-origin", origin))
        return Decided({world.quarantine.name: raw._replace(headers=headers)})
    fitting = labels_for(world, raw, entry["label_position"])
    label = None
    if len(fitting) == 1:
        (number, said) = fitting[0]
        label = Label(said["mid"], said["generated_by"], said["merchant_token_id"])
        if mid == "":
            mid, by_label = said["mid"], (("mg-label", f"{number}:{said['label_id']}".encode()),)
    if mid == "":
        return Decided(needs=set() if fitting else {"*"})
    happened = Scan(fields["event_time"], fields["time_basis"] == "UTC", label)
    answer = entitled(candidates, mid, fields["channel"], entry["decided_at"], happened)
    minute = str(fields["event_time"] // MINUTE_MS)
    parts = (owner.pic, fields["event_code"], minute, fields["facility_zip"])
    event = blake2b("\x1f".join(parts).encode(), digest_size=EVENT_ID_BYTES).digest()
    decided = Decided()
    for tenant_id, grant_id in answer.allowed.items():
        tenant = replay.rights.tables.tenants[tenant_id]
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_type", b"org.midgate.scan.v1"),
            ("ce_source", f"/midgate/{world.app_id}".encode()),
            ("ce_id", b"%d-%d" % (raw.partition, raw.offset)),
            ("mg-event", event),
            ("mg-authz", f"{entry['log_id'][:8]}:{entry['version']}".encode()),
            *by_label,
            ("mg-grant", grant_id.encode()),
        )
        value = raw.value or b""
        if tenant_id not in answer.uncut:
            value = value[:cut_at] + b"\0"
        partition = raw.partition % tenant["partitions"]
        due = Record(partition, -1, raw.timestamp, raw.key, value, headers)
        decided.due[tenant["topic"]] = due
    if not fitting:
        for grant in candidates.of(mid):
            tenant_id, token = grant["tenant_id"], grant["merchant_token_id"]
            if tenant_id not in answer.allowed and token != "":
                proof = Scan(*happened[:2], Label(mid, tenant_id, token))
                now = entitled(candidates, mid, fields["channel"], entry["decided_at"], proof)
                if tenant_id in now.allowed:
                    decided.needs.add(tenant_id)
    return decided


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
