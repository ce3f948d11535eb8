from __future__ import annotations

import pytest

from bench.model import Target, TargetKind, TlsMode, Transport
from bench.scenario.target import (
    check_transport,
    default_port,
    default_transport,
    is_loopback,
    parse_target,
    tls_mode,
)

SMTP, API = Transport.SMTP, Transport.API


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mock", Target(TargetKind.MOCK)),
        ("sandbox", Target(TargetKind.SANDBOX)),
        ("live", Target(TargetKind.LIVE)),
        ("smtp://127.0.0.1:2525", Target(TargetKind.SMTP, "smtp://127.0.0.1:2525", "127.0.0.1", 2525)),
        ("smtp://mail.example.org", Target(TargetKind.SMTP, "smtp://mail.example.org", "mail.example.org")),
        ("http://[::1]:8080/a/b", Target(TargetKind.HTTP, "http://[::1]:8080/a/b", "::1", 8080, "/a/b")),
        ("http://localhost", Target(TargetKind.HTTP, "http://localhost", "localhost", 80)),
        (
            "https://localhost/x",
            Target(TargetKind.HTTP, "https://localhost/x", "localhost", 443, "/x", https=True),
        ),
    ],
)
def test_targets(text: str, expected: Target) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "MOCK", "localhost:25", "smtp://", "smtp://h:99999", "smtp://h:x", "smtp://h/path", "smtps://h",
        "http://h/?q=1", "http://h/#f", "http://u@h/", "http://u:p@h/", "http://münchen/", "http://a b/",
        "http://[::1/", "file:///etc/passwd", "http:///x", "smtp://h\r\n",
    ],
)  # fmt: skip
def test_no_targets(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_target(text)


def test_transport_follows_the_scheme() -> None:
    assert default_transport(parse_target("http://localhost")) is API
    assert default_transport(parse_target("smtp://localhost")) is SMTP
    assert default_transport(parse_target("mock")) is SMTP
    for text, wrong in (("http://localhost", SMTP), ("smtp://localhost", API)):
        with pytest.raises(ValueError, match="cannot be reached"):
            check_transport(parse_target(text), wrong)
    check_transport(parse_target("live"), API)


@pytest.mark.parametrize(
    ("target", "transport", "asked", "expected"),
    [
        ("mock", SMTP, None, TlsMode.STARTTLS),
        ("mock", SMTP, TlsMode.NONE, TlsMode.NONE),
        ("mock", API, None, TlsMode.IMPLICIT),
        ("mock", API, TlsMode.STARTTLS, TlsMode.IMPLICIT),
        ("mock", API, TlsMode.NONE, TlsMode.NONE),
        ("smtp://h", SMTP, TlsMode.IMPLICIT, TlsMode.IMPLICIT),
        ("http://h", API, None, TlsMode.NONE),
        ("http://h", API, TlsMode.NONE, TlsMode.NONE),
        ("https://h", API, None, TlsMode.IMPLICIT),
        ("https://h", API, TlsMode.STARTTLS, TlsMode.IMPLICIT),
        ("live", API, None, TlsMode.IMPLICIT),
    ],
)
def test_tls_modes(target: str, transport: Transport, asked: TlsMode | None, expected: TlsMode) -> None:
    assert tls_mode(parse_target(target), transport, asked) is expected


def test_tls_modes_that_contradict_the_scheme() -> None:
    for text, asked in (
        ("http://h", TlsMode.IMPLICIT),
        ("http://h", TlsMode.STARTTLS),
        ("https://h", TlsMode.NONE),
    ):
        with pytest.raises(ValueError, match="the target is http"):
            tls_mode(parse_target(text), API, asked)


def test_ports_follow_the_tls_mode() -> None:
    target = parse_target("smtp://h")
    assert [default_port(target, mode) for mode in (TlsMode.STARTTLS, TlsMode.IMPLICIT, TlsMode.NONE)] == [
        587,
        465,
        25,
    ]
    assert default_port(parse_target("smtp://h:26"), TlsMode.NONE) == 26
    assert default_port(parse_target("mock"), TlsMode.NONE) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mock", True), ("smtp://localhost", True), ("smtp://LOCALHOST", True), ("smtp://127.9.9.9", True),
        ("http://[::1]/", True), ("smtp://10.0.0.1", False), ("smtp://0.0.0.0", False), ("live", False),
        ("smtp://localhost.example.org", False), ("smtp://127.0.0.1.example.org", False),
        ("smtp://2130706433", False),
    ],
)  # fmt: skip
def test_loopback(text: str, expected: bool) -> None:
    assert is_loopback(parse_target(text)) is expected
