"""A certificate authority that lives as long as the mock does.

Its keys are never written down except for the server's own, for the moment OpenSSL needs to read it; what
stays on disk until the end is the authority's public certificate, in a directory only we can enter.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import trustme

from bench.clock import utc_now

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class ThrowAwayAuthority:
    """Issues one certificate for localhost, its addresses and `hosts`; elliptic curve keys, as they cost
    the least CPU per handshake."""

    def __init__(self, ca_file: Path, hosts: Sequence[str] = (), flaw: str = "") -> None:
        self.ca_file = ca_file
        """PEM of the authority: what clients have to trust."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(ca_file))
        names = tuple(dict.fromkeys((*LOCAL_NAMES, *hosts)))
        issue = _FLAWED.get(flaw, _flawless)
        self._leaf = issue(authority, names)

    def server_context(self, *, resume: bool = False, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """TLS 1.2 or later, as a server. Without `resume` no session ticket is sent: tickets come after the
        handshake as a flight of their own and would blur the count of turn-arounds."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not resume:
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        if alpn:
            context.set_alpn_protocols(list(alpn))
        self._leaf.configure_cert(context)
        return context


Issue = Callable[[trustme.CA, Sequence[str]], trustme.LeafCert]
_DAY = timedelta(days=1)


def _flawless(authority: trustme.CA, names: Sequence[str]) -> trustme.LeafCert:
    return authority.issue_cert(*names)


def _without_intermediate(authority: trustme.CA, names: Sequence[str]) -> trustme.LeafCert:
    leaf = authority.create_child_ca().issue_cert(*names)
    return trustme.LeafCert(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes(), [])


def _self_signed(_authority: trustme.CA, _names: Sequence[str]) -> trustme.LeafCert:
    other = trustme.CA()
    return trustme.LeafCert(other.private_key_pem.bytes(), other.cert_pem.bytes(), [])


_FLAWED: Mapping[str, Issue] = {
    "expired": lambda authority, names: authority.issue_cert(
        *names, not_before=utc_now() - 2 * _DAY, not_after=utc_now() - _DAY
    ),
    "not_yet": lambda authority, names: authority.issue_cert(
        *names, not_before=utc_now() + _DAY, not_after=utc_now() + 2 * _DAY
    ),
    "wrong_host": lambda authority, _names: authority.issue_cert("other.example"),
    "unknown_ca": lambda _authority, names: trustme.CA().issue_cert(*names),
    "self_signed": _self_signed,
    "no_intermediate": _without_intermediate,
}
"""What can be wrong with a certificate -> one of which it is."""
FLAWS = tuple(_FLAWED)


@contextmanager
def throw_away_authority(hosts: Sequence[str] = (), flaw: str = "") -> Iterator[ThrowAwayAuthority]:
    """An authority whose `ca_file` is removed at the end; its certificate may have a flaw."""
    with tempfile.TemporaryDirectory(prefix="sendbench-ca-") as folder:  # mode 0700
        yield ThrowAwayAuthority(Path(folder) / "ca.pem", hosts, flaw)
