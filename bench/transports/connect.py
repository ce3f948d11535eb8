"""From a host name to a connected socket, and the TLS settings that go on top."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from bench.errors import SetupError
from bench.guard import Guard
from bench.model import Endpoint, Outcome, TlsMode, TlsSettings
from bench.transports.dial import Attempt, Dialled, Socket, Unreachable, dial, finish
from bench.transports.session import Answer, AttemptFailed, Span

_OURS = frozenset({errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE})
"""Failures to connect that are this machine's own: no free port, no free descriptor."""


async def resolve(endpoint: Endpoint, span: Span, guard: Guard) -> tuple[str, ...]:
    """The addresses to try, in the resolver's order, each checked by the guard: what was allowed is used.

    Happens in the phase `dns`. A name is asked for every time, as an application would do, by the
    system's resolver in a thread; a host that is an address needs none of that. Raises AttemptFailed, and
    RefusedError from the guard.
    """
    span.enter("dns")
    host = endpoint.host
    addresses = (host,) if _is_address(host) else await _look_up(host, endpoint.port)
    for address in addresses:
        guard.check_address(address)
    return addresses


async def _look_up(host: str, port: int) -> tuple[str, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        kind = "dns_temporary" if error.errno == socket.EAI_AGAIN else "dns"
        raise AttemptFailed(Answer(Outcome.FAILED, error=kind, errno=error.errno)) from error
    except OSError as error:  # a resolver that cannot open a file
        kind = "local" if error.errno in _OURS else "dns"
        raise AttemptFailed(Answer(Outcome.FAILED, error=kind, errno=error.errno)) from error
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


@lru_cache(64)
def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


async def connect(endpoint: Endpoint, span: Span, guard: Guard, begun: Attempt | None = None) -> Socket:
    """A connected, non-blocking socket with TCP_NODELAY; the phases `dns` and `tcp`.

    Several addresses are tried as `dial` does it. `begun`: what `begin_to_connect` has returned. Raises
    AttemptFailed when none of them answers, and RefusedError from the guard.
    """
    if begun is None:
        begun = begin_to_connect(endpoint, span, guard)
    try:
        if begun is not None:
            return _connected(await finish(begun), span)
        addresses = await resolve(endpoint, span, guard)
        span.enter("tcp")
        source = endpoint.source_address
        if source is not None:
            addresses = _of_family(addresses, source)
        return _connected(await dial(addresses, endpoint.port, source), span)
    except Unreachable as error:
        raise AttemptFailed(unreachable(error.failures)) from error
    except OSError as error:
        raise AttemptFailed(unreachable([(endpoint.host, error.errno)])) from error


def begin_to_connect(endpoint: Endpoint, span: Span, guard: Guard) -> Attempt | None:
    """The part of `connect` that takes no waiting; None, and nothing done, where the host is a name.

    Raises AttemptFailed, and RefusedError from the guard.
    """
    host, source = endpoint.host, endpoint.source_address
    if not _is_address(host):
        return None
    span.enter("dns")
    guard.check_address(host)
    span.enter("tcp")
    if source is not None:
        _of_family((host,), source)
    try:
        return Attempt(host, endpoint.port, source)
    except OSError as error:
        raise AttemptFailed(unreachable([(host, error.errno)])) from error


def connected(attempt: Attempt, span: Span) -> Socket:
    """The socket of an attempt that had to wait for nothing. Raises AttemptFailed."""
    try:
        return _connected(attempt.dialled(), span)
    except OSError as error:
        raise AttemptFailed(unreachable([(attempt.address, error.errno)])) from error


def _connected(dialled: Dialled, span: Span) -> Socket:
    sock, span.address, span.local_port = dialled
    span.round_trip()
    return sock


def for_library(sock: Socket) -> socket.socket:
    """The same connection as other people's code expects it."""
    made = socket.socket(fileno=sock.detach())
    made.setblocking(False)
    return made


def _of_family(addresses: tuple[str, ...], source: str) -> tuple[str, ...]:
    """The addresses that can be connected to from this one."""
    fitting = tuple(address for address in addresses if (":" in address) == (":" in source))
    if not fitting:
        reason = f"no address of the server is of the family of the source address {source}"
        notes = {"reason": reason, "addresses": addresses}
        raise AttemptFailed(Answer(Outcome.FAILED, error="local", errno=errno.EAFNOSUPPORT, notes=notes))
    return fitting


def unreachable(failures: Sequence[tuple[str, int | None]]) -> Answer:
    """The answer when no address could be connected to, from (address, errno) of each in order."""
    ours = bool(failures) and all(number in _OURS for _, number in failures)
    return Answer(
        Outcome.FAILED,
        error="local" if ours else "connect",
        errno=failures[-1][1] if failures else None,
        notes={"addresses": failures},
    )


def client_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """The SSL context for these settings, None without TLS.

    Takes milliseconds: once for all connections of a case. No two cases share one, as an HTTP
    client sets on it the protocols it offers. Raises SetupError when the CA file cannot be used.
    """
    if tls.mode is TlsMode.NONE:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if tls.ca_file is not None:
            context.load_verify_locations(cafile=tls.ca_file)
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        raise SetupError(f"cannot use {tls.ca_file} as a certificate authority: {error}") from error
    return context


def handshake_round_trips(tls_version: str | None) -> int:
    """A full handshake takes one round trip from TLS 1.3 on and two before (RFC 8446, 5246)."""
    return 1 if tls_version == "TLSv1.3" else 2


def tls_failure(error: BaseException) -> tuple[str, str] | None:
    """(class, reason) when TLS is what went wrong below this error, else None."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return "tls_verify", seen.verify_message
        if isinstance(seen, ssl.SSLError):
            return "tls", seen.reason or str(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def os_errno(error: BaseException) -> int | None:
    """The errno of the first OSError below this error that has one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen.errno
        seen = seen.__cause__ or seen.__context__
    return None
