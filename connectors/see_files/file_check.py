"""What kind of file it is, judged by its beginning, before any line of it is taken in."""

import re
from typing import NamedTuple

from connectors.see_files.layout import VERSION
from connectors.see_files.line_splitter import LineSplitter

HEAD_BYTES = 64 * 1024
"""How much of the (unpacked) file is judged: about 165 lines."""

GZIP_MAGIC = b"\x1f\x8b"

_OTHER_PACKINGS = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
}
_LINE_START = re.compile(rb'"([0-9]{3})","')
_CONTROL = bytes([*range(9), 11, 12, *range(14, 32)])
# Text has next to none; machine code, images and UTF-16 have many.
_CONTROL_SHARE_MAX = 0.02


class FileFacts(NamedTuple):
    """What the first pass over a file found."""

    content_sha256: str
    size: int
    lines: int
    packed: bool


def problem_of(head: bytes) -> tuple[str, str] | None:
    """Why a file that begins with `head` is refused as a whole, and a hint; None when it is not.

    A first line of another layout version refuses the file: all of its lines would have their
    columns elsewhere. A broken first line does not, as long as some line of the head is ours.
    """
    splitter = LineSplitter()
    lines = [*splitter.feed(head), *splitter.finish()]
    if not lines:
        return "the file is empty", "a transfer that failed or has not begun leaves an empty file"
    for magic, name in _OTHER_PACKINGS.items():
        if head.startswith(magic):
            return f"the file is packed ({name})", "unpack it first; only gzip is read as it is"
    starts = [_LINE_START.match(line) for line in lines]
    first = starts[0]
    if first is not None and first[1] != VERSION:
        return (
            f"the first line is of layout version {first[1].decode()}, not {VERSION.decode()}",
            "only Scan Event Extract 1.5 can be read; ask USPS for that version",
        )
    if any(start is not None and start[1] == VERSION for start in starts):
        return None
    if len(head.translate(None, _CONTROL)) < len(head) * (1 - _CONTROL_SHARE_MAX):
        return "the file is binary, not text", "give a Scan Event Extract, plain or gzip"
    return (
        f"none of the first {len(lines)} lines is a line of a Scan Event Extract",
        f'lines begin with "{VERSION.decode()}","; is this the right file?',
    )
