"""TLS without sockets: records in, plain bytes and records out."""

from __future__ import annotations

import ssl
from contextlib import suppress

READ_BYTES = 2**18


class _Tls:
    """One side of a connection. After each call, `data_to_send` holds what must go out."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "established")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_name,
            session=session,
        )
        self.established = False
        """Whether the handshake is over."""
        self.ended = False
        """Whether the other side has said that no more will come."""

    def receive(self, records: bytes) -> bytes:
        """What the other side said. Raises ssl.SSLError when the records or the handshake are wrong."""
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
        """Say something."""
        self._object.write(data)

    def close(self) -> None:
        """Say that no more will come, and do not wait for the same from the other side."""
        with suppress(ssl.SSLError):
            self._object.unwrap()

    def data_to_send(self) -> bytes:
        """The records that wait to be sent."""
        return self._outgoing.read()


class ServerTls(_Tls):
    """The server's side.

    Not the event loop's own TLS: its servers hold the FIN back until the client's close_notify has come,
    which is a turn-around no provider charges for; and between a STARTTLS and the handshake asyncio and
    uvloop disagree about who gets the next bytes. Here both are plain to see, and 221 and close_notify are
    one write.
    """

    __slots__ = ()

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context, server_side=True)


class ClientTls(_Tls):
    """The client's side; `session`, from an earlier connection, asks for a shorter handshake."""

    __slots__ = ("round_trips",)

    def __init__(
        self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None = None
    ) -> None:
        super().__init__(context, server_side=False, server_name=server_name, session=session)
        self.round_trips = 0
        """Flights of the handshake that have been answered."""

    def start(self) -> None:
        """Make the first flight. Raises ssl.SSLError."""
        with suppress(ssl.SSLWantReadError):
            self._object.do_handshake()

    @property
    def version(self) -> str | None:
        """`TLSv1.3`; None before the handshake is over."""
        return self._object.version() if self.established else None

    @property
    def resumed(self) -> bool:
        """Whether the server took the session up again."""
        return bool(self._object.session_reused)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection may go on with; with TLS 1.3 it comes after the handshake."""
        return self._object.session
