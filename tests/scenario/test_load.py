from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from bench.errors import ScenarioError
from bench.model import (
    Case,
    Connection,
    Gate,
    Limits,
    Load,
    Network,
    Scenario,
    ServiceTime,
    SmtpOptions,
    TargetKind,
    TlsMode,
    TlsSettings,
    Transport,
)
from bench.scenario import json_schema, load_scenario
from bench.store.codec import decode, encode
from bench.store.resume import config_hash

EXAMPLE = """\
version: 1
name: smtp-vs-api
description: What a sign-up page waits for.
tags: {team: signup, build: 010}
target: mock
provider: sendgrid
message: {size: 10KiB, recipients: 1}
network: {rtt: 50ms, jitter: 0ms, bandwidth: 0}
mock: {service_time: 5ms}
load: {model: closed, concurrency: 4, messages: 400, warmup: 20}
client: {smtp: aiosmtplib, api: httpx}
connection: pooled
tls: {mode: starttls, verify: true, resume: false}
auth: {user: "${env:SMTP_USER}", password: "${env:SMTP_PASSWORD}"}
pool: {size: 4}
smtp: {pipelining: auto, chunking: off}
timeout: 30s
matrix:
  transport: [smtp, api]
  connection: [unpooled, pooled]
  network.rtt: [20ms, 50ms]
  exclude: [{transport: api, connection: unpooled, network.rtt: 20ms}]
thresholds:
  - p95(service) < 800ms
  - share(accepted) >= 99.9% where connection=pooled
profiles:
  ci: {load: {model: closed, concurrency: 4, messages: 100}}
  open: {load: {model: constant, rate: 50/s, duration: 2s}}
"""
ENVIRON = {"SMTP_USER": "ann", "SMTP_PASSWORD": "s3cret"}
SMALL = "version: 1\nname: small\nload: {model: closed, messages: 10}\n"
ALIKE = dict.fromkeys(("p50", "p95", "p99"), 0.07)


def load(
    tmp_path: Path,
    text: str,
    *overrides: str,
    profile: str | None = None,
    environ: dict[str, str] | None = None,
) -> Scenario:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return load_scenario(
        path, overrides=overrides, profile=profile, environ=ENVIRON if environ is None else environ
    )


def only(scenario: Scenario) -> Case:
    assert len(scenario.cases) == 1
    return scenario.cases[0]


def test_the_example_of_the_design(tmp_path: Path) -> None:
    scenario = load(tmp_path, EXAMPLE)
    assert (scenario.name, scenario.description) == ("smtp-vs-api", "What a sign-up page waits for.")
    assert scenario.tags == {"team": "signup", "build": "010"}
    assert scenario.source == EXAMPLE.encode()
    assert scenario.file == str(tmp_path / "scenario.yaml")
    assert [case.id for case in scenario.cases] == [
        "sendgrid/smtp/unpooled/network.rtt=20ms",
        "sendgrid/smtp/unpooled/network.rtt=50ms",
        "sendgrid/smtp/pooled/network.rtt=20ms",
        "sendgrid/smtp/pooled/network.rtt=50ms",
        "sendgrid/api/unpooled/network.rtt=50ms",
        "sendgrid/api/pooled/network.rtt=20ms",
        "sendgrid/api/pooled/network.rtt=50ms",
    ]
    assert [case.index for case in scenario.cases] == list(range(7))
    case = scenario.cases[1]
    assert case.labels == {
        "provider": "sendgrid",
        "transport": "smtp",
        "connection": "unpooled",
        "client": "aiosmtplib",
        "load": "closed",
        "network.rtt": "50ms",
    }
    assert (case.transport, case.connection) == (Transport.SMTP, Connection.UNPOOLED)
    assert case.network == Network(rtt_ns=50_000_000)
    assert case.service_time == ServiceTime("constant", 5_000_000)
    assert case.load == Load("closed", 400, None, 20, concurrency=4)
    assert case.tls == TlsSettings(TlsMode.STARTTLS)
    assert case.smtp == SmtpOptions("auto", "off")
    assert case.pool.size == 4
    assert case.timeout_ns == 30 * 10**9
    assert case.message.size_bytes == 10240
    assert [t.line for t in scenario.thresholds] == [24, 25]


