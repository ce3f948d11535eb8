"""What may be sent where. Decided before any socket is opened, and again on the address it will go to.

Loopback is free. Private addresses that the person named with `--lab` are free too. Every other host is
real: it is sent to only where `permit` has everything it asks for, and then only at a public address.

An address counts only in the form in which `ipaddress` reads it. `127.1`, `0x7f000001` or `2130706433` mean
an address to some resolvers and a name to others, so they are names here, and a name other than localhost
is real: it is never looked up to find out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

from bench.errors import RefusedError, UsageError
from bench.model import Target, TargetKind

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
PRIVATE: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fc00::/7"),
    IPv6Network("fe80::/10"),
)
"""RFC 1918, unique local (RFC 4193) and link-local ranges: all that `--lab` may name."""
METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
        ),
    )
)
"""Where clouds hand out credentials to whoever asks; no lab has a mail server there."""

RULE = (
    "real: use the mock, a loopback address or --lab CIDR, or read what `sendbench plan` says it takes to "
    "send real mail"
)

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_LOCALHOST = re.compile(rf"(?:{_LABEL}\.){{0,8}}localhost\.?", re.ASCII)
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}", re.ASCII)
_NOT_IN_URL = re.compile(r"[\s\\\x00-\x20\x7f]")


class TargetClass(StrEnum):
    """How dangerous it is to send somewhere."""

    LOOPBACK = "loopback"
    LAB = "lab"
    REAL = "real"


class Guard:
    """Refuses every target that is neither loopback nor inside a network of `lab`.

    Raises UsageError for text that is no network and RefusedError for a network that is not private.
    """

    def __init__(self, lab: Sequence[str] = ()) -> None:
        self._lab = tuple(_lab_network(text) for text in lab)
        self._allowed: set[str] = set()  # the rule never changes, and a connection is opened for each message

    @property
    def lab(self) -> tuple[str, ...]:
        """The networks it was made with, so that another one can be made like it."""
        return tuple(map(str, self._lab))

    def classify(self, host: str) -> TargetClass:
        """The class of a host by its text alone; looks nothing up, never raises."""
        address = _parse(host)
        if address is not None:
            return self._class_of(address)
        if host.isascii() and _LOCALHOST.fullmatch(host.lower()):
            return TargetClass.LOOPBACK
        return TargetClass.REAL

    def class_of(self, target: Target) -> TargetClass:
        """The class of a target. Raises RefusedError where it is not clear which host it means."""
        if target.kind is TargetKind.MOCK:
            return TargetClass.LOOPBACK
        if target.kind not in (TargetKind.SMTP, TargetKind.HTTP):
            return TargetClass.REAL
        if target.url:
            _check_url(target)
        return self.classify(target.host)

    def check_real(self, target: Target) -> None:
        """Raise RefusedError for an address that is no real server's either, such as a private one that no
        `--lab` names."""
        address = _parse(target.host)
        if address is not None and not is_public(address):
            raise _refusal(target.host)

    def check_target(self, target: Target) -> TargetClass:
        """The class of a target that may be sent to freely. Raises RefusedError before anything is opened."""
        found = self.class_of(target)
        if found is TargetClass.REAL:
            provider = target.kind not in (TargetKind.SMTP, TargetKind.HTTP)
            raise RefusedError(f"target {target.kind.value}: {RULE}") if provider else _refusal(target.host)
        return found

    def check_address(self, ip: str) -> None:
        """Hold the address that is about to be connected to against the same rule. Raises RefusedError."""
        if ip in self._allowed:
            return
        address = _parse(ip)
        if address is None or self._class_of(address) is TargetClass.REAL:
            raise _refusal(ip)
        self._allowed.add(ip)

    def _class_of(self, address: Address) -> TargetClass:
        if _within(address, LOOPBACK):
            return TargetClass.LOOPBACK
        if address not in METADATA and _within(address, self._lab):
            return TargetClass.LAB
        return TargetClass.REAL


class RealGuard(Guard):
    """The guard of a real target that has been permitted: public addresses, and nothing else, whatever a name
    resolves to."""

    def check_address(self, ip: str) -> None:
        """See `Guard.check_address`."""
        address = _parse(ip)
        if address is None or not is_public(address):
            raise RefusedError(f"target {_shown(ip)}: not a public address, and a real server has one")


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, and not of this machine, a lab, or a cloud's inside."""
    return address.is_global and not address.is_multicast and address not in METADATA


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _parse(host: str) -> Address | None:
    """The address a host is, IPv4 unwrapped from IPv6; None for a name or anything unusual."""
    text = host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        if not _ZONE.fullmatch(address.scope_id) or not address.is_link_local:
            return None
        address = IPv6Address(int(address))
    return address.ipv4_mapped or address


def _check_url(target: Target) -> None:
    """Refuse an address that one reader might take for another host than we did."""
    try:
        parts = urlsplit(target.url)
        host = parts.hostname or ""
    except ValueError:
        raise _refusal(target.url) from None
    odd = _NOT_IN_URL.search(target.url) or "@" in parts.netloc
    if odd or host.lower() != target.host.strip("[]").lower():
        raise RefusedError(f"target {_shown(target.url)}: it is not clear which host that means; {RULE}")


def _lab_network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise UsageError(
            f"--lab {_shown(text)}: not a network: {error}; write it like 192.168.1.0/24"
        ) from error
    if not any(_is_inside(network, private) for private in PRIVATE):
        ranges = ", ".join(map(str, PRIVATE))
        raise RefusedError(f"--lab {network}: only private networks can be a lab ({ranges})")
    return network


def _is_inside(network: Network, outer: Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(outer, IPv4Network):
        return network.subnet_of(outer)
    if isinstance(network, IPv6Network) and isinstance(outer, IPv6Network):
        return network.subnet_of(outer)
    return False


def _refusal(host: str) -> RefusedError:
    return RefusedError(f"target {_shown(host)}: {RULE}")


def _shown(text: str) -> str:
    """Text from outside on one line, without the userinfo that a URL may carry."""
    shown = re.sub(r"//[^/]*@", "//***@", text)
    return (shown if shown.isprintable() and shown else ascii(shown))[:200]
