"""From a host name to a connected socket, and the TLS settings that go on top."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import cache

from bench.errors import SetupError
from bench.guard import Guard
from bench.model import Endpoint, Outcome, TlsSettings
from bench.transports.session import Answer, AttemptFailed, Span


async def resolve(endpoint: Endpoint, span: Span, guard: Guard) -> str:
    """The address to connect to, checked by the guard: what was allowed is what is used.

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
    address = str(found[0][4][0])
    guard.check_address(address)
    return address


async def connect(endpoint: Endpoint, span: Span, guard: Guard) -> socket.socket:
    """A connected, non-blocking socket with TCP_NODELAY; the phases `dns` and `tcp`.

    Raises AttemptFailed with the errno of the connect.
    """
    address = await resolve(endpoint, span, guard)
    span.enter("tcp")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise AttemptFailed(Answer(Outcome.FAILED, error="local", errno=error.errno)) from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, endpoint.port))
    except OSError as error:
        sock.close()
        raise AttemptFailed(Answer(Outcome.FAILED, error="connect", errno=error.errno)) from error
    except BaseException:
        sock.close()
        raise
    span.round_trips += 1
    span.local_port = sock.getsockname()[1]
    return sock


@cache
def client_context(tls: TlsSettings) -> ssl.SSLContext:
    """One SSL context for each set of TLS settings: building one costs milliseconds.

    Raises SetupError when the CA file cannot be used.
    """
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
