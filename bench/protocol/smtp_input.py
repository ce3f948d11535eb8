"""What an SMTP client has said and nobody has read yet: cut into lines, texts and chunks.

"Not all here yet" is None, never an exception; a Refusal means the thing was read and is wrong.
"""

from __future__ import annotations

from collections import deque

from bench.protocol.smtp_commands import MESSAGE_TOO_LARGE, Refusal

_END_OF_TEXT = b"\r\n.\r\n"


class Input:
    """A buffer that knows where it stands, so that input may come in any pieces at no extra cost."""

    def __init__(self) -> None:
        self.line_position = 0
        """Where the last line began, in the whole input."""
        self._buffer = bytearray()
        self._position = 0  # of the buffer's first byte, in the whole input
        self._scanned = 0  # so much of the buffer is known to hold no end of what is being read
        self._dropped = False  # whether the start of what is being read has been thrown away
        self._marks: deque[tuple[int, int]] = deque()  # where a piece of input ended, and its mark

    def __len__(self) -> int:
        return len(self._buffer)

    def receive(self, data: bytes, mark: int) -> None:
        """Take a piece of input and remember its mark as long as it is of use."""
        if not self._buffer:
            self._marks.clear()
        self._buffer += data
        self._marks.append((self._position + len(self._buffer), mark))

    def mark_at_line(self) -> int:
        """The mark of the piece that held the first byte of the last line."""
        while len(self._marks) > 1 and self._marks[0][0] <= self.line_position:
            self._marks.popleft()
        return self._marks[0][1]

    def take(self, count: int) -> bytes:
        """The next `count` bytes, or fewer if there are no more."""
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._position += len(data)
        self._scanned = 0
        return data

    def clear(self) -> None:
        """Throw away what is there."""
        self.take(len(self._buffer))

    def line(self, limit: int) -> bytes | None:
        """The next line without its CRLF. Raises Refusal when it is longer than `limit` or ends otherwise."""
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > limit:
                self.clear()
                self._dropped = True
            return None
        self.line_position = self._position
        line = self.take(end + 1)
        if self._dropped or len(line) > limit:
            self._dropped = False
            raise Refusal(500, "5.5.2", "Line too long")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Refusal(500, "5.5.2", "A line ends with CRLF, and a CR or LF stands nowhere else")
        return line[:-2]

    def text(self, limit: int) -> bytes | None:
        """The message up to a line with a lone dot, unstuffed (section 4.5.2).

        Only CRLF.CRLF ends it. Raises Refusal when it is larger than `limit` or holds a bare CR or LF.
        """
        if self._buffer.startswith(b".\r\n") and not self._dropped:
            self.take(3)
            return b""
        end = self._buffer.find(_END_OF_TEXT, max(0, self._scanned - len(_END_OF_TEXT) + 1))
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > 2 * limit + 4096:  # too large even if every other byte were a stuffed dot
                self.take(self._scanned - len(_END_OF_TEXT) + 1)
                self._dropped = True
            return None
        text = self.take(end + 2)
        self.take(3)
        if self._dropped:
            self._dropped = False
            raise Refusal(*MESSAGE_TOO_LARGE)
        return checked_message(text.replace(b"\r\n.", b"\r\n").removeprefix(b"."), text, limit)


def checked_message(message: bytes, raw: bytes, limit: int) -> bytes:
    """The message. Raises Refusal when it is larger than `limit` bytes or `raw`, the form in which it
    travelled, holds a bare CR or LF (section 2.3.8; what SMTP smuggling lives on, CVE-2023-51764)."""
    if len(message) > limit:
        raise Refusal(*MESSAGE_TOO_LARGE)
    if not raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n"):
        raise Refusal(550, "5.6.11", "Bare CR or LF in the message")
    return message
