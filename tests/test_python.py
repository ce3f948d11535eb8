"""The Python API as its page shows it, and where it must refuse."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import bench
from bench.errors import InvalidRunError, RefusedError, ScenarioError, UsageError
from bench.mock.process import mock_process
from bench.mock.spec import MockSpec
from bench.model import ServiceTime, TlsMode, Verdict
from bench.python import InconclusiveError
from tests.integration.peers import unused_ports

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SCRIPTS = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "def test_" not in block]

QUICK = """\
version: 1
name: quick
transport: smtp
tls: none
load: {model: closed, concurrency: 2, messages: 100, warmup: 2}
thresholds: [p95(service) < 2s]
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go below the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    path = tmp_path / "quick.yaml"
    path.write_text(QUICK, encoding="utf-8")
    return path


# ------------------------------------------------------------------------ the page


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_what_the_page_shows(script: str) -> None:
    assert len(SCRIPTS) == 4
    with (
        contextlib.suppress(InconclusiveError),  # where the machine is too busy to tell
        contextlib.redirect_stdout(io.StringIO()),
    ):
        exec(compile(script, "python.md", "exec"), {})


def test_importing_the_package_is_light() -> None:
    code = "import bench, sys; print([name for name in sys.modules if name.startswith(('bench', 'numpy'))])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "['bench']\n"
    assert callable(bench.run)
    with pytest.raises(AttributeError, match="no attribute 'gates'"):
        bench.gates  # noqa: B018


# ------------------------------------------------------------------------------ run


def test_a_run_with_its_figures_and_nothing_on_stdout(quick: Path, capfd: pytest.CaptureFixture[str]) -> None:
    interval = sys.getswitchinterval()
    run = bench.run(quick, results="mine", seed=7, overrides={"load.messages": 80})
    assert capfd.readouterr() == ("", "")
    assert sys.getswitchinterval() == interval
    assert run.verdict == "pass"
    assert run.path.parent == Path("mine")
    assert run.summary.run.seed == 7
    assert (len(run.samples), run.summary.cases[0].counts.accepted) == (82, 80)
    assert (run.path / "summary.json").exists()
    assert run.require() is run


def test_what_is_required_and_does_not_hold(quick: Path) -> None:
    run = bench.run(quick)
    assert run.require("p50(service) < 2s", "share(accepted) >= 90%") is run
    with pytest.raises(
        bench.NotMetError, match=r"p50\(service\) < 1us: .* ms .*\(generic/smtp/pooled\)\nrun: "
    ):
        run.require("p50(service) < 2s", "p50(service) < 1us")
    with pytest.raises(bench.InconclusiveError, match="p99 needs 368 messages and the case has 100"):
        run.require("p99(service) < 2s")
    with pytest.raises(bench.InconclusiveError, match="no case of this run matches it"):
        run.require("p50(service) < 2s where transport=api")
    with pytest.raises(UsageError, match="is not a threshold"):
        run.require("fast")
    assert issubclass(bench.NotMetError, AssertionError)


def test_the_scenarios_own_thresholds(quick: Path) -> None:
    quick.write_text(QUICK.replace("2s", "1us"), encoding="utf-8")
    run = bench.run(quick)
    assert run.verdict == "fail"
    with pytest.raises(bench.NotMetError, match=r"p95\(service\) < 1us"):
        run.require()
    assert run.require("p95(service) < 2s") is run, "what is asked for stands in their place"


def test_an_invalid_run_meets_nothing(quick: Path) -> None:
    (port,) = unused_ports(1)
    run = bench.run(quick, overrides={"target": f"smtp://127.0.0.1:{port}", "load.messages": 5})
    assert run.verdict == "invalid"
    for wanted in ((), ("share(failed) >= 0%",)):
        with pytest.raises(InvalidRunError, match="says nothing"):
            run.require(*wanted)


def test_what_the_command_line_would_refuse(quick: Path) -> None:
    with pytest.raises(ScenarioError, match="netwrok"):
        bench.run(quick, overrides={"netwrok.rtt": "5ms"})
    with pytest.raises(UsageError, match="nowhere"):
        bench.run("nowhere")
    with pytest.raises(RefusedError):
        bench.run(quick, overrides={"target": "smtp://192.0.2.1:25", "tls": "starttls"})
    assert not Path("results").exists()


def test_in_a_running_event_loop(quick: Path) -> None:
    async def main() -> None:
        for call in (bench.run, bench.gate):
            with pytest.raises(UsageError, match=f"await asyncio.to_thread\\(bench.{call.__name__}, ...\\)"):
                call(quick)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        other = asyncio.create_task(tick())
        run = await asyncio.to_thread(bench.run, quick)
        other.cancel()
        assert run.verdict == "pass"
        assert ticks > 10, "the loop was held up"

    asyncio.run(main())


