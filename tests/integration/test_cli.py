"""The command line as a person meets it: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.store import open_run
from tests.integration.peers import SmtpSink, wait_until

QUICK = """\
version: 1
name: quick
target: mock
provider: sendgrid
transport: smtp
connection: pooled
load: {model: closed, concurrency: 2, messages: 10, warmup: 2}
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "100"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "bench", *arguments]


def sendbench(
    *arguments: str, folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    (tmp_path / "quick.yaml").write_text(QUICK, encoding="utf-8")
    return tmp_path


def latest(folder: Path) -> Path:
    return (folder / "results" / "latest").resolve()


# ----------------------------------------------------------------------------- run


def test_a_run_answers_on_stdout_and_names_its_folder_on_stderr(quick: Path) -> None:
    done = sendbench("run", "quick.yaml", folder=quick)
    assert done.returncode == 0, done.stderr
    assert "smtp pooled" in done.stdout
    assert "10/10" in done.stdout
    run = latest(quick)
    assert f"run: results/{run.name}" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert sorted(path.name for path in run.iterdir()) == [
        "manifest.json", "mock-000.jsonl", "samples.parquet", "scenario.yaml", "summary.json",
    ]  # fmt: skip
    assert (run.stat().st_mode & 0o777, (run / "samples.parquet").stat().st_mode & 0o777) == (0o700, 0o600)


def test_json_is_all_that_stdout_holds(quick: Path) -> None:
    done = sendbench("run", "quick.yaml", "--json", "--seed", "7", folder=quick)
    answer = json.loads(done.stdout)
    assert answer["schema"] == "sendbench.summary/1"
    assert answer["run"]["seed"] == 7
    assert answer["cases"][0]["counts"]["accepted"] == 10
    assert json.loads((latest(quick) / "summary.json").read_text()) == answer


def test_a_failed_threshold_ends_with_1_and_one_that_cannot_be_judged_with_4(quick: Path) -> None:
    text = QUICK + "thresholds: ['THRESHOLD']\n"
    for threshold, code in (
        ("p50(service) < 1us", 1),
        ("p50(service) < 10s", 0),
        ("p99.9(service) < 10s", 4),
    ):
        (quick / "quick.yaml").write_text(text.replace("THRESHOLD", threshold), encoding="utf-8")
        assert sendbench("run", "quick.yaml", folder=quick).returncode == code, threshold
    for choice, code in (("fail", 1), ("pass", 0)):  # of the last one
        done = sendbench("report", "--inconclusive", choice, "--format", "md", folder=quick)
        assert done.returncode == code


def test_how_an_inconclusive_run_ends_can_be_chosen(quick: Path) -> None:
    lines = "thresholds: ['p99.9(service) < 10s', 'p50(service) < THRESHOLD']\n"
    for limit, choice, code in (("10s", "fail", 1), ("10s", "pass", 0), ("1us", "pass", 1)):
        (quick / "quick.yaml").write_text(QUICK + lines.replace("THRESHOLD", limit), encoding="utf-8")
        done = sendbench("run", "quick.yaml", "--inconclusive", choice, folder=quick)
        assert done.returncode == code, (limit, choice)


def test_a_target_that_is_down_ends_with_3_and_a_report_that_says_so(quick: Path, free_port: int) -> None:
    done = sendbench("run", "generic", "--set", f"target=smtp://127.0.0.1:{free_port}", folder=quick)
    assert done.returncode == 3
    assert "connect" in done.stdout
    assert "0/200" in done.stdout
    assert "Traceback" not in done.stderr
    (rows,) = ({row["error"] for row in open_run(latest(quick)).table().to_pylist()},)
    assert rows == {"connect"}


@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_wrong_credentials_end_with_3_and_nothing_accepted(transport: str, quick: Path) -> None:
    text = QUICK.replace("transport: smtp", f"transport: {transport}")
    text += 'auth: {user: "${env:TEST_USER}", password: "${env:TEST_PASSWORD}"}\n'
    (quick / "quick.yaml").write_text(text, encoding="utf-8")
    secrets = {"TEST_USER": "somebody-else", "TEST_PASSWORD": "canary-7f3a9c-password"}
    done = sendbench("run", "quick.yaml", folder=quick, env=secrets)
    assert done.returncode == 3
    assert "auth" in done.stdout
    rows = open_run(latest(quick)).table().to_pylist()
    assert {row["error"] for row in rows if row["attempt"]} == {"auth"}
    assert sum(row["attempt"] for row in rows) < len(rows), "who is refused three times in a row stops asking"
    assert "credentials were refused 3 times in a row" in str(open_run(latest(quick)).manifest.reason)
    kept = b"".join(path.read_bytes() for path in latest(quick).iterdir())
    for canary in secrets.values():
        assert canary not in done.stdout + done.stderr
        assert canary.encode() not in kept


def test_a_bad_scenario_ends_with_2_in_one_line_and_makes_no_folder(quick: Path) -> None:
    (quick / "quick.yaml").write_text(QUICK.replace("connection:", "conection:"), encoding="utf-8")
    done = sendbench("run", "quick.yaml", folder=quick)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "quick.yaml:6:1: conection:" in done.stderr
    assert "connection" in done.stderr
    assert not (quick / "results").exists()


WATCHED = """\
import sys
def watch(event, arguments):
    if event.startswith("socket."):
        sys.stdout.write(f"{event} {arguments}\\n")
sys.addaudithook(watch)
from bench.cli import main
main()
"""


@pytest.mark.parametrize(
    "overrides",
    [
        ["target=smtp://192.0.2.1:25"],
        ["target=smtp://mail.example.com:587"],
        ["target=https://api.example.com/send", "tls=implicit"],
    ],
)
def test_a_public_target_ends_with_5_before_any_socket_is_opened(overrides: list[str], quick: Path) -> None:
    """Python reports every socket it makes, resolves a name for or connects to an audit hook."""
    arguments = ["run", "generic", *(word for each in overrides for word in ("--set", each))]
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCHED, *arguments],
        cwd=quick, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (quick / "results").exists()