def test_secrets_are_references(tmp_path: Path) -> None:
    auth = only(load(tmp_path, SMALL + 'auth: {user: apikey, password: "${env:SMTP_PASSWORD}"}\n')).auth
    assert auth is not None
    assert auth.user is not None
    assert (auth.user.reveal(), auth.user.reference) == ("apikey", "")
    assert (auth.password.reveal(), auth.password.reference) == ("s3cret", "${env:SMTP_PASSWORD}")
    assert "s3cret" not in repr(auth)


def test_secret_from_a_file_anywhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret 1\n")
    secret.chmod(0o600)
    folder = tmp_path / "scenarios"
    folder.mkdir()
    for name in ("../secret", str(secret)):
        auth = only(load(folder, SMALL + f'auth: {{password: "${{file:{name}}}"}}\n')).auth
        assert auth is not None
        assert auth.password.reveal() == "s3cret 1"


def test_references_in_other_text(tmp_path: Path) -> None:
    (tmp_path / "subject.txt").write_text("From a file\n")
    text = SMALL + 'target: "smtp://127.0.0.1:${env:PORT}"\nmessage: {subject: "${file:subject.txt}"}\n'
    case = only(load(tmp_path, text, environ={"PORT": "2525"}))
    assert case.target.port == 2525
    assert case.message.subject == "From a file"


def test_label_of_a_reference_is_as_written(tmp_path: Path) -> None:
    text = SMALL + 'matrix: {message.subject: ["${env:A}", b]}\n'
    first, second = load(tmp_path, text, environ={"A": "hidden"}).cases
    assert first.id == "generic/smtp/pooled/message.subject=${env:A}"
    assert (first.message.subject, second.message.subject) == ("hidden", "b")


def test_defaults(tmp_path: Path) -> None:
    case = only(load(tmp_path, SMALL))
    assert (case.target.kind, case.provider, case.transport) == (
        TargetKind.MOCK,
        "generic",
        Transport.SMTP,
    )
    assert case.id == "generic/smtp/pooled"
    assert case.tls == TlsSettings(TlsMode.STARTTLS)
    assert case.auth is None
    assert case.pool.size == 1
    assert case.timeout_ns == 60 * 10**9
    assert case.message.size_bytes == 10240
    assert case.smtp == SmtpOptions()


@pytest.mark.parametrize(
    ("load_text", "expected"),
    [
        ("{model: closed, duration: 3s}", Load("closed", None, 3 * 10**9, 0, concurrency=1)),
        (
            "{model: constant, rate: 50/s, duration: 20s, warmup: 5}",
            Load("constant", 1000, 20 * 10**9, 5, rates_per_s=(50.0,), max_in_flight=100),
        ),
        (
            "{model: poisson, rate: 30/min, messages: 7, max_in_flight: 3}",
            Load("poisson", 7, 14 * 10**9, 0, rates_per_s=(0.5,), max_in_flight=3),
        ),
        (
            "{model: ramp, from: 10/s, to: 30/s, duration: 2s}",
            Load("ramp", 40, 2 * 10**9, 0, rates_per_s=(10.0, 30.0), max_in_flight=100),
        ),
        (
            "{model: steps, rates: [10/s, 25/s], step: 500ms}",
            Load("steps", 18, 10**9, 0, rates_per_s=(10.0, 25.0), step_ns=500_000_000, max_in_flight=100),
        ),
    ],
)
def test_load_models(tmp_path: Path, load_text: str, expected: Load) -> None:
    case = only(load(tmp_path, f"version: 1\nname: x\nload: {load_text}\n"))
    assert case.load == expected
    assert case.labels["load"] == expected.model
    assert case.pool.size == (expected.concurrency or expected.max_in_flight)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", ServiceTime("constant", 0)),
        ("7ms", ServiceTime("constant", 7_000_000)),
        ("{lognormal: {p50: 5ms, sigma: 0.25}}", ServiceTime("lognormal", 5_000_000, 0.25)),
        ("{lognormal: {p50: 5ms, sigma: 1}}", ServiceTime("lognormal", 5_000_000, 1.0)),
        ("{exponential: {mean: 3ms}}", ServiceTime("exponential", 3_000_000)),
        ("{uniform: {low: 1ms, high: 2ms}}", ServiceTime("uniform", 1_000_000, 0.0, 2_000_000)),
    ],
)
def test_service_times(tmp_path: Path, text: str, expected: ServiceTime) -> None:
    assert only(load(tmp_path, SMALL + f"mock: {{service_time: {text}}}\n")).service_time == expected


