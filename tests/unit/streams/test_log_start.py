"""The record a log begins with."""

from typing import Any

import pytest

from schemas.codec import encode
from streams.changes import build_change, heartbeat_change, log_start_change
from streams.errors import WrongLogError
from streams.log_start import log_id_of

STAMP: dict[str, Any] = {"actor": "test", "reason": "test", "change_id": b"0" * 16}


def test_the_log_id_is_that_of_the_record() -> None:
    assert log_id_of(log_start_change("an-id", **STAMP)) == "an-id"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0\0\0\x27\x0fnewer",
        b"not framed at all",
        log_start_change("an-id", **STAMP)[:-1],
        heartbeat_change("n", **STAMP),
        build_change("TENANT_END", "tenant/x", {"tenant_id": "x"}, **STAMP),
        encode("log_start", {"log_id": "an-id"}),
    ],
)
def test_anything_else_is_no_start(value: bytes) -> None:
    with pytest.raises(WrongLogError):
        log_id_of(value)
