"""The reader of HTTP responses."""

from __future__ import annotations

import itertools

import pytest

from bench.protocol.http_client import Reply, ResponseReader
from tests.micro.conftest import Measure

HEAD = b"HTTP/1.1 202 Accepted\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n"
RESPONSES = {
    "empty": HEAD + b"X-Message-Id: abc\r\nContent-Length: 0\r\n\r\n",
    "body": HEAD + b"Content-Length: 21\r\nContent-Type: text/plain\r\n\r\nQueued. Thank you all",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n5\r\nfghij\r\n0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", RESPONSES)
def test_response_heard_before(measure: Measure, kind: str) -> None:
    reader, response = ResponseReader(), RESPONSES[kind]
    assert_whole(measure(lambda: reader.receive(response)))


def test_response_never_heard_before(measure: Measure) -> None:
    reader, numbers = ResponseReader(), itertools.count(1)
    assert_whole(
        measure(
            lambda: reader.receive(HEAD + b"X-Message-Id: %d\r\nContent-Length: 0\r\n\r\n" % next(numbers))
        )
    )


def test_response_byte_by_byte(measure: Measure) -> None:
    reader, response = ResponseReader(), RESPONSES["empty"]
    pieces = [response[at : at + 1] for at in range(len(response))]

    def read() -> Reply | None:
        found = None
        for piece in pieces:
            found = reader.receive(piece)
        return found

    assert_whole(measure(read))


def assert_whole(reply: Reply | None) -> None:
    assert reply is not None
    assert reply.head.status == 202
    assert reply.kept