def test_service_times_observed_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "seen.txt").write_text("7ms\n\n 3ms \n5ms\n1s\n", encoding="utf-8")
    case = only(load(tmp_path, SMALL + "mock: {service_time: {observed: seen.txt}}\n"))
    expected = (7_000_000, 3_000_000, 5_000_000, 1_000_000_000)
    assert case.service_time == ServiceTime("observed", 5_000_000, values_ns=expected)


@pytest.mark.parametrize(
    ("text", "limit", "effect", "own"),
    [
        ("default", {"p50": 0.05, "p95": 0.10, "p99": 0.50}, {"p50": 0.02, "p95": 0.04, "p99": 0.08}, ()),
        ("7%", ALIKE, ALIKE, ("p50", "p95", "p99")),
        (
            "{limit: {p95: 30%}}",
            {"p50": 0.05, "p95": 0.30, "p99": 0.50},
            {"p50": 0.02, "p95": 0.30, "p99": 0.08},
            ("p95",),
        ),
    ],
)
def test_a_gate_has_limits_of_its_own_or_the_default_ones(
    tmp_path: Path, text: str, limit: dict[str, float], effect: dict[str, float], own: tuple[str, ...]
) -> None:
    pair = SMALL + "matrix: {connection: [pooled, unpooled]}\ncompare: connection\n"
    gate = load(tmp_path, f"{pair}gate: {text}\n").gate
    assert gate is not None
    assert gate.limits == Limits(effect, limit, own=own)
    assert decode(Gate, encode(gate)) == gate
    assert gate.stages == 1
    assert load(tmp_path, pair).gate is None


def test_profile_is_laid_over_key_by_key(tmp_path: Path) -> None:
    text = SMALL + "network: {rtt: 5ms, jitter: 1ms}\nprofiles: {far: {network: {rtt: 90ms}}}\n"
    assert only(load(tmp_path, text)).network == Network(5_000_000, 1_000_000)
    assert only(load(tmp_path, text, profile="far")).network == Network(90_000_000, 1_000_000)


def test_profile_with_another_load_model_replaces_the_load(tmp_path: Path) -> None:
    cases = load(tmp_path, EXAMPLE, profile="open").cases
    assert {case.load.model for case in cases} == {"constant"}
    assert {case.load.messages for case in cases} == {100}


def test_profile_with_the_same_load_model_changes_it(tmp_path: Path) -> None:
    case = load(tmp_path, EXAMPLE, profile="ci").cases[0]
    assert (case.load.messages, case.load.warmup) == (100, 20)


def test_messages_take_the_place_of_duration(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: x\nload: {model: constant, rate: 5/s, duration: 3s}\n"
        "profiles: {few: {load: {messages: 2}}}\n"
    )
    assert only(load(tmp_path, text, profile="few")).load.messages == 2
    assert only(load(tmp_path, text, "load.messages=4")).load.messages == 4


