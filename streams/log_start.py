"""The record a log begins with, which says which log it is. [core]"""

from schemas.codec import MalformedRecordError, UnknownFrameError, decode
from streams.errors import UpgradeNeededError, WrongLogError


def log_id_of(value: bytes) -> str:
    """Log id of the record at offset 0.

    Raises WrongLogError when it is no start of a log, UpgradeNeededError when it is framed with
    a schema of a newer version.
    """
    try:
        name, envelope = decode(value)
        if name != "authorization_change" or envelope["kind"] != "LOG_START":
            raise WrongLogError("the log does not begin with a log id: it is not one of ours")
        name, body = decode(envelope["body"])
    except UnknownFrameError as error:
        raise UpgradeNeededError(f"upgrade needed: the log begins with an {error}") from error
    except MalformedRecordError as error:
        raise WrongLogError(f"the log does not begin with a log id: {error}") from error
    if name != "log_start":
        raise WrongLogError("the log does not begin with a log id: it is not one of ours")
    return str(body["log_id"])
