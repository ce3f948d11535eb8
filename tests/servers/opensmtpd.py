"""OpenSMTPD from Debian's package, unpacked: it cannot be installed beside Postfix.

Its users and folders are compiled in, so it runs in a mount namespace of its own, where its folders and
the list of users are ours; nothing of that can be seen outside, and it ends with the server. Debian 12's
has no TLS without a little help; `programs/openssl3.c` says why.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.integration.peers import HOST, require_program
from tests.servers.place import (
    DOMAIN,
    PASSWORD,
    REFUSED,
    UNPACKED,
    USER,
    MailServer,
    Place,
    free_port,
    new_place,
    require_file,
    require_root,
    serving,
)

CONFIG = """\
pki here cert "{place.certificate}"
pki here key "{place.key}"
table users file:{place.folder}/users
table everyone {{ "@" = nobody }}
listen on {host} port {port} tls-require pki here auth <users> hostname localhost
action "keep" maildir "{place.folder}/mail" virtual <everyone>
match from any for rcpt-to "{refused}" reject
match auth from any for domain "{domain}" action "keep"
"""
# What it looks for in places of the machine, and where the namespace gets it from.
NAMESPACE = """\
set -e
cd "$1"
mount --bind passwd /etc/passwd
mount --bind group /etc/group
mount --bind "$2/usr/libexec" /usr/libexec
mount --bind run /run
mount --bind spool /var/spool
mount --bind lib /var/lib
LD_PRELOAD="$2/openssl3.so" exec "$2/usr/sbin/smtpd" -d -f "$1/smtpd.conf"
"""
IDS = {"opensmtpd": 64001, "opensmtpq": 64002}


@contextmanager
def start_opensmtpd() -> Iterator[MailServer]:
    """Run OpenSMTPD with everything it writes in a folder of its own."""
    require_root("OpenSMTPD")
    unshare = require_program("unshare", "util-linux")
    unpacked = require_file(UNPACKED / "debian", "run `make servers`")
    for name in ("usr/sbin/smtpd", "openssl3.so"):
        require_file(unpacked / name, "run `make servers`")
    with new_place("opensmtpd", trustme.KeyType.RSA) as place:
        port = free_port()
        _configure(place, port, unpacked)
        command = [
            unshare, "--mount", "--propagation", "private",
            "sh", "-c", NAMESPACE, "sh", str(place.folder), str(unpacked),
        ]  # fmt: skip
        mail = place.folder / "mail" / "new"
        with serving("opensmtpd", place, command, port, mail) as server:
            yield server


def _configure(place: Place, port: int, unpacked: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    for name in ("run", "spool", "spool/smtpd", "lib", "lib/opensmtpd", "lib/opensmtpd/empty"):
        (place.folder / name).mkdir(mode=0o711)
    for name in ("mail", "mail/new", "mail/cur", "mail/tmp"):
        (place.folder / name).mkdir()
        os.chown(place.folder / name, nobody.pw_uid, nobody.pw_gid)
    text = CONFIG.format(place=place, host=HOST, port=port, refused=REFUSED, domain=DOMAIN)
    (place.folder / "smtpd.conf").write_text(text, encoding="utf-8")
    (place.folder / "users").write_text(f"{USER} {_hashed(unpacked)}\n", encoding="utf-8")
    users = "".join(f"{name}:x:{number}:{number}::/nonexistent:/bin/false\n" for name, number in IDS.items())
    groups = "".join(f"{name}:x:{number}:\n" for name, number in IDS.items())
    for name, more in (("passwd", users), ("group", groups)):
        (place.folder / name).write_text(
            Path("/etc", name).read_text(encoding="utf-8") + more, encoding="utf-8"
        )


def _hashed(unpacked: Path) -> str:
    program = unpacked / "usr/libexec/opensmtpd/encrypt"
    done = subprocess.run(
        [str(program)], input=PASSWORD + "\n", capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()
