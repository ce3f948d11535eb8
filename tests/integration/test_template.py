"""A JSON API that sendbench knows nothing about, spoken to by the scenario's template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.runs import run_text

SCENARIO = """\
version: 1
name: template
target: http://127.0.0.1:{port}/v1/mail
provider: generic
transport: api
auth: {{password: "${{env:TEMPLATE_KEY}}"}}
message: {{recipients: 2, subject: "Grüße, \\"you\\"", headers: {{X-Team: a}}}}
load: {{model: closed, concurrency: 2, messages: 8}}
template:
  body: |
    {{"mail": {{"sender": {{from}}, "people": {{to}}, "title": {{subject}}, "body": {{text}}}},
      "tags": {{headers}}, "reference": {{key}}}}
  id: data.id
"""


class Api(ThreadingHTTPServer):
    """Takes what it can read, and refuses every message to whom it is told to."""

    daemon_threads = True
    refuse = False
    got: list[dict[str, object]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append({"path": self.path, "auth": self.headers["Authorization"], **body})
        status, answer = (422, {}) if self.server.refuse else (200, {"data": {"id": len(self.server.got)}})
        said = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("TEMPLATE_KEY", "k-17")
    with Api(("127.0.0.1", 0), Handler) as server:
        server.got = []
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("client", ["wire", "httpx"])
def test_every_message_arrives_as_the_template_has_it(api: Api, tmp_path: Path, client: str) -> None:
    text = SCENARIO.format(port=api.server_address[1]) + f"client: {client}\n"
    run = run_text(text, tmp_path)
    assert set(run.frame["outcome"]) == {"accepted"}
    assert sorted(str(each["reference"]) for each in api.got) == sorted(run.frame["key"])
    assert {int(each["message_id"]) for each in run.stored.table().to_pylist()} == set(range(1, 9))
    first = api.got[0]
    mail = first["mail"]
    assert isinstance(mail, dict)
    assert (first["path"], first["auth"], first["tags"]) == ("/v1/mail", "Bearer k-17", {"X-Team": "a"})
    assert mail["title"] == 'Grüße, "you"'
    assert len(mail["people"]) == 2
    assert mail["body"]


def test_what_it_refuses_is_refused(api: Api, tmp_path: Path) -> None:
    api.refuse = True
    run = run_text(SCENARIO.format(port=api.server_address[1]), tmp_path)
    assert set(run.frame["outcome"]) == {"rejected_perm"}