def test_profiles_that_are_not_chosen_need_no_environment(tmp_path: Path) -> None:
    text = SMALL + 'profiles: {live: {auth: {password: "${env:NOT_SET}"}}}\n'
    assert only(load(tmp_path, text)).auth is None


def test_set_a_value_a_list_and_a_section(tmp_path: Path) -> None:
    case = only(
        load(
            tmp_path,
            SMALL,
            "network.rtt=5ms",
            "load={model: constant, rate: 5/s, messages: 3}",
            "tags.run=7",
            "tls=none",
            "thresholds=[rate() > 3]",
        )
    )
    assert case.network.rtt_ns == 5_000_000
    assert case.load.model == "constant"
    assert case.tls.mode is TlsMode.NONE


def test_set_a_key_of_the_matrix_narrows_it_and_keeps_the_id(tmp_path: Path) -> None:
    ids = [case.id for case in load(tmp_path, EXAMPLE, "network.rtt=50ms", "transport=smtp").cases]
    assert ids == ["sendgrid/smtp/unpooled/network.rtt=50ms", "sendgrid/smtp/pooled/network.rtt=50ms"]
    many = load(tmp_path, EXAMPLE, "network.rtt=[1ms, 2ms, 3ms]", "transport=smtp").cases
    assert len(many) == 6


def test_set_a_new_matrix_key(tmp_path: Path) -> None:
    cases = load(tmp_path, SMALL, "matrix.load.concurrency=[1, 2]").cases
    assert [(case.id, case.load.concurrency) for case in cases] == [
        ("generic/smtp/pooled/load.concurrency=1", 1),
        ("generic/smtp/pooled/load.concurrency=2", 2),
    ]


def test_set_below_the_short_form_of_tls(tmp_path: Path) -> None:
    case = only(load(tmp_path, SMALL + "tls: implicit\n", "tls.verify=false"))
    assert case.tls == TlsSettings(TlsMode.IMPLICIT, verify=False)


def test_paths_from_the_command_line_may_lie_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "scenarios", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    monkeypatch.chdir(elsewhere)
    for name in ("ca.pem", str(elsewhere / "ca.pem")):
        case = only(load(folder, SMALL, f"tls.ca={name}"))
        assert case.tls.ca_file == str(elsewhere / "ca.pem")


def test_matrix_over_whole_sections_and_their_keys(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: x\nmatrix:\n"
        "  load.messages: [3, 4]\n"
        "  load: [{model: closed, concurrency: 2}, {model: constant, rate: 5/s}]\n"
        "  tls: [none, {mode: implicit, verify: false}]\n"
    )
    cases = load(tmp_path, text).cases
    assert len(cases) == 8
    assert cases[0].id == ("generic/smtp/pooled/load.messages=3/load={model:closed,concurrency:2}/tls=none")
    assert {case.load.messages for case in cases} == {3, 4}
    assert cases[-1].tls == TlsSettings(TlsMode.IMPLICIT, verify=False)
    assert len({case.id for case in cases}) == 8


def test_a_matrix_of_one_value_still_varies(tmp_path: Path) -> None:
    assert only(load(tmp_path, SMALL + "matrix: {network.rtt: [5ms]}\n")).id.endswith("/network.rtt=5ms")


SERVED = SMALL + "target: smtp://127.0.0.1:{port}\n"


def test_a_command_starts_the_server(tmp_path: Path) -> None:
    case = only(load(tmp_path, SERVED + "server: serve --at '127.0.0.1:{port}'\n"))
    assert (case.command, case.server) == ("serve --at '127.0.0.1:{port}'",) * 2
    assert (case.target.url, case.target.host, case.target.port) == (
        "smtp://127.0.0.1:{port}",
        "127.0.0.1",
        0,
    )
    api = only(load(tmp_path, SMALL + "target: http://localhost:{port}/sign/up\nserver: serve {port}\n"))
    assert (api.transport, api.target.host, api.target.port, api.target.path) == (
        Transport.API,
        "localhost",
        0,
        "/sign/up",
    )
    assert only(load(tmp_path, SMALL)).command is None


