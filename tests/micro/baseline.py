"""What the benchmarks cost on a class of machine, as a file, and what has become of it since. Pure but for
`MachineClass.here`."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SCHEMA = "sendbench.micro/1"
ALLOWED = 1.30
"""A benchmark fails when it costs more than this times its baseline."""


@dataclass(frozen=True, slots=True)
class MachineClass:
    """Machines whose figures can be compared."""

    python: str
    processor: str
    cores: int

    @property
    def slug(self) -> str:
        words = f"{self.python} {self.processor} {self.cores} cores"
        return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")

    @classmethod
    def here(cls) -> MachineClass:
        """That of this machine and interpreter."""
        version = ".".join(platform.python_version_tuple()[:2])
        return cls(f"{platform.python_implementation()} {version}", _processor(), os.cpu_count() or 1)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@dataclass(frozen=True, slots=True)
class Figure:
    """One benchmark; times are of one unit of its work."""

    min_ns: float
    median_ns: float
    calibration_ns: float
    """The least time that the calibration loop took just before and after."""

    @property
    def ratio(self) -> float:
        """The cost in calibration loops: what a faster or a busier machine leaves as it is."""
        return self.min_ns / self.calibration_ns

    def best(self, other: Figure) -> Figure:
        """The least of two sessions; noise only ever adds."""
        return Figure(
            min(self.min_ns, other.min_ns),
            min(self.median_ns, other.median_ns),
            min(self.calibration_ns, other.calibration_ns),
        )


Figures = Mapping[str, Figure]
"""By the test's id."""


def best_of(first: Figures, second: Figures) -> Figures:
    """Both sessions together."""
    again = {name: found.best(second[name]) if name in second else found for name, found in first.items()}
    return {**second, **again}


def measured(report: str) -> Figures:
    """The figures in the JSON that pytest-benchmark writes."""
    return {
        each["fullname"].removeprefix("tests/micro/"): Figure(
            each["stats"]["min"] * 1e9 / each["extra_info"]["per"],
            each["stats"]["median"] * 1e9 / each["extra_info"]["per"],
            each["extra_info"]["calibration_ns"],
        )
        for each in json.loads(report)["benchmarks"]
    }


def dump(machine: MachineClass, figures: Figures) -> str:
    """A baseline's file."""
    benchmarks = {
        name: {
            "ratio": round(found.ratio, 6),
            "min_ns": round(found.min_ns, 1),
            "median_ns": round(found.median_ns, 1),
            "calibration_ns": found.calibration_ns,
        }
        for name, found in sorted(figures.items())
    }
    return json.dumps({"schema": SCHEMA, "class": asdict(machine), "benchmarks": benchmarks}, indent=2) + "\n"


def load(text: str) -> Figures:
    """What `dump` has written. Raises ValueError for another schema."""
    data = json.loads(text)
    if data.get("schema") != SCHEMA:
        raise ValueError(f"schema {data.get('schema')!r} is not {SCHEMA!r}")
    return {
        name: Figure(each["min_ns"], each["median_ns"], each["calibration_ns"])
        for name, each in data["benchmarks"].items()
    }


@dataclass(frozen=True, slots=True)
class Change:
    """A benchmark now and then."""

    name: str
    now: Figure | None
    """None: it was not run, or is no more."""
    then: Figure | None
    """None: it is new."""

    @property
    def factor(self) -> float | None:
        """How much dearer it has become."""
        return None if self.now is None or self.then is None else self.now.ratio / self.then.ratio

    @property
    def failed(self) -> bool:
        return self.factor is not None and self.factor > ALLOWED


def compare(now: Figures, then: Figures) -> Sequence[Change]:
    """Every benchmark that either has."""
    return [Change(name, now.get(name), then.get(name)) for name in sorted({*now, *then})]
