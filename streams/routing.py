"""[core] The hot path: a batch of raw records in, the records of every tenant topic out.

Pure, and one loop over plain values: what is the same for a batch (its clock reading, the version)
or for a MID (its plan, the header that names the grant) is prepared once and looked up. No record
is built anew: a tenant gets the raw bytes, cut before `restricted`, and what all copies of an event
share is encoded once (`streams/record_format.py`).

A record that cannot be decided goes to quarantine with its reason, whatever is wrong with it: none
is dropped, and none raises. Formats: docs/authorization-log.md, "What stands in a tenant topic".
"""

from collections.abc import Iterable

from schemas.barcode import judge_number
from schemas.codec import MalformedRecordError, UnknownFrameError
from schemas.event_reader import walk_event
from schemas.reasons import QuarantineReason, Reason
from streams.batch_output import Batch, RoutedBatch
from streams.label_desk import LabelDesk
from streams.label_routing import by_event, by_label, decide_held
from streams.raw_record import RawFields
from streams.rights_snapshot import RightsSnapshot

__all__ = ["UNBOUNDED", "RoutedBatch", "route_batch"]

UNBOUNDED = 1 << 62

_CHANNEL_UNKNOWN = QuarantineReason.CHANNEL_UNKNOWN.value
_MALFORMED_RECORD = QuarantineReason.MALFORMED_RECORD.value
_LABEL_NEEDED = Reason.LABEL_NEEDED.value
_UNKNOWN_FRAME = QuarantineReason.UNKNOWN_FRAME.value


def route_batch(
    records: Iterable[RawFields],
    snapshot: RightsSnapshot,
    now_ms: int,
    *,
    app_id: str,
    bytes_out_max: int = UNBOUNDED,
    desk: LabelDesk | None = None,
) -> RoutedBatch:
    """Decide every record on one snapshot at one instant, `now_ms` (Unix ms, `decided_at`).

    `records` are `RawRecord`s. Stops before the record that would bring the bytes out above
    `bytes_out_max`, unless it comes first: nothing smaller than a record can be placed. The caller
    goes on from `next_offsets`.

    `desk`: labels and held events, of which those that are due come first; without one no label is
    known and nothing is held.
    """
    batch = Batch(app_id, snapshot, now_ms, bytes_out_max)
    if desk is None or decide_held(batch, snapshot, now_ms, desk):
        _route(records, snapshot, now_ms, batch, desk)
    return batch.sum_up()


def _route(
    records: Iterable[RawFields],
    snapshot: RightsSnapshot,
    now_ms: int,
    batch: Batch,
    desk: LabelDesk | None,
) -> None:
    """The loop over the records; see `route_batch`."""
    # What `snapshot.plan` does first, written out: the call costs as much as the look-up.
    shards = snapshot.plan_shards
    mask = len(shards) - 1
    withheld, next_offsets = batch.withheld, batch.next_offsets
    for record in records:
        value, label = record[4] or b"", b""
        try:
            facts = walk_event(value)
        except UnknownFrameError:
            mid, reason = b"", _UNKNOWN_FRAME
        except MalformedRecordError:
            mid, reason = b"", _MALFORMED_RECORD
        else:
            _, mid, pic, reason = judge_number(facts[0])
            channel = facts[5]
            if not channel:
                mid, reason = b"", _CHANNEL_UNKNOWN
            elif desk is not None and reason == _LABEL_NEEDED:
                mid, label = desk.lookup.owner(record[0], pic, value, facts[2], facts[3])
        if mid:
            known = shards[hash(mid) & mask].get(mid)
            plan = known[channel] if known is not None else None
            if plan is None or not plan[2] <= now_ms < plan[3]:
                plan = snapshot.plan(mid, channel, now_ms)
            routes = plan[0]
            if not routes:
                if not plan.options:
                    withheld[plan[1].value] += 1
                elif label and desk is not None:
                    if not by_label(batch, record, value, facts, pic, (snapshot, now_ms, desk)):
                        break
                elif not by_event(batch, record, value, facts, pic, plan, now_ms, desk):
                    break
            elif not batch.deliver(record, value, facts, pic, routes, label):
                break
        elif reason == _LABEL_NEEDED:
            if desk is None:
                withheld[reason] += 1
            elif not by_label(batch, record, value, facts, pic, (snapshot, now_ms, desk)):
                break
        elif not batch.set_aside(record, reason):
            break
        next_offsets[record[0]] = record[1] + 1
        batch.records += 1
