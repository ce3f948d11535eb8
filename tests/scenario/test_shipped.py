from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from bench.errors import UsageError
from bench.model import PHASES, Connection, SmtpOptions, TargetKind, TlsMode, Transport
from bench.scenario import find_scenario, form, json_schema, known, load_scenario, shipped_scenarios
from bench.scenario.plan import plan_case

SHIPPED = shipped_scenarios()
LIVE = tuple(
    f"live-{name}"
    for name in (
        "brevo",
        "mailgun",
        "mailjet",
        "mailtrap",
        "postmark",
        "resend",
        "sendgrid",
        "ses",
        "smtpcom",
    )
)
NAMES = (
    "batch",
    "clients",
    "compare-providers",
    "gate",
    "generic",
    *LIVE,
    "provider-matrix",
    "rtt-sweep",
    "smoke",
    "smtp-vs-api",
    "steady-rate",
    "throughput",
)
BAD = Path(__file__).parents[1] / "data" / "bad_scenarios"


def read(path: Path) -> object:
    loaded: object = YAML(typ="safe", pure=True).load(path.read_text())
    return loaded


def validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def test_all_are_there() -> None:
    assert tuple(SHIPPED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_is_described(name: str) -> None:
    path = SHIPPED[name]
    scenario = load_scenario(path, environ={})
    assert scenario.name == name == path.stem
    assert len(scenario.description) > 30
    assert all(case.timeout_ns > 0 for case in scenario.cases)
    profiles = read(path)
    assert isinstance(profiles, dict)
    for profile in profiles.get("profiles", {}):
        assert load_scenario(path, environ={}, profile=profile).cases


@pytest.mark.parametrize("name", NAMES)
def test_carries_the_modeline_and_validates_against_the_schema(name: str) -> None:
    first = SHIPPED[name].read_text().splitlines()[0]
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert match is not None
    schema = json.loads((SHIPPED[name].parent / match[1]).read_text())
    Draft202012Validator(schema).validate(read(SHIPPED[name]))


def test_schema_file_is_current() -> None:
    """If not: `sendbench schema > scenarios/schema.json`."""
    file = SHIPPED["smoke"].parent / "schema.json"
    assert json.loads(file.read_text()) == json_schema()


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "name",
    [
        "unknown_key", "unknown_section_key", "wrong_unit", "missing_unit", "wrong_unit_size",
        "matrix_empty", "matrix_empty_list", "matrix_scalar", "matrix_unknown_key", "matrix_fixed_key",
        "matrix_bad_value",
        "faults_unknown_step", "pool_order", "workers_many", "tls_resume",
        "client_unknown", "unknown_provider", "not_built_extension",
        "literal_password", "wrong_case", "wrong_case_value", "unknown_model", "version_2", "bad_name",
        "version_missing", "load_wrong_model_key", "load_text_number", "profile_unknown_key",
        "recipients_zero",
        "threshold_operator", "threshold_nonsense", "threshold_abort_key", "threshold_abort_no_check",
        "threshold_abort_value", "negative_rate", "section_list", "exclude_unknown_key",
    ],
)  # fmt: skip
def test_schema_finds_what_an_editor_can_find(name: str) -> None:
    if name == "exclude_unknown_key":  # known to the schema, but not in this matrix: the loader's business
        assert validator().is_valid(read(BAD / f"{name}.yaml"))
        return
    assert not validator().is_valid(read(BAD / f"{name}.yaml"))


def test_matrix_keys_of_the_schema_are_those_of_the_loader() -> None:
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    keys = set(definitions["Matrix"]["properties"]) - {"exclude"}
    assert keys == set(form.dotted_keys())
    assert {"transport", "network", "network.rtt", "load.concurrency", "client.smtp", "message.size"} <= keys


def test_the_claims_run() -> None:
    scenario = load_scenario(SHIPPED["smtp-vs-api"], environ={})
    assert [case.id for case in scenario.cases] == [
        "sendgrid/smtp/unpooled/smtp.chunking=off/smtp.pipelining=off",
        "sendgrid/smtp/pooled/smtp.chunking=off/smtp.pipelining=off",
        "sendgrid/smtp/pooled/smtp.chunking=off/smtp.pipelining=auto",
        "sendgrid/smtp/pooled/smtp.chunking=auto/smtp.pipelining=auto",
        "sendgrid/api/unpooled",
        "sendgrid/api/pooled",
    ]
    for case in scenario.cases:
        assert case.network.rtt_ns == 50_000_000
        assert (case.service_time.kind, case.service_time.p50_ns) == ("constant", 0)
        assert case.client == "wire"
        assert case.load.concurrency == 4
        assert (case.load.messages or 0) >= 72  # below that there is no p95
        assert case.tls.mode is (TlsMode.STARTTLS if case.transport is Transport.SMTP else TlsMode.IMPLICIT)
    assert [(plan_case(case).round_trips) for case in scenario.cases] == [11, 4, 2, 1, 3, 1]
    assert [(case.smtp.pipelining, case.smtp.chunking) for case in scenario.cases[:4]] == [
        ("off", "off"),
        ("off", "off"),
        ("auto", "off"),
        ("auto", "auto"),
    ]


