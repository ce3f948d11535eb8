"""The HTTP APIs of the mock: every provider in one server, told apart by the first step of the path.

uvicorn's httptools protocol reads and writes HTTP/1.1; what a call deserves is decided by the
provider's own file. The protocol is given a server of ours instead of uvicorn's, because that one
installs signal handlers and takes its time to stop.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import format_datetime
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.abc
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from bench.clock import Alarm, monotonic_ns, utc_now
from bench.mock.log import TakenLog
from bench.mock.service import Decider, Quota, RateLimit
from bench.model import Auth, Taken
from bench.providers.base import Headers, Provider, Request, Response, Served, json_response

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

READ_LIMIT = 64 * 2**20
"""Bytes of a request body that are read, though not kept, before the connection is given up."""
KEEP_LIMIT = 50 * 2**20
"""Bytes of a request body that are kept for a provider that documents no limit."""
KEEP_ALIVE_S = 3600
BACKLOG = 2048
STOP_S = 0.1
"""How long open connections may take to end by themselves; twice that is the longest a stop takes."""

LOCAL_HOSTS = frozenset(("127.0.0.1", "localhost", "[::1]"))
"""What a Host header may name; any other is another site's page that had its name pointed at us (DNS
rebinding)."""
_HOST_PORT = re.compile(r"(?<!:):\d+$")


async def serve_api(
    sockets: Sequence[socket.socket],
    *,
    ssl_context: ssl.SSLContext | None,
    providers: Mapping[str, Provider],
    credentials: Mapping[str, Auth],
    decider: Decider,
    taken_log: TakenLog,
    alarm: Alarm,
    seed: int,
    any_host: bool = False,
    at_root: str | None = None,
    rate_limit: float | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on bound sockets until cancelled, then stop within half a second.

    `credentials` holds what each provider's callers have to show. `any_host` lets a Host header name more
    than this machine, for a mock that is meant to be reached from others. `at_root` names a provider that has
    the server to itself, with the vendor's own paths, as its SDK expects. Each provider takes `rate_limit`
    calls a second; what it would take above is answered as throttled. The time runs from the last byte of a
    request to the first of its answer. `task_status` is told when connections are taken.
    """
    app = Application(
        providers, credentials, decider, taken_log, alarm, Random(seed), any_host, at_root, rate_limit
    )
    state = ServerState()
    config = _config(app)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(
            lambda: _TimedProtocol(config, state, {}), sock=each, ssl=ssl_context, backlog=BACKLOG
        )
        for each in sockets
    ]
    try:
        task_status.started()
        while True:
            date = format_datetime(utc_now(), usegmt=True).encode("ascii")
            state.default_headers = [(b"server", b"sendbench"), (b"date", date)]
            await anyio.sleep(1)
    finally:
        await _stop(servers, state, app)


