"""A certificate authority that lives as long as the mock does.

Its keys are never written down except for the server's own, for the moment OpenSSL needs to read it; what
stays on disk until the end is the authority's public certificate, in a directory only we can enter.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trustme

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class ThrowAwayAuthority:
    """Issues one certificate for localhost, its addresses and `hosts`; elliptic curve keys, as they cost
    the least CPU per handshake."""

    def __init__(self, ca_file: Path, hosts: Sequence[str] = ()) -> None:
        self.ca_file = ca_file
        """PEM of the authority: what clients have to trust."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(ca_file))
        self._leaf = authority.issue_cert(*dict.fromkeys((*LOCAL_NAMES, *hosts)))

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


@contextmanager
def throw_away_authority(hosts: Sequence[str] = ()) -> Iterator[ThrowAwayAuthority]:
    """An authority whose `ca_file` is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="sendbench-ca-") as folder:  # mode 0700
        yield ThrowAwayAuthority(Path(folder) / "ca.pem", hosts)
