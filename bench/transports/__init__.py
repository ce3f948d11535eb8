"""How bytes travel: sessions over SMTP and HTTP, by whichever client, pooled or not."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from bench.clock import Alarm
from bench.errors import SetupError
from bench.guard import Guard
from bench.model import Case, Endpoint, TargetKind
from bench.protocol.smtp_client import ClientConfig
from bench.protocol.tls import TlsSessions
from bench.providers import provider_of
from bench.providers.base import BatchRequest, Request
from bench.redact import quiet_libraries
from bench.transports.connect import client_context
from bench.transports.pool import NOTHING, Pool, Release
from bench.transports.session import Answer, Session, Span
from bench.transports.waiting import Deadlines

__all__ = ["MAKERS", "NOTHING", "Answer", "Pool", "Release", "Session", "Span", "session_maker"]

SessionMaker = Callable[[], Session]


def session_maker(
    case: Case,
    endpoint: Endpoint,
    guard: Guard,
    request: Request | BatchRequest | None,
    alarm: Alarm,
    first_id: int = 1,
) -> SessionMaker:
    """What makes unconnected sessions for a case, numbered from `first_id` on.

    Raises SetupError where no session could ever connect.
    """
    maker = MAKERS.get((str(case.transport), case.client))
    if maker is None:
        raise SetupError(f"there is no client called {case.client!r} for {case.transport}")
    quiet_libraries()
    numbers = itertools.count(first_id)
    kit = _Kit(case, endpoint, guard, client_context(endpoint.tls), request, alarm, lambda: next(numbers))
    return maker(kit)


@dataclass(frozen=True, slots=True)
class _Kit:
    """What sessions are made from."""

    case: Case
    endpoint: Endpoint
    guard: Guard
    context: ssl.SSLContext | None
    request: Request | BatchRequest | None
    alarm: Alarm
    next_id: Callable[[], int]

    @property
    def call(self) -> Request | BatchRequest:
        assert self.request is not None  # every case over an API has one
        return self.request

    @property
    def sandbox(self) -> bool:
        return self.case.target.kind is TargetKind.SANDBOX

    @property
    def tls_sessions(self) -> TlsSessions | None:
        if self.context is None:
            return None
        return TlsSessions(self.context, self.endpoint.server_name, self.endpoint.tls.resume)


def _wire_smtp(kit: _Kit) -> SessionMaker:
    from bench.transports.wire_smtp import WireSmtpSession

    endpoint, options = kit.endpoint, kit.case.smtp
    config = ClientConfig(
        endpoint.tls.mode,
        endpoint.auth,
        pipelining=options.pipelining == "auto",
        chunking=options.chunking == "auto",
    )
    tls, deadlines = kit.tls_sessions, (Deadlines(kit.alarm), Deadlines(kit.alarm))
    loop = asyncio.get_running_loop()  # asked once: it looks up the process's id every time
    return lambda: WireSmtpSession(endpoint, kit.guard, tls, kit.next_id, config, *deadlines, loop)


def _wire_http(kit: _Kit) -> SessionMaker:
    from bench.transports.wire_http import WireHttpSession, request_prefix, signer

    endpoint, provider = kit.endpoint, provider_of(kit.case)
    tls, deadlines = kit.tls_sessions, Deadlines(kit.alarm)
    prefix = request_prefix(endpoint, provider, kit.call)
    sign = signer(endpoint, provider, kit.call)
    return lambda: WireHttpSession(
        endpoint, kit.guard, tls, kit.next_id(), provider, prefix, deadlines, sign, sandbox=kit.sandbox
    )


def _aiosmtplib(kit: _Kit) -> SessionMaker:
    from bench.transports.aiosmtplib import AioSmtpSession

    return lambda: AioSmtpSession(kit.endpoint, kit.guard, kit.context, kit.next_id())


def _smtplib(kit: _Kit) -> SessionMaker:
    from bench.transports.smtplib import SmtplibSession

    return lambda: SmtplibSession(kit.endpoint, kit.guard, kit.context, kit.next_id())


def _httpx(kit: _Kit) -> SessionMaker:
    from bench.transports.httpx import HttpxSession, load_library

    library, provider = load_library(kit.case.client), provider_of(kit.case)
    return lambda: HttpxSession(
        library, kit.endpoint, kit.guard, kit.context, kit.next_id, provider, kit.call, sandbox=kit.sandbox
    )


MAKERS: dict[tuple[str, str], Callable[[_Kit], SessionMaker]] = {
    ("smtp", "wire"): _wire_smtp,
    ("smtp", "aiosmtplib"): _aiosmtplib,
    ("smtp", "smtplib"): _smtplib,
    ("api", "wire"): _wire_http,
    ("api", "httpx"): _httpx,
    ("api", "httpx2"): _httpx,
}
"""(transport, client) -> how to make its sessions; what a client needs is only loaded with its first case."""
