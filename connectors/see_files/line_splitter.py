"""Chunks of bytes -> lines, within a bound.

A line ends with LF or CR LF; neither belongs to the line. A byte order mark of UTF-8 before the
first line is dropped. The last line needs no line end. Empty lines are lines.
"""

LINE_BYTES_MAX = 256 * 1024
"""Longest line kept. A line that fills it has been cut there: the layout has 393 columns, and a
record must fit into a Kafka message (1 MiB) with its headers. What is cut off stays in the file."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LineSplitter:
    """Feed chunks in order, then `finish` once."""

    def __init__(self) -> None:
        self._carry = b""
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Lines that are complete now."""
        lines = chunk.split(b"\n")
        has_return = b"\r" in chunk or b"\r" in self._carry
        lines[0] = self._carry + lines[0]
        self._carry = lines.pop()[: LINE_BYTES_MAX + len(BYTE_ORDER_MARK)]
        return self._finished(lines, has_return)

    def finish(self) -> list[bytes]:
        """The last line, if it had no line end."""
        rest, self._carry = self._carry, b""
        return self._finished([rest], b"\r" in rest) if rest else []

    def _finished(self, lines: list[bytes], has_return: bool) -> list[bytes]:
        if lines and self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        # A cut line keeps its length, which is what says that it was cut.
        if has_return:
            lines = [
                line[:-1] if line.endswith(b"\r") and len(line) < LINE_BYTES_MAX else line
                for line in lines
            ]
        if any(len(line) > LINE_BYTES_MAX for line in lines):
            lines = [line[:LINE_BYTES_MAX] for line in lines]
        return lines
