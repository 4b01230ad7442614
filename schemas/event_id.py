"""The header `mg-event`: the same id means *most likely the same scan*, nothing more.

Feeds give one scan with different seconds, so the time counts by the minute. Nothing is ever
dropped on this id alone. Definition: docs/authorization-log.md, "What stands in a tenant topic".
"""

from hashlib import blake2b

from schemas.event_reader import EventFields

EVENT_ID_BYTES = 12
_MINUTE_MS = 60_000


def event_id(pic: bytes, facts: EventFields) -> bytes:
    """Twelve bytes over PIC (as `Owner.pic`), event code, minute of the scan, facility's ZIP5."""
    scan = b"%b\x1f%b\x1f%d\x1f%b" % (pic, facts[1], facts[2] // _MINUTE_MS, facts[4])
    return blake2b(scan, digest_size=EVENT_ID_BYTES).digest()
