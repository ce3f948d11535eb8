"""Every broken file gives one line that says where and what; `# expect: LINE | FIELD | TEXT` stands in it."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.errors import BenchError, ExitCode, RefusedError, ScenarioError
from bench.model import Case
from bench.providers import composer_for
from bench.scenario import load_scenario, shipped_scenarios

FOLDER = Path(__file__).parents[1] / "data" / "bad_scenarios"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "empty.yaml")


def sendable(case: Case) -> None:
    """What the command line hands to the loader: build the message as it would travel."""
    composer_for(case, "check", seed=0, date=datetime(2026, 1, 1, tzinfo=UTC))


def failure(path: Path, **options: object) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, environ={"HOME": "/home/someone"}, check=sendable, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_names_line_field_and_reason(path: Path) -> None:
    expectation = path.read_bytes().partition(b"\n")[0].decode().removeprefix("# expect: ")
    line, field, text = expectation.split(" | ", 2)
    error = failure(path)
    assert text in str(error)
    assert (error.line, error.field) == (int(line), "" if field == "-" else field)
    assert str(error).startswith(f"{path}:{line}:")
    assert "\n" not in str(error)
    assert error.exit_code == ExitCode.USAGE


def test_there_are_many() -> None:
    assert len(FILES) >= 100


def scenario(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(f"version: 1\nname: x\nload: {{model: closed, messages: 3}}\n{body}")
    return path


def test_empty_file() -> None:
    assert "the file is empty" in str(failure(FOLDER / "empty.yaml"))


def test_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in str(failure(tmp_path / "none.yaml"))


def test_each_message_is_built_once_for_each_way_it_travels(tmp_path: Path) -> None:
    matrix = "{transport: [smtp, api], connection: [pooled, unpooled], message.size: [5KiB, 10KiB]}"
    built: list[tuple[str, int | None]] = []
    load_scenario(
        scenario(tmp_path, f"matrix: {matrix}\n"),
        environ={},
        check=lambda case: built.append((case.transport.value, case.message.size_bytes)),
    )
    assert sorted(built) == [("api", 5120), ("api", 10240), ("smtp", 5120), ("smtp", 10240)]


def test_the_message_may_come_from_the_matrix_or_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_text("Subject: x\nno colon\n\nbody\n")
    (tmp_path / "b.eml").write_text("Subject: x\n\nbody\n")
    error = failure(scenario(tmp_path, "matrix: {message.file: [b.eml, a.eml]}\n"))
    assert (error.line, error.field) == (4, "matrix.message.file[1]")
    error = failure(scenario(tmp_path, ""), overrides=[f"message.file={tmp_path / 'a.eml'}"])
    assert str(error).startswith("--set message.file: not a mail message")


def test_folder_instead_of_file(tmp_path: Path) -> None:
    assert "cannot read" in str(failure(tmp_path))


def test_file_of_more_than_a_mebibyte(tmp_path: Path) -> None:
    path = scenario(tmp_path, "#" * (1 << 20))
    assert "longer than 1 MiB" in str(failure(path))


def test_more_than_ten_thousand_values(tmp_path: Path) -> None:
    path = scenario(tmp_path, "description: [" + "x," * 10_001 + "]\n")
    assert "more than 10000 values" in str(failure(path))


def test_depth_of_a_million_is_refused_at_once(tmp_path: Path) -> None:
    path = scenario(tmp_path, "description: " + "[" * 900_000)
    assert "nested deeper than 32 levels" in str(failure(path))


def test_huge_numbers_are_no_numbers(tmp_path: Path) -> None:
    path = scenario(tmp_path, "pool: {size: " + "9" * 100_000 + "}\n")
    error = failure(path)
    assert error.field == "pool.size"
    assert len(str(error)) < 1000


def test_errors_are_told_in_file_order_and_counted(tmp_path: Path) -> None:
    path = scenario(tmp_path, "network: {rtt: 5}\npool: {size: -1}\nconnection: kept\n")
    error = failure(path)
    assert error.line == 4
    assert str(error).endswith("(and 2 more)")


def test_one_fault_in_every_case_of_a_matrix_is_one_error(tmp_path: Path) -> None:
    path = scenario(tmp_path, "network: {rtt: 5}\nmatrix: {transport: [smtp, api]}\n")
    assert "more)" not in str(failure(path))


def test_misspelt_key_is_told_before_the_key_it_leaves_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("verson: 1\nname: x\nload: {model: closed, messages: 3}\n")
    assert "did you mean version?" in str(failure(path))


def test_secret_never_in_the_message(tmp_path: Path) -> None:
    for body in (
        "auth: {password: hunter2-canary}\n",
        "auth: {user: u, password: {a: hunter2-canary}}\n",
        "target: smtp://user:hunter2-canary@127.0.0.1\n",
        "password: hunter2-canary\n",
        "matrix: {auth.password: [hunter2-canary]}\n",
    ):
        assert "canary" not in str(failure(scenario(tmp_path, body)))


def test_symlinked_folder_does_not_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "m.eml").write_text("Subject: x\n\ny\n")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    path = scenario(inside, "message: {file: link/m.eml}\n")
    assert "leads out" in str(failure(path))


def test_secret_file_that_others_may_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-canary\n")
    secret.chmod(0o644)
    error = failure(scenario(tmp_path, 'auth: {password: "${file:secret}"}\n'))
    assert "chmod 600" in str(error)
    assert "canary" not in str(error)


def test_device_instead_of_a_file(tmp_path: Path) -> None:
    error = failure(scenario(tmp_path, 'auth: {password: "${file:/dev/zero}"}\n'))
    assert "not a regular file" in str(error)


def test_credentials_in_clear_text_off_this_machine_are_refused(tmp_path: Path) -> None:
    path = scenario(tmp_path, 'target: smtp://192.0.2.1\ntls: none\nauth: {user: u, password: "${env:P}"}\n')
    with pytest.raises(RefusedError, match="without TLS") as caught:
        load_scenario(path, environ={"P": "p"})
    assert caught.value.exit_code == ExitCode.REFUSED
    assert f"{path}:6:" in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_credentials_in_clear_text_on_this_machine_are_allowed(tmp_path: Path, host: str) -> None:
    path = scenario(tmp_path, f'target: smtp://{host}:25\ntls: none\nauth: {{password: "${{env:P}}"}}\n')
    assert load_scenario(path, environ={"P": "p"}).cases[0].auth is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("network.rtt", "KEY=VALUE"),
        ("=5", "KEY=VALUE"),
        ("network..rtt=5ms", "KEY=VALUE"),
        ("network.rtt=5", "has no unit"),
        ("network.rrt=5ms", "did you mean rtt?"),
        ("network.rtt=&a 5ms", "anchors are not allowed"),
        ("network.rtt=[5ms", "not valid YAML"),
        ("load.messages=", "has no value"),
        ("auth.password=hunter2", "must not stand in a scenario"),
        ("name=other", "cannot be set"),
        ("matrix.rtt=[5ms]", "did you mean network.rtt?"),
        ("thresholds=[p95]", "is not a threshold"),
    ],
)
def test_errors_of_set_name_the_key(tmp_path: Path, text: str, reason: str) -> None:
    error = failure(scenario(tmp_path, ""), overrides=[text])
    assert reason in str(error)
    assert str(error).startswith("--set ")
    assert "\n" not in str(error)


def test_set_below_a_section_the_matrix_varies_has_no_effect(tmp_path: Path) -> None:
    path = scenario(tmp_path, "matrix: {tls: [none, implicit]}\n")
    assert "has no effect" in str(failure(path, overrides=["tls.verify=false"]))


@pytest.mark.parametrize(
    "body",
    [
        '"a\\nb": 1\n"a\\nb": 2\n',
        '"a\\eb": 1\n',
        "description: !%0a%1b x\n",
        'profiles: {"a\\nb": {x: 1}}\n',
        'matrix: {"a\\nb": [1]}\n',
    ],
)
def test_keys_with_control_characters_stay_on_one_line(tmp_path: Path, body: str) -> None:
    assert str(failure(scenario(tmp_path, body))).isprintable()


def test_unknown_profile(tmp_path: Path) -> None:
    path = scenario(tmp_path, "profiles: {quick: {load: {messages: 1}}}\n")
    assert "did you mean quick?" in str(failure(path, profile="quik"))
    assert "it has none" in str(failure(scenario(tmp_path, ""), profile="quick"))


def test_mutilated_scenarios_never_end_in_another_exception(tmp_path: Path) -> None:
    """Bytes changed, cut and repeated at random: a scenario, or one line of error."""
    rng = random.Random(7)
    sources = [path.read_bytes() for path in shipped_scenarios().values()]
    path = tmp_path / "x.yaml"
    for _ in range(250):
        data = bytearray(rng.choice(sources))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] = rng.choice(b"{}[]:,-#&*!|>'\"%@`\n\t 0aZ\xff\x00")
            elif kind == 1:
                del data[at : at + rng.randint(1, 30)]
            else:
                data[at:at] = data[at : at + rng.randint(1, 30)]
        path.write_bytes(data)
        assert "\n" not in outcome(path)


def outcome(path: Path) -> str:
    try:
        return load_scenario(path, environ={}, check=sendable).name
    except BenchError as error:
        return str(error)
