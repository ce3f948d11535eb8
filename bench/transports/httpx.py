"""HTTP APIs by httpx or httpx2, one client for each connection, timed by httpcore's trace events.

httpx2 has the same interface, so the types below say httpx for both; only the one that was asked for
is imported.

httpcore gives no event at the first byte, so `server` ends when the response's headers
have been read. A request counts as handed over as soon as httpcore starts to send it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

import anyio

from bench import __version__
from bench.errors import SetupError
from bench.guard import Guard
from bench.model import Endpoint, Message, Outcome
from bench.providers.base import BatchRequest, Provider, Request, Response
from bench.transports.calls import answer_to, host_header, is_signed, signature, usual_headers
from bench.transports.connect import handshake_round_trips, os_errno, resolve, tls_failure, unreachable
from bench.transports.library import LibrarySession
from bench.transports.session import Answer, AttemptFailed, Recovery, Span

if TYPE_CHECKING:
    import httpcore
    import httpx

BODY_LIMIT = 1024 * 1024
"""Bytes of a response body that are read before the answer is given up as too long."""


class Library(Protocol):
    """What is used of httpx, which may be another module of the same interface."""

    AsyncClient: type[httpx.AsyncClient]
    Limits: type[httpx.Limits]
    InvalidURL: type[httpx.InvalidURL]
    TransportError: type[httpx.TransportError]
    TimeoutException: type[httpx.TimeoutException]
    ConnectError: type[httpx.ConnectError]
    NetworkError: type[httpx.NetworkError]
    RemoteProtocolError: type[httpx.RemoteProtocolError]
    LocalProtocolError: type[httpx.LocalProtocolError]


def load_library(name: str) -> Library:
    """httpx or httpx2. Raises SetupError where it is not installed."""
    try:
        return cast("Library", import_module("httpx") if name == "httpx" else import_module("httpx2"))
    except ModuleNotFoundError as error:
        raise SetupError(f"{name} is not installed: pip install 'sendbench[{name}]'") from error


class HttpxSession(LibrarySession):
    """One HTTP/1.1 connection, opened, kept and closed through an `AsyncClient` of its own.

    When the server has closed a kept connection, the library opens another one without a word; that one
    is given a number of its own, and its uses are counted from one again.
    """

    def __init__(
        self,
        library: Library,
        endpoint: Endpoint,
        guard: Guard,
        context: ssl.SSLContext | None,
        next_id: Callable[[], int],
        provider: Provider,
        request: Request | BatchRequest,
        *,
        sandbox: bool = False,
    ) -> None:
        self.connection_id = next_id()
        self.uses = 0
        self.http_version: str | None = None
        self.tls_version: str | None = None
        self._library = library
        self._endpoint = endpoint
        self._guard = guard
        self._context = context
        self._next_id = next_id
        self._provider = provider
        self._request, self._sandbox = request, sandbox
        self._client: httpx.AsyncClient | None = None
        self._stream: httpcore.AsyncNetworkStream | None = None
        """The last TCP connection. Cancelled in a TLS handshake, httpcore forgets that it has one."""
        self._addresses: Sequence[str] = ()
        """Those to try; once one of them has answered, that one."""
        self._broken = False
        self._headers: dict[str, str] = {}

    @property
    def first_phase(self) -> str:
        return "dns" if self._client is None else "send"

    @property
    def alive(self) -> bool:
        return self._client is not None and not self._broken

    async def exchange(self, message: Message, span: Span) -> Answer:
        """See `LibrarySession.exchange`."""
        self.uses += 1
        try:
            client = self._client or await self._open(span)
            response = await self._send(client, message, span)
            try:
                body = await self._read(response)
            finally:
                await response.aclose()
        except self._library.TransportError as error:
            raise AttemptFailed(_answer_for(self._library, error, span)) from error
        span.round_trip()
        return self._judge(response, body, message)

    async def _open(self, span: Span) -> httpx.AsyncClient:
        from http.cookiejar import CookieJar, DefaultCookiePolicy  # what httpx itself uses; slow to load

        self._addresses = await resolve(self._endpoint, span, self._guard)
        span.enter("send")
        self._headers = self._fixed_headers()
        self._client = self._library.AsyncClient(
            verify=self._context or False,
            timeout=None,  # one deadline around the whole exchange instead of one for each read
            limits=self._library.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=None
            ),
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # takes none, so sends none
        )
        return self._client

    def _url(self, address: str) -> str:
        endpoint, path = self._endpoint, self._request.path
        scheme = "http" if self._context is None else "https"
        host = f"[{address}]" if ":" in address else address
        base = endpoint.path.rstrip("/") if path else endpoint.path
        return f"{scheme}://{host}:{endpoint.port}{base}{path}"

    def _fixed_headers(self) -> dict[str, str]:
        endpoint = self._endpoint
        return {
            **dict((host_header(endpoint),)),
            "User-Agent": f"sendbench/{__version__}",
            "Accept-Encoding": "identity",
            **dict(self._request.headers),
            **dict(usual_headers(endpoint, self._provider)),
        }

    async def _send(self, client: httpx.AsyncClient, message: Message, span: Span) -> httpx.Response:
        """The response without its body, from the first address that can be connected to."""
        failures: list[tuple[str, int | None]] = []
        for address in self._addresses:
            try:
                request = self._build(client, address, message, _Trace(self, span, address, message))
                return await client.send(request, stream=True)
            except self._library.ConnectError as error:
                if span.phase != "tcp":  # connected, and then TLS went wrong
                    raise
                failures.append((address, os_errno(error)))
        raise AttemptFailed(unreachable(failures))

    def _build(
        self, client: httpx.AsyncClient, address: str, message: Message, trace: _Trace
    ) -> httpx.Request:
        try:
            return client.build_request(
                self._request.method,
                self._url(address),
                headers=self._headers_of(message),
                content=message.payload,
                extensions={"sni_hostname": self._endpoint.server_name, "trace": trace},
            )
        except (ValueError, self._library.InvalidURL) as error:
            raise AttemptFailed(_UNSENDABLE) from error

    def _headers_of(self, message: Message) -> dict[str, str]:
        if not is_signed(self._endpoint, self._provider):
            return self._headers
        return self._headers | dict(signature(self._endpoint, self._provider, self._request, message))

    def connected(self, address: str, stream: httpcore.AsyncNetworkStream) -> None:
        """A connection to this address has been opened for the current message."""
        self._addresses, self._stream = (address,), stream
        if self.uses > 1:
            self.connection_id, self.uses = self._next_id(), 1

    async def _read(self, response: httpx.Response) -> bytes:
        self.http_version = response.http_version.removeprefix("HTTP/")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > BODY_LIMIT:
                self._broken = True
                raise AttemptFailed(
                    Answer(Outcome.UNKNOWN, response.status_code, error="protocol", anomaly="too_long")
                )
        return bytes(body)

    def _judge(self, response: httpx.Response, body: bytes, message: Message) -> Answer:
        headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
        self._broken = not _is_kept(response)
        found = Response(response.status_code, headers, body)
        return answer_to(self._provider, found, message, sandbox=self._sandbox)

    async def recover(self) -> Recovery:
        """See `Session.recover`: every HTTP answer leaves a kept connection clean."""
        return Recovery(self.alive)

    async def close(self) -> bool:
        """See `Session.close`: HTTP has no leave-taking."""
        client, self._client = self._client, None
        stream, self._stream = self._stream, None
        if client is not None:
            await client.aclose()
        if stream is not None:
            await stream.aclose()
        return False

    async def abort(self) -> None:
        """See `Session.abort`: the client goes with its connection, its pool may have lost a slot."""
        with anyio.CancelScope(shield=True):
            await self.close()


class _Trace:
    """Turns httpcore's trace events into phases and round trips."""

    def __init__(self, session: HttpxSession, span: Span, address: str, message: Message) -> None:
        self._session, self._span = session, span
        self._address, self._message = address, message

    async def __call__(self, event: str, info: Mapping[str, object]) -> None:
        span = self._span
        match event.removeprefix("connection.").removeprefix("http11."):
            case "connect_tcp.started":
                span.enter("tcp")
            case "connect_tcp.complete":
                self._connected(cast("httpcore.AsyncNetworkStream", info["return_value"]))
            case "start_tls.started":
                span.enter("tls")
            case "start_tls.complete":
                self._secured(cast("httpcore.AsyncNetworkStream", info["return_value"]))
            case "send_request_headers.started":
                span.enter("send")
                span.handed_over = True
                span.bytes_sent = None  # how much of it, is known only at the end
            case "send_request_body.complete":
                span.bytes_sent = self._message.size
                span.enter("server")
            case "receive_response_headers.complete":
                span.enter("receive")
            case "receive_response_body.complete":
                span.end()  # the answer has been read; what follows is housekeeping and our judgement

    def _connected(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._span.round_trip()
        local = stream.get_extra_info("client_addr")
        self._span.local_port = local[1] if local else None
        self._span.address = self._address
        self._session.connected(self._address, stream)
        self._span.enter("send")

    def _secured(self, stream: httpcore.AsyncNetworkStream) -> None:
        ssl_object = stream.get_extra_info("ssl_object")
        self._session.tls_version = ssl_object.version() if ssl_object is not None else None
        self._span.round_trip(handshake_round_trips(self._session.tls_version))
        self._span.enter("send")


def _is_kept(response: httpx.Response) -> bool:
    """Whether another request can follow; below HTTP/1.1 the library closes, whatever the server offers."""
    options = {option.strip().lower() for option in response.headers.get("connection", "").split(",")}
    return response.http_version == "HTTP/1.1" and "close" not in options


_UNSENDABLE = Answer(
    Outcome.FAILED, error="local", notes={"reason": "HTTP has no way to write the address or a header"}
)
"""Nothing was sent. What the libraries say about it holds the header's value, which may be a key."""

_HUNG_UP = ("server disconnected", "peer closed connection")
"""How httpcore and h11 begin to say that the server closed in order, before or in an answer."""


def _answer_for(library: Library, error: httpx.TransportError, span: Span) -> Answer:
    if isinstance(error, library.LocalProtocolError):
        span.bytes_sent = 0  # raised while the head of the request was being written down
        return _UNSENDABLE
    tls = tls_failure(error)
    if tls is not None:
        kind, reason = tls
        return Answer(span.cut_off, error=kind, errno=os_errno(error), notes={"reason": reason})
    return Answer(span.cut_off, error=_kind(library, error), errno=os_errno(error))


def _kind(library: Library, error: httpx.TransportError) -> str:
    """The class of the error; the most specific one that matches wins."""
    if str(error).lower().startswith(_HUNG_UP):
        return "disconnected"
    kinds = (
        (library.TimeoutException, "timeout"),
        (library.ConnectError, "connect"),
        (library.NetworkError, "disconnected"),
        (library.RemoteProtocolError, "protocol"),
    )
    return next((kind for cls, kind in kinds if isinstance(error, cls)), "local")
