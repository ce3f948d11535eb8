"""The server's side of TLS without sockets: records in, plain bytes and records out.

Not the event loop's own TLS: its servers hold the FIN back until the client's close_notify has come, which
is a turn-around no provider charges for; and between a STARTTLS and the handshake asyncio and uvloop
disagree about who gets the next bytes. Here both are plain to see, and 221 and close_notify are one write.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

READ_BYTES = 2**18


class ServerTls:
    """One connection. After each call, `data_to_send` holds what must go out."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        """Whether the handshake is over."""
        self.ended = False
        """Whether the client has said that no more will come."""

    def receive(self, records: bytes) -> bytes:
        """What the client said. Raises ssl.SSLError when the records or the handshake are wrong."""
        self._incoming.write(records)
        pieces = []
        with suppress(ssl.SSLWantReadError):
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(READ_BYTES):
                pieces.append(piece)
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Say something to the client."""
        self._object.write(data)

    def close(self) -> None:
        """Say that no more will come, and do not wait for the same from the client."""
        with suppress(ssl.SSLError):
            self._object.unwrap()

    def data_to_send(self) -> bytes:
        """The records that wait to be sent."""
        return self._outgoing.read()
