"""From a host name to a connected socket, and the TLS settings that go on top."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence

from bench.errors import SetupError
from bench.guard import Guard
from bench.model import Endpoint, Outcome, TlsMode, TlsSettings
from bench.transports.session import Answer, AttemptFailed, Span

_OURS = frozenset({errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE})
"""Failures to connect that are this machine's own: no free port, no free descriptor."""


async def resolve(endpoint: Endpoint, span: Span, guard: Guard) -> tuple[str, ...]:
    """The addresses to try, in order, each checked by the guard: what was allowed is what is used.

    Happens in the phase `dns`. Raises AttemptFailed, and RefusedError from the guard.
    """
    span.enter("dns")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM
        )
    except socket.gaierror as error:
        kind = "dns_temporary" if error.errno == socket.EAI_AGAIN else "dns"
        raise AttemptFailed(Answer(Outcome.FAILED, error=kind, errno=error.errno)) from error
    addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        guard.check_address(address)
    return addresses


async def connect(endpoint: Endpoint, span: Span, guard: Guard) -> socket.socket:
    """A connected, non-blocking socket with TCP_NODELAY; the phases `dns` and `tcp`.

    The addresses of the host are tried in turn. Raises AttemptFailed when none of them answers.
    """
    addresses = await resolve(endpoint, span, guard)
    span.enter("tcp")
    failures: list[tuple[str, int | None]] = []
    for address in addresses:
        try:
            sock = await _connect_to(address, endpoint.port)
        except OSError as error:
            failures.append((address, error.errno))
            continue
        span.round_trip()
        span.address, span.local_port = address, sock.getsockname()[1]
        return sock
    raise AttemptFailed(unreachable(failures))


async def _connect_to(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


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
