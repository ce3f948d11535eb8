"""X08 and X18: nothing but loopback and a named lab may be sent to, however it is written."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import ExitCode, RefusedError, UsageError
from bench.guard import Guard, TargetClass
from bench.model import Target, TargetKind

LAB = ("10.1.0.0/16", "192.168.7.0/24", "169.254.0.0/16", "fd12:3456::/32", "fe80::/10")

HOSTS = {
    # loopback, as it is written
    "127.0.0.1": "loopback",
    "127.0.0.2": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "[::1]": "loopback",
    "0:0:0:0:0:0:0:1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:7f00:1": "loopback",
    "localhost": "loopback",
    "LocalHost": "loopback",
    "localhost.": "loopback",
    "mail.localhost": "loopback",
    "a.b.localhost.": "loopback",
    # forms that some resolvers take for loopback, and that are names here
    "127.1": "real",
    "127.0.1": "real",
    "2130706433": "real",
    "0x7f000001": "real",
    "0x7f.0.0.1": "real",
    "0177.0.0.1": "real",
    "127.0.0.01": "real",
    "127.0.0.1.": "real",
    " 127.0.0.1": "real",
    "127.0.0.1\n": "real",
    "127.0.0.1\x00.example.com": "real",
    "\uff11\uff12\uff17.0.0.1": "real",
    "127\u30020\u30020\u30021": "real",
    "::1%lo": "real",
    "::1%lo@example.com": "real",
    "[127.0.0.1]": "real",
    "::127.0.0.1": "real",
    # names that only look like ours
    "": "real",
    ".localhost": "real",
    "localhost..": "real",
    "localhost.localdomain": "real",
    "localhost.example.com": "real",
    "notlocalhost": "real",
    "user@localhost": "real",
    "example.com#.localhost": "real",
    "example.com/.localhost": "real",
    "loca\u017fhost": "real",
    "127.0.0.1.nip.io": "real",
    "ip6-localhost": "real",
    "smtp.sendgrid.net": "real",
    # nobody's and everybody's
    "0.0.0.0": "real",
    "::": "real",
    "8.8.8.8": "real",
    "::ffff:8.8.8.8": "real",
    "2001:db8::1": "real",
    "2002:7f00:1::": "real",
    "64:ff9b::7f00:1": "real",
    "100.64.0.1": "real",
    "224.0.0.1": "real",
    # the lab
    "10.1.2.3": "lab",
    "10.2.0.1": "real",
    "192.168.7.255": "lab",
    "192.168.8.1": "real",
    "::ffff:10.1.2.3": "lab",
    "172.16.0.1": "real",
    "fd12:3456::5": "lab",
    "fd12:3457::5": "real",
    "fe80::1": "lab",
    "fe80::1%eth0": "lab",
    "fe80::1%eth0@evil": "real",
    "fd12:3456::5%eth0": "real",
    "169.254.1.1": "lab",
    "169.254.169.254": "real",
    "::ffff:169.254.169.254": "real",
    "169.254.170.2": "real",
}


def target(host: str, kind: TargetKind = TargetKind.SMTP, url: str = "") -> Target:
    return Target(kind=kind, url=url, host=host, port=2525)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the guard looked a name up or opened a socket")

    for name in ("socket", "getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize(("host", "expected"), list(HOSTS.items()))
def test_host_table(host: str, expected: str) -> None:
    guard = Guard(LAB)
    assert guard.classify(host) == expected
    if expected == "real":
        with pytest.raises(RefusedError, match="real: use the mock") as refused:
            guard.check_target(target(host))
        assert refused.value.exit_code is ExitCode.REFUSED
        assert "\n" not in str(refused.value)
    else:
        assert guard.check_target(target(host)) == expected


def test_the_refusal_names_host_and_way_out() -> None:
    with pytest.raises(RefusedError, match=r"mail\.example\.com.*mock.*loopback.*--lab CIDR"):
        Guard().check_target(target("mail.example.com"))


def test_private_addresses_are_real_without_lab() -> None:
    guard = Guard()
    for host in ("10.1.2.3", "192.168.7.1", "fd12:3456::5", "fe80::1", "169.254.1.1"):
        assert guard.classify(host) is TargetClass.REAL


def test_metadata_addresses_are_refused_in_every_lab() -> None:
    guard = Guard(("169.254.169.254", "fd00::/8"))
    for host in ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "::ffff:a9fe:a9fe"):
        assert guard.classify(host) is TargetClass.REAL
        with pytest.raises(RefusedError):
            guard.check_address(host)


def test_target_kinds() -> None:
    guard = Guard(LAB)
    assert guard.check_target(Target(TargetKind.MOCK)) is TargetClass.LOOPBACK
    for kind in (TargetKind.SANDBOX, TargetKind.LIVE):
        with pytest.raises(RefusedError, match=kind.value):
            guard.check_target(target("127.0.0.1", kind))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1@example.com/", "127.0.0.1"),
        ("http://example.com@127.0.0.1/", "127.0.0.1"),
        ("http://example.com\\@127.0.0.1/", "127.0.0.1"),
        ("http://user:hunter2@127.0.0.1/", "127.0.0.1"),
        ("http://example.com/", "127.0.0.1"),
        ("http://127.0.0.1\t.example.com/", "127.0.0.1"),
        ("smtp://127.0.0.1\r\n", "127.0.0.1"),
        ("http://[::1", "::1"),
        ("smtp://", "127.0.0.1"),
    ],
)
def test_urls_that_two_readers_might_read_differently(url: str, host: str) -> None:
    with pytest.raises(RefusedError) as refused:
        Guard(LAB).check_target(target(host, TargetKind.HTTP, url))
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("smtp://127.0.0.1:2525", "127.0.0.1"),
        ("smtp://[::1]:2525", "::1"),
        ("smtp://[::1]:2525", "[::1]"),
        ("http://LOCALHOST:8080/path?x=1", "localhost"),
    ],
)
def test_plain_urls_pass(url: str, host: str) -> None:
    assert Guard().check_target(target(host, TargetKind.HTTP, url)) is TargetClass.LOOPBACK


@pytest.mark.parametrize(
    "cidr", ["", "10.0.0.0/33", "10.0.0.1/8", "ten", "10/8", "0x0a000000/8", "fe80::/129", "10.0.0.0/8,x"]
)
def test_lab_that_is_no_network(cidr: str) -> None:
    with pytest.raises(UsageError, match="--lab"):
        Guard((cidr,))


@pytest.mark.parametrize(
    "cidr",
    [
        "0.0.0.0/0", "8.8.8.0/24", "127.0.0.0/8", "10.0.0.0/7", "172.0.0.0/8", "192.0.0.0/8", "100.64.0.0/10",
        "224.0.0.0/4", "::/0", "2000::/3", "::1/128", "::ffff:10.0.0.0/104", "fc00::/6", "ff00::/8",
    ],
)  # fmt: skip
def test_lab_outside_the_private_ranges(cidr: str) -> None:
    with pytest.raises(RefusedError, match="only private networks"):
        Guard((cidr,))


def test_resolved_addresses_are_checked_again() -> None:
    guard = Guard(LAB)
    for ip in ("127.0.0.1", "::1", "10.1.0.9", "fe80::1%eth0"):
        guard.check_address(ip)
    for ip in ("93.184.216.34", "10.9.9.9", "localhost", "169.254.169.254", "0.0.0.0", "::ffff:8.8.8.8", ""):
        with pytest.raises(RefusedError):
            guard.check_address(ip)


@settings(deadline=None)
@given(st.ip_addresses())
def test_every_address_agrees_with_the_networks(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """The slow, obvious version: a list of networks, and nothing else passes."""
    unwrapped = (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address
    allowed = [*map(ipaddress.ip_network, LAB), *map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128"))]
    free = any(unwrapped in network for network in allowed)
    found = Guard(LAB).classify(str(address))
    assert (found is not TargetClass.REAL) <= free


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_classified_without_an_error_of_another_kind(host: str) -> None:
    guard = Guard(LAB)
    guard.classify(host)
    with contextlib.suppress(RefusedError):
        guard.check_target(target(host, url=f"smtp://{host}:25"))