def _config(app: Application) -> Config:
    config = Config(
        app,
        interface="asgi3",
        lifespan="off",
        ws="none",
        http=_TimedProtocol,
        loop="none",
        log_config=None,
        log_level=logging.ERROR,  # a garbled request is the client's affair; an exception in ours is not
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()
    return config


async def _stop(servers: Sequence[asyncio.Server], state: ServerState, app: Application) -> None:
    """Take no more connections, let answers that are being written go out, and cut the rest."""
    for server in servers:
        server.close()
    for connection in tuple(state.connections):
        connection.shutdown()
    app.stop()
    with anyio.move_on_after(STOP_S, shield=True):
        await _idle(state)
    for connection in tuple(state.connections):
        connection.transport.abort()
    with anyio.move_on_after(STOP_S, shield=True):
        await _idle(state)


async def _idle(state: ServerState) -> None:
    while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn offers no event for it
        await anyio.sleep(0.002)


class _TimedProtocol(HttpToolsProtocol):
    """Notes when the first and the last byte of each request came, in the request's state."""

    _arrived_ns = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._joining = Joining(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]  # it is all that uvicorn needs

    def data_received(self, data: bytes) -> None:
        self._arrived_ns = monotonic_ns()
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"].update(received_ns=self._arrived_ns, hold=self._joining.hold)

    def on_message_complete(self) -> None:
        self.scope["state"]["complete_ns"] = self._arrived_ns
        super().on_message_complete()

    def shutdown(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.disconnected = True  # or uvicorn would answer 500 in the application's place
            self.transport.abort()


class Joining:
    """A transport that sends head and body of an answer in one piece, as front ends of providers do.

    ASGI hands them over one after the other, and with TCP_NODELAY each would be a segment of its own.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def hold(self) -> None:
        """Keep the next write back until the one after it."""
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._transport.write(data)
        elif not self._head:
            self._head = data
        else:
            head, self._head = self._head, None
            self._transport.write(head + data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


class Application:
    """The ASGI application: finds the provider, lets it answer, and takes the planted time over it."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        credentials: Mapping[str, Auth],
        decider: Decider,
        taken_log: TakenLog,
        alarm: Alarm,
        rng: Random,
        any_host: bool,
        at_root: str | None = None,
        rate_limit: float | None = None,
    ) -> None:
        self._providers = providers
        self._credentials = credentials
        self._decider = decider
        self._log = taken_log
        self._alarm = alarm
        self._rng = rng
        self._any_host = any_host
        self._root = None if at_root is None else (at_root, base_path(providers[at_root]))
        self._limits = {} if rate_limit is None else {name: RateLimit(rate_limit) for name in providers}
        self._repeats = _Repeats()
        self._deciding: set[asyncio.Future[bool]] = set()
        self._stopped = False

    async def __call__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        name, path = _split(_whole_path(scope), self._root)
        provider = self._providers.get(name)
        limit = provider.facts.api.max_request_bytes or KEEP_LIMIT if provider else 0
        body, whole = await _read(receive, limit)
        if body is None:
            return
        answer = _Answer(scope, send, close=not whole)
        headers = _texts(scope)
        if not (self._any_host or _is_local(headers)):
            await answer(_WRONG_HOST)
        elif provider is None:
            await answer(_unknown_provider(self._providers))
        else:
            request = Request(scope["method"], path, headers, body)
            await self._serve(self._decide(provider, request, answer.complete_ns), answer)

    def answer(self, request: Request, now_ns: int) -> Served:
        """What is said to a request whose path is the whole of it; for a server beside this one."""
        if not (self._any_host or _is_local(request.headers)):
            return Served(_WRONG_HOST)
        name, path = _split(request.path, self._root)
        provider = self._providers.get(name)
        if provider is None:
            return Served(_unknown_provider(self._providers))
        return self._decide(provider, replace(request, path=path), now_ns)

    def _decide(self, provider: Provider, request: Request, now_ns: int) -> Served:
        """What a call deserves. Only one that would be taken counts against the rate limit."""
        name = provider.name
        served = provider.answer(request, self._credentials[name], self._rng)
        if not served.keys:
            return served
        if name in self._limits:
            quota = self._limits[name].take(now_ns)
            if not quota.granted:
                served = Served(provider.throttled(quota.reset_s))
            served = replace(served, response=_counted(served.response, provider, quota))
        return self._repeats.told(name, request, served) if served.keys and served.named else served

    async def _serve(self, served: Served, answer: _Answer) -> None:
        if not await self._decided(answer.complete_ns + self._decider.next_ns()):
            return
        taken_ns = monotonic_ns()
        await answer(served.response)
        answered_ns = monotonic_ns()
        for key in served.keys:  # taken even if the sender had gone before its answer was written
            self._log.add(Taken(key, answer.received_ns, taken_ns, answered_ns))

    async def _decided(self, at_ns: int) -> bool:
        """Wait until then; False when the server stops before."""
        if self._stopped or at_ns <= monotonic_ns():
            return not self._stopped
        decision: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._deciding.add(decision)
        self._alarm.call_at(at_ns, lambda: None if decision.done() else decision.set_result(True))
        try:
            return await decision
        finally:
            self._deciding.discard(decision)

    def stop(self) -> None:
        """Decide nothing any more: messages under way are not taken, and not answered."""
        self._stopped = True
        for decision in self._deciding:
            if not decision.done():
                decision.set_result(False)


def _counted(response: Response, provider: Provider, quota: Quota) -> Response:
    """The answer with the headers in which the vendor tells what is left: limit, remaining, reset."""
    facts = provider.facts.api
    counts = (quota.limit, quota.remaining, quota.reset_s)
    headers = [(name, str(count)) for name, count in zip(facts.rate_headers, counts, strict=False)]
    if facts.retry_after and not quota.granted:
        headers.append(("retry-after", str(quota.reset_s)))
    return replace(response, headers=(*response.headers, *headers))


class _Repeats:
    """What was answered to calls that carry a name of their own: one that comes again is not taken again."""

    _KEPT = 100_000

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], tuple[bytes, Response]] = OrderedDict()

    def told(self, provider: str, request: Request, served: Served) -> Served:
        """The answer of the first call of that name; the vendor's conflict where that one said something
        else."""
        said = request.path.encode() + b" " + request.body
        first = self._answers.setdefault((provider, served.named or ""), (said, served.response))
        if len(self._answers) > self._KEPT:
            self._answers.popitem(last=False)
        if first[1] is served.response:
            return served
        return Served(first[1] if first[0] == said or served.conflict is None else served.conflict)