# ----------------------------------------------------------------------------- gate


def against(quick: Path, base_ms: int, head_ms: int, limits: dict[str, float]) -> bench.Judgement:
    """The verdict on two servers that take so long to decide."""
    base, head = unused_ports(2)

    def spec(port: int, service_ms: int) -> MockSpec:
        return MockSpec(
            kind="smtp",
            port=port,
            tls=TlsMode.NONE,
            auth_mechanisms=(),
            service_time=ServiceTime(p50_ns=service_ms * 1_000_000),
        )

    async def main() -> bench.Judgement:
        async with mock_process(spec(base, base_ms)), mock_process(spec(head, head_ms)):
            targets = [f"smtp://127.0.0.1:{port}" for port in (base, head)]
            return await asyncio.to_thread(
                lambda: bench.gate(
                    quick, base=targets[0], head=targets[1], limits=limits, overrides={"load.messages": 300}
                )
            )

    return anyio.run(main)


def test_two_servers_of_which_the_second_is_slower(quick: Path) -> None:
    found = against(quick, 10, 20, {})
    assert found.verdict is Verdict.REGRESSION
    assert found.run is not None
    assert "slower" in found.words[0]
    assert "are found 95 times of 100" in found.words[1]
    with pytest.raises(bench.NotMetError, match="REGRESSION"):
        found.require()
    with pytest.raises(bench.NotMetError, match="REGRESSION"):
        found.run.require()


def test_two_servers_of_which_the_second_is_faster(quick: Path) -> None:
    found = against(quick, 20, 10, {"p95": 1.0})
    assert found.verdict is Verdict.PASS
    assert found.require() is found
    assert found.comparisons[0].pairs[0].ratios[0].high is not None


def test_a_slowdown_that_is_allowed(quick: Path) -> None:
    found = against(quick, 10, 12, {"p50": 4.0, "p95": 30.0})
    assert found.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs compare:"),
        ({"base": "smtp://127.0.0.1:25"}, "base and head go together"),
        ({"overrides": {"compare": "connection", "matrix.connection": ["pooled", "unpooled"]}}, "p51"),
        ({"overrides": {"compare": "connection", "matrix.connection": ["pooled", "unpooled"]}}, "p51: nan"),
    ],
)
def test_what_cannot_be_gated(quick: Path, options: dict[str, object], words: str) -> None:
    limits = {"p51": float("nan") if "nan" in words else 0.1} if "p51" in words else None
    with pytest.raises(UsageError, match=words):
        bench.gate(quick, limits=limits, **options)  # type: ignore[arg-type]
    assert not Path("results").exists()


# ----------------------------------------------------------------------- gate_calls


def sleeper(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def test_functions_are_called_in_pairs_in_random_order() -> None:
    said: list[str] = []
    bench.gate_calls(lambda: said.append("base"), lambda: said.append("head"), count=300, warmup=10, seed=1)
    pairs = [tuple(said[at : at + 2]) for at in range(0, len(said), 2)]
    assert len(pairs) == 310
    assert 100 < pairs.count(("base", "head")) < 210
    assert set(pairs) == {("base", "head"), ("head", "base")}


def test_a_slower_function_is_a_regression() -> None:
    found = bench.gate_calls(sleeper(0.0005), sleeper(0.001), count=300)
    assert found.verdict is Verdict.REGRESSION
    assert found.words[0].startswith("REGRESSION: head against base: p50 ")
    assert found.run is None


def test_a_faster_function_passes() -> None:
    found = bench.gate_calls(sleeper(0.001), sleeper(0.0005), count=300, limits={"p95": 5.0})
    assert found.verdict is Verdict.PASS


def test_too_few_calls_are_inconclusive() -> None:
    found = bench.gate_calls(sleeper(0), sleeper(0.001), count=50)
    assert found.verdict is Verdict.INCONCLUSIVE
    with pytest.raises(bench.InconclusiveError, match="50 messages a variant are too few"):
        found.require()


def test_what_a_function_raises_is_raised_and_an_awaitable_is_no_result() -> None:
    with pytest.raises(ZeroDivisionError):
        bench.gate_calls(lambda: 1 / 0, lambda: None)

    async def later() -> None:
        pass

    with pytest.raises(UsageError, match="later returns an awaitable"):
        bench.gate_calls(later, later)
    for wrong in ({"count": 0}, {"warmup": -1}, {"limits": {"p95": -0.1}}):
        with pytest.raises(UsageError):
            bench.gate_calls(later, later, **wrong)
