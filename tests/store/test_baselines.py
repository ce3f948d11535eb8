"""Stored baselines: what comes back is what was kept, and what nobody of ours wrote is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import ResultFormatError, UsageError
from bench.model import MEASUREMENT, Baseline, BaselineRun, Manifest
from bench.store import baselines

FACTS = {
    "machine": "AMD EPYC 7B13, 2 cores",
    "kernel": "Linux 6.1.0-18-amd64",
    "python": "CPython 3.11.2",
    "sendbench": "0.1.0, compiled",
    "event_loop": "uvloop 0.22.1",
    "timer": "timerfd",
}
MACHINE = baselines.machine_of(FACTS)
CLASS = baselines.class_name(MACHINE)


def run(number: int, cases: int = 1) -> BaselineRun:
    at = f"2026-11-{1 + number // 24:02d}T{number % 24:02d}:00:00.000+00:00"
    return BaselineRun(f"run-{number:03d}", at, "0123456789ab", ((20.125, 31.5, None, 0.0025),) * cases)


def baseline(runs: int = 3, cases: int = 1) -> Baseline:
    names = {f"sendgrid/smtp/pooled/network.rtt={number}ms": "service" for number in range(cases)}
    kept = tuple(run(number, cases) for number in range(runs))
    return Baseline("smoke", "0123456789abcdef", MEASUREMENT, MACHINE, names, kept)


def by_id(*runs: BaselineRun) -> dict[str, BaselineRun]:
    return {each.id: each for each in runs}


def manifest(**changes: object) -> Manifest:
    whole = Manifest(
        "run-1", "smoke", "", {}, "complete", None, "", 0, 0, "0.1.0", FACTS, (), (), measurement=MEASUREMENT
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return baselines.path_of(tmp_path, CLASS, "smoke")


# ------------------------------------------------------------------------ machines


def test_a_class_of_machines_is_what_times_depend_on() -> None:
    assert dict(MACHINE) == {
        "machine": "AMD EPYC 7B13, 2 cores",
        "kernel": "Linux 6",
        "python": "CPython 3.11",
        "form": "compiled",
        "event_loop": "uvloop",
        "timer": "timerfd",
    }
    assert CLASS.startswith("amd-epyc-7b13-2-cores-")


@pytest.mark.parametrize(
    ("fact", "value", "same"),
    [
        ("kernel", "Linux 6.12.3", True),
        ("python", "CPython 3.11.14", True),
        ("sendbench", "0.2.0, compiled", True),
        ("event_loop", "uvloop 0.23", True),
        ("machine", "AMD EPYC 7B13, 4 cores", False),
        ("kernel", "Linux 7.0.1", False),
        ("python", "CPython 3.12.2", False),
        ("sendbench", "0.1.0, plain Python", False),
        ("event_loop", "asyncio", False),
        ("timer", "call_at", False),
    ],
)
def test_what_makes_another_class(fact: str, value: str, same: bool) -> None:
    other = baselines.class_name(baselines.machine_of({**FACTS, fact: value}))
    assert (other == CLASS) is same


def test_a_run_that_does_not_say_where_it_was_made() -> None:
    with pytest.raises(ResultFormatError, match="no machine, timer"):
        baselines.machine_of(
            {name: value for name, value in FACTS.items() if name not in ("machine", "timer")}
        )


@pytest.mark.parametrize("name", ["../../etc", "", "a/b", "-rf", "A", "x" * 65, "a\n"])
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        baselines.path_of(tmp_path, CLASS, name)
    with pytest.raises(UsageError):
        baselines.path_of(tmp_path, f"{name}/", "smoke")


# ----------------------------------------------------------------- keeping and reading


def test_what_is_read_is_what_was_written(path: Path) -> None:
    baselines.write(path, baseline())
    assert baselines.read(path) == baseline()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(baselines.stored(path.parents[2])) == [(CLASS, path)]


def test_a_run_more_is_a_line_more(path: Path) -> None:
    before = baselines.encoded(baseline(3)).decode().splitlines()
    after = baselines.encoded(baseline(4)).decode().splitlines()
    assert len(after) == len(before) + 1


def test_the_newest_are_kept_in_the_order_of_their_beginning() -> None:
    kept = baselines.joined(baseline(39), by_id(run(45), run(41)))
    assert [each.id for each in kept.runs] == [f"run-{number:03d}" for number in (*range(1, 39), 41, 45)]


def test_the_size_is_capped_and_the_oldest_go_first(path: Path) -> None:
    whole = baselines.joined(replace(baseline(0, cases=60), runs=()), by_id(*(run(n, 60) for n in range(40))))
    assert 10 <= len(whole.runs) < 40
    assert whole.runs[-1].id == "run-039"
    baselines.write(path, whole)
    assert path.stat().st_size <= baselines.MAX_BYTES


def test_so_many_cases_that_not_one_run_has_room(path: Path) -> None:
    with pytest.raises(UsageError, match="larger than 50 kB"):
        baselines.write(path, baselines.joined(baseline(0, 1000), by_id(run(1, 1000))))
    assert not path.exists()


def test_a_run_is_in_it_once() -> None:
    with pytest.raises(UsageError, match="run-002 is in the baseline already"):
        baselines.joined(baseline(3), by_id(run(2)))


def test_a_run_that_lost_a_percentile_is_no_yardstick() -> None:
    lossy = replace(run(7), figures=((20.0, 30.0, math.inf, 0.02),))
    with pytest.raises(UsageError, match="no yardstick"):
        baselines.joined(baseline(3), by_id(lossy))


# ------------------------------------------------------------------- what is the same


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measurement": MEASUREMENT + 1}, "definition"),
        ({"config_hash": "other"}, "not as the baseline has it"),
        ({"cases": {"sendgrid/api/pooled": "service"}}, "not as the baseline has it"),
        ({"machine": baselines.machine_of({**FACTS, "timer": "call_at"})}, "another class of machines"),
    ],
    ids=["measurement", "scenario", "cases", "machine"],
)
def test_what_is_not_the_same_is_refused(changes: dict[str, object], words: str) -> None:
    kind = replace(baseline(0), **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=words):
        baselines.check_same(baseline(), kind, "run-9")


@pytest.mark.parametrize("measurement", [0, MEASUREMENT - 1, MEASUREMENT + 1])
def test_a_run_under_another_definition_of_the_figures_is_refused(measurement: int) -> None:
    with pytest.raises(UsageError, match=f"definition {measurement} of the figures"):
        baselines.begun(manifest(measurement=measurement), {"a": "service"})
    assert baselines.begun(manifest(), {"a": "service"}).measurement == MEASUREMENT


def test_every_entry_that_changes_what_is_measured_is_a_definition_of_its_own() -> None:
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = [part for part in text.split("\n### ") if part.startswith("Changes what is measured")]
    assert sum(part.split("\n## ")[0].count("\n- ") for part in sections) == MEASUREMENT


# -------------------------------------------------------------------- from strangers


def spoiled(change: Callable[[dict[str, object]], object]) -> bytes:
    data = json.loads(baselines.encoded(baseline()))
    change(data)
    return json.dumps(data).encode()


def set_figures(*figures: object) -> Callable[[dict[str, object]], object]:
    return lambda data: data["runs"][0].update(figures=[list(figures)])  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Expecting value"),
        (b"[]", "not a baseline"),
        (b"{}", "not a baseline"),
        (b"\xff{}", "decode"),
        (b"[" * 40_000, "nested too deeply"),
        (b" " * 60_000, "larger than any baseline"),
        (baselines.encoded(baseline()).replace(b"20.125", b"NaN"), "NaN is not JSON"),
        (baselines.encoded(baseline()).replace(b"20.125", b"1e999"), "a time that is none"),
        (spoiled(lambda data: data.update(schema="sendbench.baseline/2")), "not a baseline"),
        (spoiled(lambda data: data.update(more=1)), "keys that no baseline has"),
        (spoiled(lambda data: data["runs"][0].update(more=1)), "keys that no baseline has"),  # type: ignore[index]
        (spoiled(lambda data: data.update(scenario="other")), "not what its name says"),
        (spoiled(lambda data: data.update(cases={})), "at least one"),
        (spoiled(lambda data: data.update(cases={"a": "speed"})), "latency or service"),
        (spoiled(lambda data: data.update(cases={"\x1b[2J": "service"})), "not printable"),
        (spoiled(lambda data: data["machine"].update(machine="x")), "another class"),  # type: ignore[attr-defined]
        (spoiled(lambda data: data["machine"].pop("timer")), "not what its name says"),  # type: ignore[attr-defined]
        (spoiled(lambda data: data["runs"].append(data["runs"][0])), "one of them twice"),  # type: ignore[attr-defined, index]
        (spoiled(set_figures(20.0, 30.0, None)), "3 items instead of 4"),
        (spoiled(set_figures(-1.0, 30.0, None, 0.0)), "a time that is none"),
        (spoiled(set_figures(20.0, 30.0, None, 1.5)), "a share that is none"),
        (spoiled(set_figures(True, 30.0, None, 0.0)), "is not a number"),
        (spoiled(lambda data: data["runs"][0].update(figures=[])), "not a line of figures"),  # type: ignore[index]
    ],
)
def test_what_no_sendbench_wrote_is_refused(content: bytes, words: str, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ResultFormatError, match=words):
        baselines.read(path)


def test_a_folder_in_the_place_of_a_file(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ResultFormatError, match="cannot be read"):
        baselines.read(path)