_WRONG_HOST = json_response(403, {"error": "this mock answers to 127.0.0.1, [::1] and localhost only"})


def _unknown_provider(providers: Mapping[str, Provider]) -> Response:
    known = ", ".join(f"/{name}" for name in providers)
    return json_response(404, {"error": f"no such provider; a path begins with one of {known}"})


def _is_local(headers: Headers) -> bool:
    hosts = [value for name, value in headers if name == "host"]
    return len(hosts) == 1 and _HOST_PORT.sub("", hosts[0].lower()) in LOCAL_HOSTS


def base_path(provider: Provider) -> str:
    """What the paths of the vendor's own base URL begin with, such as `/v3`; often nothing."""
    return urlsplit(next(iter(provider.facts.api.base_urls.values()), "")).path


def _whole_path(scope: HTTPScope) -> str:
    query = scope["query_string"].decode("ascii", "replace")
    return scope["raw_path"].decode("ascii", "replace") + (f"?{query}" if query else "")


def _split(whole: str, root: tuple[str, str] | None) -> tuple[str, str]:
    """`/sendgrid/v3/mail/send?x=1` -> `sendgrid`, `/v3/mail/send?x=1`; at the root of a provider
    whose base URL ends in `/v4`, `/v4/messages` -> that provider, `/messages`."""
    path, mark, query = whole.partition("?")
    if root is None:
        name, slash, rest = path[1:].partition("/")
        path = slash + rest
    elif path.startswith(f"{root[1]}/"):
        name, path = root[0], path.removeprefix(root[1])
    else:
        name = ""
    return name, path + mark + query


def _texts(scope: HTTPScope) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])


async def _read(receive: ASGIReceiveCallable, limit: int) -> tuple[bytes | None, bool]:
    """The body and whether it was read to its end; None when the client went away before that.

    Of a body longer than `limit` only as much is kept as shows that it is.
    """
    kept: list[bytes] = []
    size = 0
    more = True
    while more and size <= READ_LIMIT:
        event = await receive()
        if event["type"] != "http.request":
            return None, False
        if size <= limit:
            kept.append(event["body"][: limit + 1 - size])
        size += len(event["body"])
        more = event["more_body"]
    return (kept[0] if len(kept) == 1 else b"".join(kept)), not more


class _Answer:
    """Sends the answer to one request, and knows when that came."""

    def __init__(self, scope: HTTPScope, send: ASGISendCallable, *, close: bool) -> None:
        state = scope["state"]
        self.received_ns: int = state["received_ns"]
        self.complete_ns: int = state.get("complete_ns", self.received_ns)
        self._hold: Callable[[], None] = state["hold"]
        self._has_body = scope["method"] != "HEAD"
        self._send = send
        self._close = close

    async def __call__(self, response: Response) -> None:
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers]
        headers.append((b"content-length", str(len(response.body)).encode("ascii")))
        if self._close:
            headers.append((b"connection", b"close"))
        if self._has_body:
            self._hold()
        await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": response.body, "more_body": False})
