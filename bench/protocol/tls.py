"""TLS without sockets: records in, plain bytes and records out."""

from __future__ import annotations

import ssl
from contextlib import suppress

RECORD_BYTES = 2**14


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
                self._shake_hands()
            while self._incoming.pending:  # asking OpenSSL in vain costs more than reading a record
                piece = self._object.read(RECORD_BYTES)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _shake_hands(self) -> None:
        """Go on with the handshake. Raises ssl.SSLWantReadError where that needs more."""
        self._object.do_handshake()
        self.established = True

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

    __slots__ = ("_offered", "round_trips")

    def __init__(
        self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None = None
    ) -> None:
        super().__init__(context, server_side=False, server_name=server_name, session=session)
        self._offered = session
        self.round_trips = 0
        """Flights of the handshake that have been answered."""

    def start(self) -> None:
        """Make the first flight. Raises ssl.SSLError."""
        with suppress(ssl.SSLWantReadError):
            self._object.do_handshake()

    def _shake_hands(self) -> None:
        waiting = self._outgoing.pending
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            if self._outgoing.pending > waiting:  # a whole flight has come, as there is one to answer it
                self.round_trips += 1
            raise
        except ssl.SSLError:
            self.round_trips += 1  # a refusal is an answer, too
            raise
        self.round_trips += 1
        self.established = True

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
        """What another connection may go on with; None where there is nothing, or nothing yet: with TLS 1.3
        it comes after the handshake, and serves only once (RFC 8446, appendix C.4)."""
        session = self._object.session
        if session is None or not session.id:
            return None
        once = self._object.version() == "TLSv1.3"
        used = once and self._offered is not None and session.id == self._offered.id
        return None if used else session


class TlsSessions:
    """Makes the client's side of each connection of a case, and carries TLS sessions from one to the next.

    Without `resume` nothing is carried: every handshake is a full one. With it a session belongs to one
    connection at a time, so connections that are open at the same time have one each.
    """

    __slots__ = ("_context", "_ready", "_resume", "_server_name")

    def __init__(self, context: ssl.SSLContext, server_name: str, resume: bool) -> None:
        self._context, self._server_name, self._resume = context, server_name, resume
        self._ready: list[ClientTls] = []

    def new(self) -> ClientTls:
        """For a connection that is about to shake hands. Raises ssl.SSLError."""
        return self._ready.pop() if self._ready else ClientTls(self._context, self._server_name)

    def keep(self, tls: ClientTls) -> None:
        """Keep the session of a connection for one that comes later. Once for each connection, when the
        server has said something after the handshake: between messages, or at its end.

        Taking a session over costs a quarter of a millisecond of CPU, which is why it is all done here and
        not while a message waits for its connection.
        """
        if self._resume and (session := tls.session) is not None:
            self._ready.append(ClientTls(self._context, self._server_name, session))
