"""The fixture `sendbench` in a test suite of somebody else's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
(SUITE,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "def test_" in block]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def outcome(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Of the suite, with the plugin of this tree in the place of one that is installed."""
    return suite.runpytest_subprocess("-p", "no:sendbench", "-p", "bench.pytest_plugin", "-rs", *options)


def test_the_suite_of_the_page(suite: pytest.Pytester) -> None:
    suite.makepyfile(SUITE)
    outcome(suite).assert_outcomes(passed=2)


def test_what_is_not_met_fails_and_says_why(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import time

        def test_run(sendbench):
            sendbench.run("smoke", overrides={"load.messages": 80}).require("p50(service) < 1us")

        def test_calls(sendbench):
            sendbench.gate_calls(lambda: time.sleep(.0005), lambda: time.sleep(.001), count=300).require()

        def test_assertion():
            assert 1 == 2
        """
    )
    done = outcome(suite)
    done.assert_outcomes(failed=3)
    done.stdout.fnmatch_lines(
        ["*NotMetError: p50(service) < 1us: *", "*NotMetError: REGRESSION: head against base: *"]
    )


INCONCLUSIVE = """
    def test_few(sendbench):
        sendbench.gate_calls(lambda: None, lambda: None, count=20).require()
        raise RuntimeError("goes on")
"""


def test_an_inconclusive_verdict_skips_with_its_reason(suite: pytest.Pytester) -> None:
    suite.makepyfile(INCONCLUSIVE)
    done = outcome(suite)
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED*20 messages a variant are too few to compare*"])


@pytest.mark.parametrize("way", ["option", "ini"])
def test_an_inconclusive_verdict_can_be_made_to_fail(suite: pytest.Pytester, way: str) -> None:
    suite.makepyfile(INCONCLUSIVE)
    if way == "ini":
        suite.makeini("[pytest]\nsendbench_inconclusive = fail\n")
    outcome(suite, *(["--sendbench-inconclusive=fail"] if way == "option" else [])).assert_outcomes(failed=1)


def test_the_command_line_goes_before_the_ini_file(suite: pytest.Pytester) -> None:
    suite.makepyfile(INCONCLUSIVE)
    suite.makeini("[pytest]\nsendbench_inconclusive = fail\n")
    outcome(suite, "--sendbench-inconclusive=skip").assert_outcomes(skipped=1)


def test_an_invalid_run_always_fails(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_nobody_there(sendbench):
            options = {"target": "smtp://127.0.0.1:9", "matrix.transport": "smtp", "tls": "none"}
            sendbench.run("smoke", overrides=options).require("share(failed) >= 0%")
        """
    )
    done = outcome(suite)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*InvalidRunError: *says nothing*"])


def test_an_ini_file_that_says_neither(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test(): pass")
    suite.makeini("[pytest]\nsendbench_inconclusive = maybe\n")
    done = outcome(suite)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*'maybe' is neither skip nor fail*"])


def test_runs_are_kept_in_the_folder_of_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test(sendbench, tmp_path):
            assert sendbench.run("smoke").path.parent == tmp_path / "sendbench"
        """
    )
    outcome(suite).assert_outcomes(passed=1)
    assert not (suite.path / "results").exists()


def test_a_suite_that_does_not_ask_pays_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import sys

        def test():
            loaded = {name.split(".")[0] for name in sys.modules}
            assert not loaded & {"numpy", "pandas", "anyio", "pyarrow"}
            assert "bench.python" not in sys.modules
        """
    )
    outcome(suite, "-p", "no:anyio").assert_outcomes(passed=1)