def test_two_commands_are_compared_and_are_part_of_what_a_run_is(tmp_path: Path) -> None:
    text = SERVED + "compare: server\nmatrix: {server: ['old {port}', 'new {port}']}\n"
    old, new = load(tmp_path, text).cases
    assert (old.id, new.id) == (
        "generic/smtp/pooled/server=old {port}",
        "generic/smtp/pooled/server=new {port}",
    )
    assert (old.comparison, new.comparison) == ("server", "server")
    other = load(tmp_path, text.replace("new", "newer"))
    assert config_hash(other) != config_hash(load(tmp_path, text))


def test_long_values_of_the_matrix_and_values_that_are_alike_have_names(tmp_path: Path) -> None:
    long = f"serve {'x' * 300} {{port}}"
    matrix = f"matrix: {{server: {{base: '{long}', head: '{long}'}}, transport: [smtp]}}\n"
    text = SERVED + matrix
    cases = load(tmp_path, text).cases
    assert [case.id.rpartition("/")[2] for case in cases] == ["server=base", "server=head"]
    assert [case.command for case in cases] == [long, long]
    assert only(load(tmp_path, text, "server=one {port}")).labels["server"] == "one {port}"
    set_new = load(tmp_path, SERVED, 'matrix.server={"base": "a {port}", "head": "b {port}"}')
    assert [(case.labels["server"], case.command) for case in set_new.cases] == [
        ("base", "a {port}"),
        ("head", "b {port}"),
    ]
    left_out = text.replace("transport: [smtp]", "exclude: [{server: base}]")
    assert only(load(tmp_path, left_out)).labels["server"] == "head"
    Draft202012Validator(json_schema()).validate(YAML(typ="safe", pure=True).load(text))


def test_message_from_files(tmp_path: Path) -> None:
    (tmp_path / "to.txt").write_text("# ours\nann@example.org\n\n bob@example.org \n")
    (tmp_path / "m.eml").write_bytes(b"From: Ann <ann@example.org>\nSubject: x\n\nbody\n")
    spec = only(load(tmp_path, SMALL + "message: {file: m.eml, recipients: to.txt}\n")).message
    assert spec.recipients == ("ann@example.org", "bob@example.org")
    assert spec.rotate_recipients
    assert spec.sender == "ann@example.org"
    assert spec.eml is not None
    assert spec.size_bytes is None


def test_message_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    text = SMALL + (
        "message:\n  from: ann@example.org\n  recipients: 2\n  subject: Grüße\n  text: Hello\n"
        "  html: <b>Hello</b>\n  headers: {X-Priority: 1, List-Id: <a.example.org>}\n"
        "  attachments: [{file: a.pdf, type: application/pdf}, {size: 3KiB, name: b.bin}]\n"
    )
    spec = only(load(tmp_path, text)).message
    assert spec.sender == "ann@example.org"
    assert spec.recipients == ("recipient1@sendbench.example", "recipient2@sendbench.example")
    assert not spec.rotate_recipients
    assert (spec.subject, spec.text, spec.html) == ("Grüße", "Hello", "<b>Hello</b>")
    assert spec.headers == (("X-Priority", "1"), ("List-Id", "<a.example.org>"))
    pdf, generated = spec.attachments
    assert (pdf.filename, pdf.content_type, pdf.content) == ("a.pdf", "application/pdf", b"%PDF")
    assert (generated.filename, len(generated.content)) == ("b.bin", 3072)
    assert generated.content == only(load(tmp_path, text)).message.attachments[1].content
    assert spec.size_bytes is None


def test_yaml_1_2_words(tmp_path: Path) -> None:
    text = SMALL + "description: no\ntags: {a: yes, b: 22:22, c: 0o17, d: null}\n"
    with pytest.raises(Exception, match=r"tags\.d: has no value"):
        load(tmp_path, text)
    scenario = load(tmp_path, text.replace(", d: null", ""))
    assert scenario.description == "no"
    assert scenario.tags == {"a": "yes", "b": "22:22", "c": "0o17"}