def test_nothing_is_sent_when_one_of_several_scenarios_must_be_refused(quick: Path) -> None:
    text = QUICK.replace("target: mock", "target: smtp://192.0.2.1:25")
    (quick / "public.yaml").write_text(text, encoding="utf-8")
    assert sendbench("run", "quick.yaml", "public.yaml", folder=quick).returncode == 5
    assert not (quick / "results").exists()


def test_live_and_sandbox_targets_are_refused(quick: Path) -> None:
    for target in ("live", "sandbox"):
        done = sendbench(
            "run", "quick.yaml", "--set", f"target={target}", "--set", "transport=api", folder=quick
        )
        assert done.returncode == 5
        assert done.stderr.count("\n") == 1


def test_a_sandbox_that_does_not_exist_is_a_mistake(quick: Path) -> None:
    done = sendbench(
        "run", "quick.yaml", "--set", "target=sandbox", "--set", "provider=sendgrid", folder=quick
    )
    assert done.returncode == 2
    assert "SendGrid has no sandbox over SMTP; use transport: api" in done.stderr
    assert done.stderr.count("\n") == 1


# ------------------------------------------------------------------------- signals


def start_long_run(folder: Path) -> subprocess.Popen[str]:
    text = QUICK.replace("messages: 10", "messages: 100000") + "mock: {service_time: 20ms}\n"
    (folder / "quick.yaml").write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        command("run", "quick.yaml"),
        cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = folder / "results" / "latest" / "samples.log"
    wait_until(lambda: log.exists() and log.stat().st_size > 20_000, "rows in the log")
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_in_order_with_its_rows_kept(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = start_long_run(tmp_path)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    stored = open_run(latest(tmp_path))
    assert stored.manifest.state == "aborted"
    assert stored.recovery is None
    outcomes = stored.table().column("outcome").to_pylist()
    taken = stored.takes(0)
    assert taken is not None
    assert outcomes.count("accepted") == len(taken) > 0
    assert outcomes.count("unknown") == 0
    assert len(outcomes) == 100_002
    assert f"{outcomes.count('accepted') - 2}/100000" in stdout.replace(" ", "").replace(",", "")


def test_kill_9_loses_no_row_that_was_written(tmp_path: Path) -> None:
    process = start_long_run(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    done = sendbench("report", str(latest(tmp_path)), "--format", "json", "--out", "out", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    stored = open_run(latest(tmp_path))
    assert stored.manifest.state == "aborted"
    outcomes = stored.table().column("outcome").to_pylist()
    assert outcomes.count("accepted") > 0
    assert 0 < outcomes.count("unknown") <= 100
    mock_ended = latest(tmp_path) / "mock-000.jsonl"
    taken = {json.loads(line)["key"] for line in mock_ended.read_text().splitlines()}
    rows = stored.table().to_pylist()
    assert {row["key"] for row in rows if row["outcome"] == "accepted"} <= taken
    assert taken <= {row["key"] for row in rows if row["outcome"] in ("accepted", "unknown")}


# -------------------------------------------------------------- report and the rest


def test_a_report_is_made_from_the_folder_alone_and_is_always_the_same(quick: Path, tmp_path: Path) -> None:
    sendbench("run", "quick.yaml", folder=quick)
    elsewhere = tmp_path / "another machine"
    shutil.copytree(latest(quick), elsewhere / "copied")
    shutil.rmtree(quick / "results")
    outputs = []
    for name in ("one", "two"):
        done = sendbench("report", "copied", "--out", name, folder=elsewhere)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [
            f"{name}/{file}" for file in ("report.html", "report.md", "summary.json", "summary.csv")
        ]
        printed = sendbench("report", "copied", "--json", folder=elsewhere).stdout
        assert json.loads(printed) == json.loads((elsewhere / name / "summary.json").read_text())
        outputs.append([path.read_bytes() for path in sorted((elsewhere / name).iterdir())])
    assert outputs[0] == outputs[1]


def test_what_cannot_be_reported_on_is_said_in_one_line(tmp_path: Path) -> None:
    for arguments in (
        ("report",),
        ("report", "nowhere"),
        ("report", ".", "--format", "pdf"),
        ("run", "nosuch"),
    ):
        done = sendbench(*arguments, folder=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr


def test_compare_puts_two_runs_side_by_side(quick: Path) -> None:
    runs = []
    for _ in range(2):
        sendbench("run", "quick.yaml", folder=quick)
        runs.append(str(latest(quick)))
    done = sendbench("compare", *runs, folder=quick)
    assert done.returncode == 0, done.stderr
    assert "sendgrid/smtp/pooled" in done.stdout
    assert json.loads(sendbench("compare", *runs, "--json", folder=quick).stdout)
    assert sendbench("compare", folder=quick).stdout == done.stdout
    assert sendbench("compare", runs[0], folder=quick).returncode == 2


def test_plan_opens_no_socket_and_says_what_would_be_sent(quick: Path) -> None:
    done = sendbench("plan", "quick.yaml", "--json", folder=quick)
    (case,) = json.loads(done.stdout)["cases"]
    assert (case["messages"], case["round_trips"], case["leave_taking"]) == (12, 1, 0)
    assert "12 messages" in sendbench("plan", "quick.yaml", folder=quick).stdout


def test_plan_says_what_a_run_would_refuse(quick: Path) -> None:
    done = sendbench("plan", "quick.yaml", "--set", "target=smtp://192.0.2.1:25", folder=quick)
    assert done.returncode == 0
    assert "a run would be refused: target 192.0.2.1" in done.stdout


def test_certificates_that_are_not_checked_are_loud(quick: Path) -> None:
    done = sendbench("run", "quick.yaml", "--set", "tls.verify=false", folder=quick)
    assert done.returncode == 0, done.stderr
    assert "INSECURE" in done.stderr
    assert done.stdout.startswith("INSECURE")


def test_init_writes_a_scenario_that_validates_and_never_overwrites(tmp_path: Path) -> None:
    assert sendbench("init", "mine.yaml", folder=tmp_path).returncode == 0
    assert "ok, 6 cases" in sendbench("validate", "mine.yaml", folder=tmp_path).stdout
    text = (tmp_path / "mine.yaml").read_text()
    assert "name: mine\n" in text
    assert "schema.json" not in text
    assert "smtp-vs-api" not in text
    before = (tmp_path / "mine.yaml").read_bytes()
    assert sendbench("init", "mine.yaml", folder=tmp_path).returncode == 2
    assert (tmp_path / "mine.yaml").read_bytes() == before


def test_schema_is_the_one_that_ships(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "scenarios" / "schema.json"
    assert json.loads(sendbench("schema", folder=tmp_path).stdout) == json.loads(shipped.read_text())


def test_version_and_help(tmp_path: Path) -> None:
    assert sendbench("--version", folder=tmp_path).stdout.startswith("sendbench, version ")
    assert "Exit codes" in sendbench("--help", folder=tmp_path).stdout
    assert sendbench("run", folder=tmp_path).returncode == 2


# ---------------------------------------------------------------------------- mock


@contextmanager
def running_mock(folder: Path, *arguments: str) -> Iterator[dict[str, object]]:
    process = subprocess.Popen(
        command("mock", *arguments), cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_mock_says_where_it_is_and_logs_what_it_takes(tmp_path: Path) -> None:
    with running_mock(tmp_path, "smtp", "--provider", "sendgrid", "--log", "taken.jsonl") as ready:
        assert set(ready) == {"smtp", "api", "credentials", "ca_file", "log", "pid"}
        address, credentials = ready["smtp"], ready["credentials"]
        assert isinstance(address, dict)
        assert isinstance(credentials, dict)
        with smtplib.SMTP(address["host"], address["port"], timeout=10) as client:
            client.starttls(context=ssl.create_default_context(cafile=str(ready["ca_file"])))
            client.login(credentials["smtp"]["user"], credentials["smtp"]["password"])
            client.sendmail("a@example.org", "b@example.org", "X-Sendbench-Id: run-1\r\n\r\nbody\r\n")
    (line,) = (tmp_path / "taken.jsonl").read_text().splitlines()
    taken = json.loads(line)
    assert list(taken) == ["key", "received_ns", "taken_ns", "answered_ns"]
    assert taken["key"] == "run-1"
    assert taken["received_ns"] <= taken["taken_ns"] <= taken["answered_ns"]


def test_a_mock_listens_to_this_machine_alone_unless_told_otherwise(tmp_path: Path) -> None:
    done = sendbench("mock", "smtp", "--host", "0.0.0.0", folder=tmp_path)
    assert done.returncode == 5
    assert "--listen-any" in done.stderr


def test_a_scenario_can_be_run_against_a_mock_started_by_hand(tmp_path: Path) -> None:
    with running_mock(tmp_path, "api", "--provider", "generic", "--tls", "none") as ready:
        api, credentials = ready["api"], ready["credentials"]
        assert isinstance(api, dict)
        assert isinstance(credentials, dict)
        known = credentials["api"]["generic"]
        text = (
            f"version: 1\nname: byhand\ntarget: {api['generic']}\nprovider: generic\n"
            'auth: {user: "${env:TEST_USER}", password: "${env:TEST_PASSWORD}"}\n'
            "load: {model: closed, concurrency: 1, messages: 8}\n"
        )
        (tmp_path / "byhand.yaml").write_text(text, encoding="utf-8")
        env = {"TEST_USER": known["user"], "TEST_PASSWORD": known["password"]}
        done = sendbench("run", "byhand.yaml", "--json", folder=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["cases"][0]["counts"]["accepted"] == 8


def test_a_mock_serves_one_provider_at_its_own_paths_and_throttles(tmp_path: Path) -> None:
    arguments = ("api", "--provider", "smtpcom", "--tls", "none", "--at-root", "--rate-limit", "0.01/s")
    with running_mock(tmp_path, *arguments) as ready:
        api, credentials = ready["api"], ready["credentials"]
        assert isinstance(api, dict)
        assert isinstance(credentials, dict)
        assert list(api) == ["smtpcom"]
        assert api["smtpcom"].endswith("/v4")
        text = (
            f"version: 1\nname: byhand\ntarget: {api['smtpcom']}\nprovider: smtpcom\n"
            'auth: {password: "${env:TEST_PASSWORD}"}\n'
            "load: {model: closed, concurrency: 1, messages: 4, warmup: 0}\n"
        )
        (tmp_path / "byhand.yaml").write_text(text, encoding="utf-8")
        env = {"TEST_PASSWORD": credentials["api"]["smtpcom"]["password"]}
        done = sendbench("run", "byhand.yaml", "--json", folder=tmp_path, env=env)
        assert json.loads(done.stdout)["cases"][0]["counts"]["accepted"] == 1, done.stderr
        errors = [row["error"] for row in open_run(latest(tmp_path)).table().to_pylist()]
        assert errors.count("throttle") == 3


def test_a_wrong_rate_is_one_line(tmp_path: Path) -> None:
    done = sendbench("mock", "api", "--rate-limit", "fast", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_smtp_sink_by_the_command_of_the_readme(smtp_sink: SmtpSink, tmp_path: Path) -> None:
    done = sendbench(
        "run", "generic", "--set", f"target=smtp://{smtp_sink.host}:{smtp_sink.port}",
        "--set", "load.messages=20", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("20/20") == 2


# ----------------------------------------------------------------------- providers


def test_providers_prints_a_row_for_each_and_with_details_what_is_unconfirmed(tmp_path: Path) -> None:
    from bench.providers import PROVIDERS

    table = sendbench("providers", folder=tmp_path)
    assert table.returncode == 0, table.stderr
    rows = [line.split()[0] for line in table.stdout.splitlines() if line[1:2].islower()]
    assert rows == ["provider", *PROVIDERS]
    details = sendbench("providers", "--details", folder=tmp_path).stdout
    for provider in PROVIDERS.values():
        assert provider.title in details
        assert all(f"unconfirmed: {each}" in details for each in provider.facts.unconfirmed)


def test_plan_says_what_a_comparison_leaves_out_and_what_it_takes(tmp_path: Path) -> None:
    keys = {"SENDGRID_API_KEY": "SG.x", "RESEND_API_KEY": "re_x", "MAILTRAP_TOKEN": "t"}
    done = sendbench("plan", "compare-providers", folder=tmp_path, env=keys)
    assert done.returncode == 0, done.stderr
    assert "left out mailjet/smtp/pooled: Mailjet needs credentials: set MAILJET_API_KEY" in done.stdout
    assert "mailtrap/api/pooled" in done.stdout
    assert "to run it: --live --budget 1220 --confirm " in done.stdout
    assert not any(key in done.stdout for key in ("SG.x", "re_x"))
    refused = sendbench("run", "compare-providers", folder=tmp_path, env=keys)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (5, 1)
    assert not (tmp_path / "results").exists()
