"""What the servers of this tier share: a folder that other users can enter, a certificate, a mailbox."""

from __future__ import annotations

import os
import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

from tests.integration.peers import HOST, running, unused_ports, wait_until

UNPACKED = Path(__file__).parents[2] / ".servers"
"""Where `make servers` puts what it fetches."""
USER, PASSWORD = "bench", "a pass-word of 2 parts"
DOMAIN = "sendbench.example"
REFUSED = f"refused@{DOMAIN}"
"""The recipient that every server here refuses."""
DELIVERY_LIMIT_S = 240.0
SETTLE_S = 0.5
"""How long a message that comes twice has to show itself."""
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a server's own; `mail` in it takes one file a message."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """PEM of the server's chain."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """PEM of the server's private key."""
        return self.folder / "key.pem"

    @property
    def ca_file(self) -> Path:
        """PEM of the authority that clients have to trust."""
        return self.folder / "ca.pem"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "log"

    def said(self) -> str:
        """The end of the server's log, for a person."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:] if self.log.exists() else ""


@dataclass(frozen=True, slots=True)
class MailServer:
    """A running server: STARTTLS, then AUTH as USER, required before MAIL."""

    name: str
    port: int
    place: Place
    mail: Path
    """The folder with one file for each message that arrived, and nothing else."""

    @property
    def url(self) -> str:
        """The target of a scenario."""
        return f"smtp://{HOST}:{self.port}"

    def extensions(self) -> frozenset[str]:
        """What it offers after STARTTLS, in small letters."""
        with smtplib.SMTP(HOST, self.port) as probe:
            probe.starttls(context=ssl.create_default_context(cafile=str(self.place.ca_file)))
            probe.ehlo()
            return frozenset(probe.esmtp_features)

    def arrived(self) -> list[bytes]:
        """Every message in the mailbox, as the server wrote it."""
        return [path.read_bytes() for path in self.mail.iterdir() if path.suffix != ".part"]

    def take_all(self, count: int) -> list[bytes]:
        """At least `count` messages, and those that come a moment later, out of the mailbox."""
        wait_until(lambda: len(list(self.mail.iterdir())) >= count, f"{count} messages", DELIVERY_LIMIT_S)
        time.sleep(SETTLE_S)
        found = self.arrived()
        self.forget()
        return found

    def forget(self) -> None:
        """Empty the mailbox."""
        for path in self.mail.iterdir():
            path.unlink()


@contextmanager
def new_place(name: str, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> Iterator[Place]:
    """A folder under a short path (sockets live in it) that users other than ours may enter."""
    with TemporaryDirectory(prefix=f"{name}-") as folder:
        place = Place(Path(folder))
        place.folder.chmod(0o755)
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(place.ca_file))
        leaf = ca.issue_cert(HOST, "localhost", key_type=key_type)
        leaf.private_key_pem.write_to_path(str(place.key))
        place.key.chmod(0o600)
        for index, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(str(place.certificate), append=index > 0)
        yield place


def require_root(what: str) -> None:
    """Skip where we are not root."""
    if os.geteuid() != 0:
        pytest.skip(f"{what} needs root")


def require_file(path: Path, package: str) -> Path:
    """`path`; the test is skipped where it is missing."""
    if not path.exists():
        pytest.skip(f"{path.name} is missing: {package}")
    return path


@contextmanager
def serving(name: str, place: Place, command: list[str], port: int, mail: Path) -> Iterator[MailServer]:
    """Run a server until the block ends. Raises AssertionError where it does not start."""
    with running(command, [port], place.folder / "output") as started:
        output = (place.folder / "output").read_text(encoding="utf-8", errors="replace")
        assert started, f"{name} did not start: {output}\n{place.said()}"
        yield MailServer(name, port, place, mail)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    [port] = unused_ports(1)
    return port
