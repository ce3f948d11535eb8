"""What a scenario's `target` names, and what follows from it for transport and TLS."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from urllib.parse import urlsplit

from bench.model import Target, TargetKind, TlsMode, Transport
from bench.scenario.problems import suggest

_WORDS = {kind.value: kind for kind in (TargetKind.MOCK, TargetKind.SANDBOX, TargetKind.LIVE)}
_SCHEMES = ("smtp", "http", "https")
PORT = "{port}"
"""In a command and in the target: the port of a server that is started for the time of a case."""
_SERVED = ("127.0.0.1", "localhost")
_SMTP_PORTS = {TlsMode.STARTTLS: 587, TlsMode.IMPLICIT: 465, TlsMode.NONE: 25}


def parse_target(text: str) -> Target:
    """`mock`, `sandbox`, `live` or an address; port 0 where an smtp address names none. Raises ValueError."""
    if text in _WORDS:
        return Target(_WORDS[text])
    if PORT in text:
        raise ValueError(f"{PORT} is that of a server that sendbench starts: name its command as server")
    scheme, colon, _ = text.partition("://")
    if not colon:
        known = (*_WORDS, *(f"{name}://" for name in _SCHEMES))
        raise ValueError(f"unknown target {text!r}; one of {', '.join(known)}{suggest(text, _WORDS)}")
    if scheme == "smtps":
        raise ValueError("write smtp:// and tls: implicit instead of smtps://")
    if scheme not in _SCHEMES:
        raise ValueError(f"unknown scheme {scheme}://; one of smtp://, http://, https://")
    return _address(text, scheme)


def parse_served(text: str) -> Target:
    """The address of a server that is started for a case; its port is 0 until then. Raises ValueError."""
    scheme, _, rest = text.partition("://")
    host, port, path = rest.partition(f":{PORT}")
    if scheme not in ("smtp", "http") or host not in _SERVED or not port or path[:1] not in ("", "/"):
        raise ValueError(
            f"a server that sendbench starts is reached at smtp://127.0.0.1:{PORT} or "
            f"http://127.0.0.1:{PORT}/path, not at {text!r}"
        )
    return replace(_address(text.replace(PORT, "1", 1), scheme), url=text, port=0)


def _address(text: str, scheme: str) -> Target:
    if "@" in text:
        raise ValueError("credentials do not belong in the target; use auth")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not an address: only printable ASCII without spaces")
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address: {error}") from None
    if not host:
        raise ValueError(f"{text!r} names no host")
    if url.query or url.fragment or (scheme == "smtp" and url.path not in ("", "/")):
        raise ValueError(f"{text!r} has parts that have no meaning here (path, query or fragment)")
    if scheme == "smtp":
        return Target(TargetKind.SMTP, text, host, port or 0)
    https = scheme == "https"
    return Target(TargetKind.HTTP, text, host, port or (443 if https else 80), url.path or "/", https)


def default_transport(target: Target) -> Transport:
    """The transport an address is for; smtp where it is for both."""
    return Transport.API if target.kind is TargetKind.HTTP else Transport.SMTP


def check_transport(target: Target, transport: Transport) -> None:
    """Raise ValueError where the target's address cannot be spoken to by the transport."""
    if target.kind is TargetKind.SMTP and transport is Transport.API:
        raise ValueError(
            "an smtp:// target cannot be reached by transport api; use smtp, or an http:// target"
        )
    if target.kind is TargetKind.HTTP and transport is Transport.SMTP:
        raise ValueError("an http target cannot be reached by transport smtp; use api, or an smtp:// target")


def tls_mode(target: Target, transport: Transport, asked: TlsMode | None) -> TlsMode:
    """The TLS mode of a case; the scheme of an http address decides. Raises ValueError if `asked` differs."""
    if transport is Transport.SMTP:
        return asked or TlsMode.STARTTLS
    if target.kind is not TargetKind.HTTP:
        return TlsMode.NONE if asked is TlsMode.NONE else TlsMode.IMPLICIT
    if target.https and asked is TlsMode.NONE:
        raise ValueError("the target is https://; write tls: implicit, or http:// to go without TLS")
    if not target.https and asked in (TlsMode.IMPLICIT, TlsMode.STARTTLS):
        raise ValueError(f"the target is http://; write https:// instead of tls mode {asked.value}")
    return TlsMode.IMPLICIT if target.https else TlsMode.NONE


def default_port(target: Target, mode: TlsMode) -> int:
    """The port of an address that names none: 587, 465 or 25 for smtp."""
    return target.port or (_SMTP_PORTS[mode] if target.kind is TargetKind.SMTP else 0)


def is_loopback(target: Target) -> bool:
    """True for the mock and for addresses of this machine; names other than localhost are not resolved."""
    if target.kind is TargetKind.MOCK:
        return True
    if target.host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(target.host).is_loopback
    except ValueError:
        return False
