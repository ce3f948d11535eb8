"""What a mock is asked to be and what it answers survive the line between the processes."""

from __future__ import annotations

import json

import pytest

from bench.errors import UsageError
from bench.mock.spec import Credentials, MockSpec, Ready, from_json, to_json
from bench.model import Auth, Network, Secret, ServiceTime, TlsMode


@pytest.mark.parametrize(
    "spec",
    [
        MockSpec("smtp"),
        MockSpec("relay", upstream=("127.0.0.1", 25), network=Network(50_000_000, 1, 0.5)),
        MockSpec(
            "all", "sendgrid", "::1", 2525, TlsMode.IMPLICIT, ServiceTime("lognormal", 5, 0.25, 0, (3, 4)),
            seed=7, log="/a b/ä", wire_log="w", auth_mechanisms=(), listen_any=True, resume=True,
            max_recipients=1, max_message_bytes=2,
        ),
    ],
)  # fmt: skip
def test_a_specification_comes_back_as_it_was(spec: MockSpec) -> None:
    line = to_json([spec, MockSpec("api")])
    assert "\n" not in line
    assert from_json(line) == [spec, MockSpec("api")]


def test_what_is_left_out_takes_its_default() -> None:
    assert from_json('[{"kind": "api"}]') == [MockSpec("api")]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "specification is wrong"),
        ("{}", "not a list"),
        ("[[]]", "not an object"),
        ("[{}]", "kind"),
        ('[{"kind": "ftp"}]', "unknown kind of mock 'ftp'"),
        ('[{"kind": "relay"}]', "needs an upstream"),
        ('[{"kind": "smtp", "upstream": ["127.0.0.1", 25]}]', "only a relay"),
        ('[{"kind": "smtp", "colour": 1}]', "unknown field 'colour'"),
        ('[{"kind": "smtp", "port": "x"}]', "port: not int"),
        ('[{"kind": "smtp", "log": 1}]', "log: not a path"),
        ('[{"kind": "smtp", "tls": "sometimes"}]', "sometimes"),
        ('[{"kind": "smtp", "network": {"rtt_ns": "x"}}]', "object of numbers"),
        ('[{"kind": "smtp", "network": {}}]', "rtt_ns"),
        ('[{"kind": "smtp", "service_time": 5}]', "service_time"),
        ('[{"kind": "smtp", "auth_mechanisms": "PLAIN"}]', "not a list"),
        ('[{"kind": "relay", "upstream": ["127.0.0.1"]}]', "not a host and a port"),
    ],
)
def test_a_wrong_specification_says_what_is_wrong(line: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        from_json(line)


READY = Ready(
    smtp=("127.0.0.1", 2525),
    api={"sendgrid": "https://127.0.0.1:1/sendgrid"},
    credentials=Credentials(
        Auth(Secret("apikey"), Secret("geheim")), {"sendgrid": Auth(None, Secret("geheim"))}
    ),
    ca_file="/tmp/ca.pem",
    log="log.jsonl",
    pid=7,
)


@pytest.mark.parametrize("ready", [READY, Ready()])
def test_ready_comes_back_as_it_was(ready: Ready) -> None:
    assert Ready.from_json(ready.to_json()) == ready


def test_the_ready_line_has_the_documented_shape() -> None:
    assert json.loads(READY.to_json()) == {
        "smtp": {"host": "127.0.0.1", "port": 2525},
        "api": {"sendgrid": "https://127.0.0.1:1/sendgrid"},
        "credentials": {
            "smtp": {"user": "apikey", "password": "geheim"},
            "api": {"sendgrid": {"user": None, "password": "geheim"}},
        },
        "ca_file": "/tmp/ca.pem",
        "log": "log.jsonl",
        "pid": 7,
    }


def test_no_credential_shows_by_accident() -> None:
    assert "geheim" not in repr(READY)
