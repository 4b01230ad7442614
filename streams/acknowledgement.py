"""[core] The metadata of committed offsets: what a deliverer acknowledges, and its floor of time.

A group's committed offsets carry a text. Two uses, both in compact JSON:

- the *acknowledgement key* of a deliverer: the version of the rights it last decided on and by
  which registration, with the last change in it; during a start the nonce of that start, and what
  was acknowledged before. It is committed in every transaction of the deliverer, so no open
  transaction of somebody else hides it;
- the *raw partitions*: when the last record below the offset was decided, below which no later
  clock reading of the lane may fall.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

_CHANGE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Everything the deliverer commits from here on is decided with at least this version."""

    log_id: str
    version: int
    registration: str  # nonce of the registration that wrote it
    producer_id: int
    producer_epoch: int
    change_id: str = ""  # hex; the last change below the version, "" when not known


@dataclass(frozen=True, slots=True)
class StartNonce:
    """A start is under way: the id's old owner is fenced, the new one has not registered yet.

    No acknowledgement; log and change (hex) are what the one before it named.
    """

    nonce: str
    log_id: str = ""
    change_id: str = ""


def encode_acknowledgement(acknowledgement: Acknowledgement) -> str:
    """Metadata of the acknowledgement key in a batch's transaction."""
    return _encode(
        {
            "l": acknowledgement.log_id,
            "v": acknowledgement.version,
            "n": acknowledgement.registration,
            "p": acknowledgement.producer_id,
            "e": acknowledgement.producer_epoch,
            "c": acknowledgement.change_id,
        }
    )


def encode_start_nonce(start: StartNonce) -> str:
    """Metadata of the acknowledgement key in the first transaction of a start."""
    return _encode({"nonce": start.nonce, "l": start.log_id, "c": start.change_id})


def decode_acknowledgement(metadata: str) -> Acknowledgement | StartNonce | None:
    """What the acknowledgement key says; None when nothing of ours can be read in it.

    A reader must take None as "has not acknowledged": never as an acknowledgement.
    """
    fields = _decode(metadata)
    nonce, log_id = fields.get("nonce"), fields.get("l")
    change_id = _hex(fields.get("c"))
    if isinstance(nonce, str):
        return StartNonce(nonce, log_id if isinstance(log_id, str) else "", change_id)
    version, registration = fields.get("v"), fields.get("n")
    producer_id, epoch = fields.get("p"), fields.get("e")
    if not isinstance(log_id, str) or not isinstance(registration, str):
        return None
    if not (_is_int(version) and _is_int(producer_id) and _is_int(epoch)):
        return None
    return Acknowledgement(log_id, version, registration, producer_id, epoch, change_id)


def encode_decided_at(decided_at_ms: int) -> str:
    """Metadata of a raw partition's offset: the clock reading of the last batch, Unix ms."""
    return _encode({"d": decided_at_ms})


def decode_decided_at(metadata: str) -> int:
    """The clock reading in a raw partition's metadata; 0 when there is none yet."""
    decided_at = _decode(metadata).get("d")
    return decided_at if _is_int(decided_at) else 0


def _encode(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _decode(metadata: str) -> dict[str, Any]:
    try:
        fields = json.loads(metadata)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _hex(text: Any) -> str:
    """A change id of 16 bytes in hex as it stands; "" for anything else."""
    return text if isinstance(text, str) and _CHANGE_ID.fullmatch(text) else ""


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
