"""The API mock must never be the bottleneck of a shipped scenario: at least 3,000 calls a second on one core.

Judged by the CPU it takes, as what a shared machine does in a second says little, and by the best of a few
stretches, as what runs beside it makes each instruction dearer.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from bench.clock import cpu_ns_of
from bench.mock.spec import MockSpec
from bench.model import Parts, TlsMode
from bench.providers import PROVIDERS
from tests.mock.running import running_mock

pytestmark = pytest.mark.alone
CALLS, STRETCHES = 1000, 40
CALLS_PER_S = 3000
PARTS = Parts("a@x.example", ("b@y.example",), "s", "hello\r\n" * 100, None, (), (), "run-7", b"")


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name != "generic"])
def test_calls_a_second(name: str) -> None:
    provider = PROVIDERS[name]
    with running_mock(MockSpec(kind="api", provider=name, tls=TlsMode.NONE)) as ready:
        url = urlsplit(ready.api[name])
        address = (str(url.hostname), url.port or 0)
        call = provider.request(PARTS)
        headers = (*call.headers, ("Host", f"{address[0]}:{address[1]}"))
        proof = provider.auth_headers(
            ready.credentials.api.get(name), type(call)(call.method, call.path, headers, call.body)
        )
        lines = [f"{call.method} {url.path}{call.path} HTTP/1.1"]
        lines += [f"{key}: {value}" for key, value in (*headers, *proof)]
        lines.append(f"Content-Length: {len(call.body)}")
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + call.body
        with socket.create_connection(address, timeout=10) as connection:
            answer(connection, request)  # what is loaded at the first call
            best_ns = spent(ready.pid, connection, request)
            for _ in range(STRETCHES - 1):
                if CALLS / (best_ns / 1e9) >= CALLS_PER_S:
                    break
                best_ns = min(best_ns, spent(ready.pid, connection, request))
    assert CALLS / (best_ns / 1e9) >= CALLS_PER_S


def spent(pid: int, connection: socket.socket, request: bytes) -> int:
    """The mock's CPU time for so many calls."""
    before_ns = cpu_ns_of(pid)
    for _ in range(CALLS):
        assert answer(connection, request).startswith(b"HTTP/1.1 2")
    after_ns = cpu_ns_of(pid)
    assert before_ns is not None
    assert after_ns is not None
    return after_ns - before_ns


def answer(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    said = b""
    while b"\r\n\r\n" not in said:
        said += connection.recv(65536)
    head, _, body = said.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return said