def test_threshold_on_latency_where_only_some_cases_are_open(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: x\n"
        "matrix: {load: [{model: closed, messages: 3}, {model: constant, rate: 5/s, messages: 3}]}\n"
        "thresholds: [p95(latency) < 5ms]\n"
    )
    assert len(load(tmp_path, text).thresholds) == 1


def test_a_threshold_in_its_long_form(tmp_path: Path) -> None:
    text = (
        "version: 1\nname: x\nload: {model: closed, messages: 3}\nthresholds:\n"
        "  - {check: max(service) < 5ms, abort: true}\n  - check: rate() > 3\n    abort: false\n"
    )
    first, second = load(tmp_path, text).thresholds
    assert (first.text, first.line, first.abort) == ("max(service) < 5ms", 5, True)
    assert (second.text, second.line, second.abort) == ("rate() > 3", 6, False)
    Draft202012Validator(json_schema()).validate(YAML(typ="safe", pure=True).load(text))


def test_crlf_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_scenario(path, environ={}).name == "small"


def test_certificates_that_are_not_checked_are_a_label_and_no_part_of_the_id(tmp_path: Path) -> None:
    case = only(load(tmp_path, SMALL + "tls: {verify: false}\n"))
    assert not case.tls.verify
    assert case.labels["tls.verify"] == "false"
    assert case.id == "generic/smtp/pooled"
    assert "tls.verify" not in only(load(tmp_path, SMALL)).labels
    assert "tls.verify" not in only(load(tmp_path, SMALL + "tls: {mode: none, verify: false}\n")).labels
    both = load(tmp_path, SMALL + "matrix: {tls.verify: [false, true]}\n")
    assert [case.labels["tls.verify"] for case in both.cases] == ["false", "true"]


OPEN = "version: 1\nname: x\nload: {model: constant, rate: 50/s, duration: 2s, warmup: 5, max_in_flight: 7}\n"


def test_another_load_model_keeps_the_keys_it_has_too(tmp_path: Path) -> None:
    load_ = only(load(tmp_path, OPEN, "load.model=poisson")).load
    assert load_ == Load("poisson", 100, 2 * 10**9, 5, rates_per_s=(50.0,), max_in_flight=7)
    slower = only(load(tmp_path, OPEN, "load.model=poisson", "load.rate=10/s")).load
    assert (slower.model, slower.rates_per_s, slower.duration_ns) == ("poisson", (10.0,), 2 * 10**9)
    closed = only(load(tmp_path, OPEN, "load.model=closed", "load.concurrency=3")).load
    assert closed == Load("closed", None, 2 * 10**9, 5, concurrency=3)
    both = load(tmp_path, OPEN + "matrix: {load.model: [constant, poisson]}\n")
    assert [case.load.rates_per_s for case in both.cases] == [(50.0,), (50.0,)]
    whole = only(load(tmp_path, OPEN, "load={model: poisson, rate: 1/s, messages: 3}")).load
    assert (whole.warmup, whole.messages) == (0, 3)


@pytest.mark.parametrize(
    ("text", "model", "place", "field"),
    [
        (SMALL, "poisson", "{file}:3:", "load.rate: is missing"),
        (OPEN, "steps", "{file}:3:", "load.rates: is missing"),
        ("version: 1\nname: x\n", "poisson", "", "--set load.rate: is missing"),
        (SMALL, "poison", "", "did you mean poisson?"),
    ],
)
def test_what_another_load_model_lacks_is_named_by_its_key(
    tmp_path: Path, text: str, model: str, place: str, field: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, text, f"load.model={model}")
    assert str(caught.value).startswith(place.format(file=tmp_path / "scenario.yaml"))
    assert field in str(caught.value)
    assert "load.model.rate" not in str(caught.value)
