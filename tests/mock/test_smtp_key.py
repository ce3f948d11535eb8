"""The key of a message is found wherever a client puts it."""

from __future__ import annotations

import pytest

from bench.mock.smtp import key_of


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b"From: a\r\nX-Sendbench-Id: run-1\r\nTo: b\r\n\r\nbody\r\n", "run-1"),
        (b"X-Sendbench-Id: run-1\r\n\r\nbody\r\n", "run-1"),
        (b"From: a\r\nx-sendbench-id:run-1 \r\n\r\nbody\r\n", "run-1"),
        (b"Message-ID: <m@x>\r\nX-Sendbench-Id: run-1\r\n\r\n", "run-1"),
        (b"From: a\r\nX-Sendbench-Id: run-1\r\n", "run-1"),
        (b"From: a\r\nMessage-ID: <m@x.example>\r\n\r\n", "m@x.example"),
        (b"message-id:\r\n <m@x.example>\r\n\r\n", "m@x.example"),
        (b"Message-Id: m\r\n\r\n", "m"),
        (b"From: a\r\n\r\nX-Sendbench-Id: run-1\r\n", ""),
        (b"From: a\r\n\r\n\r\nX-Sendbench-Id: run-1\r\nMessage-ID: <m>\r\n", ""),
        (b"X-Sendbench-Id: \xff\xe4\r\n\r\n", "\\xff\\xe4"),
        (b"no header at all\r\n", ""),
        (b"", ""),
    ],
)
def test_key(body: bytes, key: str) -> None:
    assert key_of(body) == key