@pytest.mark.parametrize("client", ["aiosmtplib", "smtplib"])
def test_the_claims_run_by_a_client_that_never_pipelines_has_four_cases(client: str) -> None:
    cases = load_scenario(SHIPPED["smtp-vs-api"], overrides=[f"client.smtp={client}"], environ={}).cases
    assert [case.id for case in cases] == [
        "sendgrid/smtp/unpooled",
        "sendgrid/smtp/pooled",
        "sendgrid/api/unpooled",
        "sendgrid/api/pooled",
    ]
    assert [plan_case(case).round_trips for case in cases] == [11, 4, 3, 1]


@pytest.mark.parametrize(
    ("name", "profile", "limit_s"),
    [("smtp-vs-api", None, 50), ("rtt-sweep", None, 95), ("rtt-sweep", "short", 45)],
)
def test_planned_time(name: str, profile: str | None, limit_s: float) -> None:
    """Round trips alone; the clients' own cost comes on top."""
    total_ns = 0.0
    for case in load_scenario(SHIPPED[name], profile=profile, environ={}).cases:
        messages = (case.load.messages or 0) + case.load.warmup
        planned = plan_case(case)
        trips = planned.round_trips + planned.leave_taking
        total_ns += messages * trips * case.network.rtt_ns / (case.load.concurrency or 1)
    assert total_ns / 1e9 < limit_s


def test_rtt_sweep_has_a_line_for_each_way() -> None:
    cases = load_scenario(SHIPPED["rtt-sweep"], environ={}).cases
    assert len(cases) == 24
    assert len({case.id.replace(f"/network.rtt={case.labels['network.rtt']}", "") for case in cases}) == 6
    assert {case.network.rtt_ns // 10**6 for case in cases} == {5, 20, 50, 100}


def test_throughput_rises() -> None:
    cases = load_scenario(SHIPPED["throughput"], environ={}).cases
    assert {case.load.concurrency for case in cases} == {1, 2, 4, 8, 16, 32}
    assert all(case.pool.size == case.load.concurrency and not case.network.shaped for case in cases)


def test_clients_compares_them_all_in_the_same_dialogue() -> None:
    cases = load_scenario(SHIPPED["clients"], environ={}).cases
    compared = {(case.transport, case.client, case.connection) for case in cases}
    assert compared == {
        (transport, client, connection)
        for transport, clients in known.CLIENTS.items()
        for client in clients
        for connection in Connection
    }
    assert {case.smtp for case in cases} == {SmtpOptions(pipelining="off", chunking="off")}


def test_steady_rate_is_open() -> None:
    for case in load_scenario(SHIPPED["steady-rate"], environ={}).cases:
        assert case.load.open
        assert (case.load.rates_per_s, case.load.messages, case.load.warmup) == ((50.0,), 1000, 50)


@pytest.mark.parametrize(
    ("target", "transport"),
    [("smtp://127.0.0.1:1025", Transport.SMTP), ("http://localhost:8080/in", Transport.API)],
)
def test_generic_takes_any_target(target: str, transport: Transport) -> None:
    cases = load_scenario(SHIPPED["generic"], overrides=[f"target={target}"], environ={}).cases
    for case in cases:
        assert case.target.kind in (TargetKind.SMTP, TargetKind.HTTP)
        assert (case.target.url, case.transport, case.tls.mode) == (target, transport, TlsMode.NONE)


def examples() -> list[str]:
    """The command lines in the comments of the shipped scenarios."""
    found = re.findall(r"^#\s+sendbench (run [^#\n]*)", "".join(map(Path.read_text, SHIPPED.values())), re.M)
    return [line.strip() for line in found]


@pytest.mark.parametrize("line", examples())
def test_the_commands_in_the_comments_work(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    monkeypatch.chdir(tmp_path)
    _, name, *options = line.split()
    assert set(options[::2]) <= {"--set"}
    assert load_scenario(find_scenario(name), overrides=options[1::2], environ={}).cases


def test_the_commands_in_the_comments_are_found() -> None:
    assert len(examples()) >= 8


@pytest.mark.parametrize("name", ["generic", "smoke", "steady-rate", "throughput"])
def test_elsewhere_our_own_client_uses_what_the_server_offers(name: str) -> None:
    for case in load_scenario(SHIPPED[name], environ={}).cases:
        assert (case.client, case.smtp) == ("wire", SmtpOptions("auto", "auto"))


def test_find_scenario(tmp_path: Path) -> None:
    assert find_scenario("smoke") == SHIPPED["smoke"]
    mine = tmp_path / "mine.yaml"
    mine.write_text("")
    assert find_scenario(str(mine)) == mine
    with pytest.raises(UsageError, match=r"did you mean smoke\?"):
        find_scenario("smok")
    with pytest.raises(UsageError, match="neither a file"):
        find_scenario(str(tmp_path))


def test_words_of_the_form_agree_with_the_model() -> None:
    assert "phase" not in PHASES
    assert set(known.CLIENTS) == set(Transport)
    assert set(known.CLIENTS[Transport.SMTP]) >= known.GROUPING_CLIENTS
    assert known.DEFAULT_PROVIDER in known.PROVIDERS
