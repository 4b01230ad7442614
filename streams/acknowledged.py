"""What a deliverer has acknowledged outlives it, and holds the log to account at the next start.

A log that was put back from an older copy has the right log id and too few changes; who decided on
it would deliver by rights that were taken away, and say so to nobody. The version alone does not
show it for long: heartbeats carry any log past any version. So the acknowledgement names the last
change as well, and a start goes on only with a log that holds it. Until then nothing is written
over what the acknowledgement key says, and the mark of a start repeats it.
"""

from typing import Any, NamedTuple

from aiokafka.structs import OffsetAndMetadata

from streams.acknowledgement import StartNonce, decode_acknowledgement, encode_start_nonce
from streams.delivery import DelivererIdentity, FollowerOf, Registrations
from streams.errors import LeaseExpiredError, WrongLogError
from streams.group_offsets import Offsets

HINT = (
    "another log, or an older copy, was put in the log's place: find out what was restored,"
    " and bring the log back whole; `midgate doctor` shows what each lane has acknowledged"
)


class Acknowledged(NamedTuple):
    """A log id, a version, and a change below it (hex); empty, or 0, is what is not known."""

    log_id: str
    version: int
    change_id: str


def acknowledged(found: OffsetAndMetadata | None) -> Acknowledged:
    """What the acknowledgement key says; its offset counts whatever stands beside it."""
    if found is None:
        return Acknowledged("", 0, "")
    said = decode_acknowledgement(found.metadata)
    if said is None:
        return Acknowledged("", found.offset, "")
    return Acknowledged(said.log_id, found.offset, said.change_id)


def start_mark(
    identity: DelivererIdentity,
    nonce: str,
    before: Acknowledged,
    rights: Registrations,
    version: int,
) -> Offsets:
    """The acknowledgement key's offset in the first transaction of a start: the nonce, and what
    was acknowledged before, or would have been."""
    said = StartNonce(nonce, rights.log_id, before.change_id or rights.last_change_id.hex())
    return {
        identity.ack: OffsetAndMetadata(max(before.version, version, 0), encode_start_nonce(said))
    }


def shows_nonce(identity: DelivererIdentity, nonce: str, offsets: Offsets) -> bool:
    """Whether an answer about offsets is at least as young as our nonce."""
    found = offsets.get(identity.ack)
    said = decode_acknowledgement(found.metadata) if found is not None else None
    return isinstance(said, StartNonce) and said.nonce == nonce


def lost(before: Acknowledged, rights: Registrations, version: int) -> str:
    """What the log, as it is followed up to `version`, lacks of it; "" when it holds all."""
    if before.log_id and before.log_id != rights.log_id:
        return (
            f"this lane has acknowledged version {before.version} of log {before.log_id[:8]},"
            f" this log is {rights.log_id[:8]}"
        )
    if before.version > version:
        return f"the log ends at {version}, this lane has acknowledged {before.version}"
    if before.change_id and not rights.has_change(bytes.fromhex(before.change_id)):
        return (
            f"the log, at version {version}, lacks change {before.change_id}, which this lane"
            f" has acknowledged with version {before.version}"
        )
    return ""


async def refuse_lost_log(before: Acknowledged, follower: FollowerOf[Any]) -> None:
    """Raise WrongLogError unless the follower's log holds all that was acknowledged.

    A follower that is behind has one lease to catch up. LeaseExpiredError when it cannot tell.
    """
    if before.log_id in ("", follower.rights.log_id):
        try:
            await follower.wait_for_version(before.version, follower.lease_max_s)
        except LeaseExpiredError:
            if follower.problem is not None:
                raise
    problem = lost(before, follower.rights, follower.version)
    if problem:
        raise WrongLogError(problem, hint=HINT)
