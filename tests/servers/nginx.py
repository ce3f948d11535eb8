"""nginx with TLS that keeps every body: one server writes it down, a second one behind it answers 202."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.peers import HOST, require_program, running, unused_ports, wait_until
from tests.servers.place import DELIVERY_LIMIT_S, Place, new_place

CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid {place.folder}/nginx.pid;
error_log {place.log} warn;
events {{ worker_connections 1024; }}
http {{
    log_format taken escape=json '{{"status": $status, "method": "$request_method", "length": $content_length'
        ', "body": "$request_body_file", "connection": $connection, "tls": "$ssl_protocol"}}';
    access_log off;
    client_body_temp_path {place.folder}/bodies;
    proxy_temp_path {place.folder}/proxy;
    fastcgi_temp_path {place.folder}/fastcgi;
    uwsgi_temp_path {place.folder}/uwsgi;
    scgi_temp_path {place.folder}/scgi;
    keepalive_requests 1000000;
    server {{
        listen {host}:{port} ssl;
        ssl_certificate {place.certificate};
        ssl_certificate_key {place.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        access_log {place.folder}/access.log taken;
        location = /send {{
            client_body_in_file_only on;
            proxy_pass http://{host}:{inner}/;
        }}
    }}
    server {{
        listen {host}:{inner};
        location / {{ return 202; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Post:
    """A request as nginx saw it."""

    status: int
    body: bytes
    connection: int
    tls: str


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx: POST /send is answered 202."""

    port: int
    place: Place

    @property
    def url(self) -> str:
        """The target of a scenario."""
        return f"https://{HOST}:{self.port}/send"

    def take_all(self, count: int) -> list[Post]:
        """At least `count` requests, out of the log, which is written a moment after each answer."""
        log = self.place.folder / "access.log"

        def lines() -> list[str]:
            return log.read_text(encoding="utf-8").splitlines()

        wait_until(lambda: len(lines()) >= count, f"{count} requests", DELIVERY_LIMIT_S)
        return [_post(line) for line in lines()]


def _post(line: str) -> Post:
    fields = json.loads(line)
    body = Path(fields["body"]).read_bytes()
    assert fields["method"] == "POST"
    assert fields["length"] == len(body)
    return Post(fields["status"], body, fields["connection"], fields["tls"])


@contextmanager
def start_nginx() -> Iterator[Nginx]:
    """Run nginx with everything it writes in a folder of its own."""
    program = require_program("nginx", "nginx-light")
    with new_place("nginx") as place:
        port, inner = unused_ports(2)
        # A worker of another user could not write where the log is.
        user = "user root root;" if os.geteuid() == 0 else ""
        text = CONFIG.format(place=place, user=user, host=HOST, port=port, inner=inner)
        (place.folder / "nginx.conf").write_text(text, encoding="utf-8")
        command = [program, "-p", str(place.folder), "-c", str(place.folder / "nginx.conf")]
        with running(command, [port, inner], place.folder / "output") as started:
            assert started, f"nginx did not start: {place.said()}"
            yield Nginx(port, place)
