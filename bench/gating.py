"""What `sendbench gate` and `bench.gate` make of a scenario: two variants, and how much slower one may be."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.errors import UsageError
from bench.model import DEFAULT_LIMITS, Gate, Limits, Scenario
from bench.scenario.gates import divided, usual_processes, why_not_divided


def pair_of(base: str | None, head: str | None, key: str) -> dict[str, object]:
    """What `--set` would have to say for two values of a key to be compared, under the names base and head;
    nothing where neither is given. Raises UsageError where only one is."""
    if (base is None) is not (head is None):
        raise UsageError("base and head go together: name both, or neither for a scenario with compare:")
    if base is None:
        return {}
    return {f"matrix.{key}": {"base": base, "head": head}, "compare": [key]}


def set_texts(overrides: Mapping[str, object]) -> list[str]:
    """`{"load.messages": 400}` -> what `--set` takes."""
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in overrides.items()
    ]


def gated(
    scenario: Scenario,
    limits: Mapping[str, float] | None = None,
    stages: int | None = None,
    processes: int | None = None,
) -> Scenario:
    """The scenario with a verdict on the second of its two variants: with its own limits, stages and
    processes, else the default ones, in place of which `limits` (p50, p95, p99 -> a share of 1), `stages` and
    `processes` stand.

    Raises UsageError.
    """
    groups = Counter(case.comparison for case in scenario.cases)
    if not scenario.compare or set(groups.values()) != {2}:
        raise UsageError(
            f"{scenario.name}: a gate judges the second of two variants: the scenario needs compare: with a "
            "key of its matrix that has two values, or name base and head"
        )
    own = scenario.gate or Gate(
        DEFAULT_LIMITS, processes=usual_processes(scenario.cases, scenario.thresholds)
    )
    gate = Gate(
        own.limits if limits is None else limits_of(limits), stages or own.stages, processes or own.processes
    )
    cases = divided(scenario.cases, gate)
    for key, text in why_not_divided(gate, cases, scenario.thresholds):
        raise UsageError(f"{scenario.name}: {key}: {text}")
    return replace(scenario, gate=gate, cases=cases)


def limits_of(limits: Mapping[str, float] | None) -> Limits:
    """The default limits with some of somebody's own in their place. Raises UsageError."""
    for name, share in (limits or {}).items():
        if name not in DEFAULT_LIMITS.limit or not 0 <= share < math.inf:
            raise UsageError(f"limits: {name}: {share}: a share such as 0.05 for p50, p95 or p99")
    return DEFAULT_LIMITS.within(limits or {})


def parse_limits(texts: Sequence[str]) -> dict[str, float] | None:
    """`p50=5%,p95=10%`, or `5%` for each of them, as shares by percentile; None where there is no text.

    Raises UsageError.
    """
    found: dict[str, float] = {}
    for text in texts:
        for part in text.split(","):
            name, equals, share = part.strip().rpartition("=")
            names = [name] if equals else list(DEFAULT_LIMITS.limit)
            percent = share.removesuffix("%").rstrip()
            if not share.endswith("%") or not percent.replace(".", "", 1).isdecimal():
                names = []
            if not names or names[0] not in DEFAULT_LIMITS.limit:
                raise UsageError(f"--limit {text}: write a percentage, such as 5%, or p50=5%,p95=10%,p99=50%")
            found |= dict.fromkeys(names, float(percent) / 100)
    return found or None
