"""How bytes travel: sessions over SMTP and HTTP, by whichever client, pooled or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from bench.errors import SetupError
from bench.guard import Guard
from bench.model import Case, Endpoint
from bench.providers import get_provider
from bench.providers.base import Request
from bench.transports.connect import client_context
from bench.transports.pool import Pool, Release
from bench.transports.session import Answer, Session, Span

__all__ = ["Answer", "Pool", "Release", "Session", "Span", "session_maker"]

SessionMaker = Callable[[], Session]


def session_maker(case: Case, endpoint: Endpoint, guard: Guard, request: Request | None) -> SessionMaker:
    """What makes unconnected sessions for a case, numbered from 1 on.

    Raises SetupError where no session could ever connect.
    """
    numbers = itertools.count(1)
    context = client_context(endpoint.tls)
    match case.client:
        case "aiosmtplib":
            from bench.transports.aiosmtplib import AioSmtpSession

            return lambda: AioSmtpSession(endpoint, guard, context, next(numbers))
        case "httpx":
            from bench.transports.httpx import HttpxSession

            if request is None:
                raise SetupError("httpx sends over an API; the case has transport smtp")
            provider = get_provider(case.provider)
            return lambda: HttpxSession(endpoint, guard, context, lambda: next(numbers), provider, request)
    raise SetupError(f"there is no client called {case.client!r}")
