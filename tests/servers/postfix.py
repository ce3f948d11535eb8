"""Postfix as Debian ships it, with a configuration, a queue and a password file of its own."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = localhost
mydestination =
alias_maps =
inet_interfaces = {host}
inet_protocols = ipv4

smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {folder}/key.pem, {folder}/certificate.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = localhost
smtpd_sasl_security_options = noanonymous
cyrus_sasl_config_path = {folder}/sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{ {refused}=REJECT }},
    permit_sasl_authenticated, reject
smtpd_client_connection_count_limit = 0

virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}
virtual_mailbox_maps = static:mail/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""
MASTER = """\
{host}:{port} inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
proxymap  unix - - n - - proxymap
error     unix - - n - - error
retry     unix - - n - - error
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""
SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: {folder}/sasl/sasldb2
"""


@contextmanager
def start_postfix() -> Iterator[MailServer]:
    """Run Postfix with everything it writes in a folder of its own."""
    require_root("Postfix")
    postfix = require_program("postfix", "postfix")
    require_file(Path("/usr/lib/x86_64-linux-gnu/sasl2/libplain.so"), "Debian package libsasl2-modules")
    with new_place("postfix") as place:
        port = free_port()
        _configure(place, port)
        _add_user(place)
        subprocess.run([postfix, "-c", str(place.folder), "check"], check=True, timeout=60)
        daemons = subprocess.run(
            ["postconf", "-h", "daemon_directory"], check=True, timeout=60, capture_output=True, text=True
        ).stdout.strip()
        command = [f"{daemons}/master", "-c", str(place.folder), "-d"]
        mail = place.folder / "mail" / "new"
        with serving("postfix", place, command, port, mail) as server:
            yield server


def _configure(place: Place, port: int) -> None:
    nobody = pwd.getpwnam("nobody")
    words = {
        "folder": place.folder, "host": HOST, "port": port, "domain": DOMAIN, "refused": REFUSED,
        "uid": nobody.pw_uid, "gid": nobody.pw_gid,
    }  # fmt: skip
    for name in ("queue", "data", "sasl", "mail", "mail/new", "mail/cur", "mail/tmp"):
        (place.folder / name).mkdir(mode=0o755)
    _give(pwd.getpwnam("postfix"), place.folder / "data")
    _give(nobody, place.folder / "mail", *(place.folder / "mail").iterdir())
    (place.folder / "main.cf").write_text(MAIN.format(**words), encoding="utf-8")
    (place.folder / "master.cf").write_text(MASTER.format(**words), encoding="utf-8")
    (place.folder / "sasl" / "smtpd.conf").write_text(SASL.format(**words), encoding="utf-8")


def _give(owner: pwd.struct_passwd, *paths: Path) -> None:
    for path in paths:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _add_user(place: Place) -> None:
    """The user and password where Cyrus SASL looks for them; smtpd reads the file as user postfix."""
    program = require_file(UNPACKED / "debian/usr/sbin/saslpasswd2", "run `make servers`")
    database = place.folder / "sasl" / "sasldb2"
    subprocess.run(
        [str(program), "-p", "-c", "-f", str(database), "-u", "localhost", USER],
        input=PASSWORD, text=True, check=True, timeout=60,
    )  # fmt: skip
    _give(pwd.getpwnam("postfix"), database)
