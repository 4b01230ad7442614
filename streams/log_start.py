"""The record a log begins with, which says which log it is. [core]"""

from schemas.codec import MalformedRecordError, UnknownFrameError, decode
from streams.errors import WrongLogError


def log_id_of(value: bytes) -> str:
    """Log id of the record at offset 0.

    Raises WrongLogError when it is no start of a log, also when it is of a newer version: the
    first record is written in version 1 for ever.
    """
    try:
        name, envelope = decode(value)
        if name == "authorization_change" and envelope["kind"] == "LOG_START":
            name, body = decode(envelope["body"])
            if name == "log_start":
                return str(body["log_id"])
    except (UnknownFrameError, MalformedRecordError) as error:
        raise WrongLogError(f"the log does not begin with a log id: {error}") from error
    raise WrongLogError("the log does not begin with a log id: it is not one of ours")
