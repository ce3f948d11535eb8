"""The judging of `make gate` on planted numbers, and what it compares with; the real thing takes minutes."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bench.model import Verdict
from tests.gate import itself
from tests.gate.itself import (
    Figures,
    Pair,
    base_of,
    copy,
    export,
    figures,
    judged,
    measured,
    shift,
    signed_ranks,
)
from tests.peers.compare import Ended, HarnessError


def planted(
    cpu: float, *, pairs: int = 20, times: float = 1.0, seed: int = 1, noise: float = 0.03
) -> list[Pair]:
    """Runs on a machine that drifts, with outliers; the second of a pair is so many times as dear."""
    rng = np.random.default_rng(seed)
    drift = np.exp(rng.normal(0, 0.01, pairs).cumsum() * 3)

    def run(level: float, factor: dict[str, float]) -> Figures:
        late = 1 + rng.exponential(0.5) * (rng.random() < 0.05)
        return {
            name: size * level * late * factor.get(name, times) * float(np.exp(rng.normal(0, noise)))
            for name, size in (("CPU per message", 60.0), ("p50", 1.0), ("p95", 1.6))
        }

    return [
        (run(level, {"CPU per message": 1.0, "p50": 1.0, "p95": 1.0}), run(level, {"CPU per message": cpu}))
        for level in drift
    ]


def test_a_tenth_more_cpu_is_a_regression() -> None:
    verdicts = [judged(planted(1.10, seed=seed)).verdict for seed in range(40)]
    assert verdicts.count(Verdict.REGRESSION) >= 36


def test_the_cpu_alone_is_named() -> None:
    found = judged(planted(1.10))
    assert found.verdict is Verdict.REGRESSION
    (reason,) = found.reasons
    assert reason.startswith("CPU per message")
    cpu = found.ratios[0]
    assert (cpu.low or 0) <= 1.10 <= (cpu.high or 0)
    assert "is found 95 times of 100" in itself.lines(planted(1.10), found)[0]


def test_alike_trees_are_no_regression() -> None:
    verdicts = [judged(planted(1.0, seed=seed)).verdict for seed in range(200)]
    assert verdicts.count(Verdict.REGRESSION) <= 7  # 2 expected at the most
    quiet = [judged(planted(1.0, seed=seed, noise=0.01)).verdict for seed in range(20)]
    assert quiet.count(Verdict.PASS) >= 15


def test_a_noisy_machine_shows_nothing() -> None:
    assert judged(planted(1.0, pairs=10, noise=0.3)).verdict is Verdict.INCONCLUSIVE


def test_slower_messages_at_the_same_cpu_are_a_regression_too() -> None:
    assert judged(planted(1.0, times=1.25)).verdict is Verdict.REGRESSION


def test_ten_pairs_can_show_it() -> None:
    assert judged(planted(1.2, pairs=itself.LEAST_PAIRS, noise=0.01)).verdict is Verdict.REGRESSION


def test_signed_ranks_are_those_of_the_textbook() -> None:
    assert list(signed_ranks(np.array([0.5, -0.1, 0.3, -0.3]))) == [4.0, -1.0, 2.5, -2.5]


def test_the_interval_is_that_of_all_flips() -> None:
    values = np.array([0.11, 0.02, 0.07, -0.03, 0.09, 0.05, 0.13, 0.01, 0.06, 0.04])
    flips = np.array(list(itertools.product((-1, 1), repeat=len(values))))

    def accepted(at: float) -> bool:
        ranks = signed_ranks(values - at)
        sums = flips @ np.abs(ranks)
        return bool(min((sums >= ranks.sum()).mean(), (sums <= ranks.sum()).mean()) > 0.025)

    grid = np.arange(-0.05, 0.15, 0.0005)
    inside = [at for at in grid if accepted(float(at))]
    estimate, low, high = shift(values)
    assert (low, high) == pytest.approx((inside[0], inside[-1]), abs=0.006)
    assert low < estimate < high


def test_pairs_are_in_random_order_and_an_invalid_one_is_taken_anew() -> None:
    order, answers = list[str](), iter([None])

    def side(name: str) -> Figures | None:
        order.append(name)
        return next(answers, {"p50": 1.0})

    pairs = measured(lambda: side("base"), lambda: side("head"), 20, random.Random(1))
    assert len(pairs) == 20
    assert len(order) == 42
    turns = [tuple(order[at : at + 2]) for at in range(0, 42, 2)]
    assert set(turns) == {("base", "head"), ("head", "base")}
    with pytest.raises(HarnessError, match="too busy"):
        measured(lambda: None, lambda: None, 3, random.Random(1))


def answer(accepted: int = 1000, *, valid: bool = True) -> Ended:
    case = {
        "counts": {"accepted": accepted},
        "generator": {"valid": valid, "cpu_us_per_message": 61.5},
        "service": {"p50": {"value_ms": 1.5}, "p95": {"value_ms": 2.5}},
    }
    return Ended(0, 1.0, 1.0, json.dumps({"cases": [case]}), "boom")


def test_a_runs_figures_are_its_own_account() -> None:
    assert figures(answer(), 1000) == {"CPU per message": 61.5, "p50": 1.5, "p95": 2.5}
    assert figures(answer(valid=False), 1000) is None
    with pytest.raises(HarnessError, match="999 messages"):
        figures(answer(999), 1000)
    with pytest.raises(HarnessError, match="answered nothing: boom"):
        figures(Ended(2, 0.0, 0.0, "", "boom"), 1000)


def test_the_base_is_where_the_branch_left_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def git(*words: str) -> str:
        own = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", *own, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(text: str) -> str:
        (tmp_path / "bench/a.py").write_text(text, encoding="utf-8")
        git("add", "-A")
        git("commit", "-qm", text)
        return git("rev-parse", "HEAD")

    git("init", "-qb", "main")
    for name in itself.PACKAGE:
        path = tmp_path / name
        if path.suffix or name == "LICENSE":
            path.write_text(name, encoding="utf-8")
        else:
            path.mkdir()
            (path / "kept").write_text(name, encoding="utf-8")
    first, second = commit("1"), commit("2")
    assert base_of(None) == first
    (tmp_path / "bench/a.py").write_text("changed", encoding="utf-8")
    assert base_of(None) == second
    git("switch", "-qc", "mine")
    commit("3")
    assert base_of(None) == second
    assert base_of("HEAD~2") == first
    with pytest.raises(HarnessError, match="nowhere"):
        base_of("nowhere")
    assert (export(first, tmp_path / "old") / "bench/a.py").read_text(encoding="utf-8") == "1"
    assert (copy(tmp_path / "new") / "bench/a.py").read_text(encoding="utf-8") == "3"


def test_too_few_pairs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert itself.main(["--pairs", "9"]) == 2
    assert "at least 10 pairs" in capsys.readouterr().err
