"""`p95(service) < 800ms where connection=pooled`: parsed into a `Threshold`.

Grammar: FUNC(WHAT) OP VALUE [where key=value,...]; FUNC is p50 p90 p95 p99 p99.9 mean min max with
WHAT latency, service, wait, lag or phase.<name> and a duration; share with an outcome and a
percentage or a fraction; rate with nothing and messages per second. The long form is a mapping,
`{check: LINE, abort: true}`.
"""

from __future__ import annotations

import re

from bench.model import PHASES, Outcome, Threshold
from bench.scenario.problems import suggest
from bench.units import parse_duration, parse_rate

_LINE = re.compile(
    r"\s*(?P<function>[A-Za-z0-9.]+)\s*\(\s*(?P<subject>[A-Za-z0-9_.]*)\s*\)"
    r"\s*(?P<operator>[<>=!]+)\s*(?P<value>[^\s<>=!]+)(?:\s+where\s+(?P<where>.+?))?\s*\Z"
)
_OPERATORS = ("<", "<=", ">", ">=")
TIME_FUNCTIONS = {
    "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p99.9": "p999",
    "mean": "mean", "min": "min", "max": "max",
}  # fmt: skip
_ABORTING = ("p50", "p90", "p95", "p99", "p999", "max")
TIMES = ("latency", "service", "wait", "lag")
OUTCOMES = (*(outcome.value for outcome in Outcome), "rejected")
_EXAMPLE = "write it as p95(service) < 800ms [where key=value]"


def parse_threshold(text: str, line: int = 0, *, abort: bool = False) -> Threshold:
    """One line of `thresholds:`. Limits become ns, a share of 0 to 1, or messages/s. Raises ValueError."""
    match = _LINE.match(text) if text.isprintable() else None
    if match is None:
        raise ValueError(f"{text!r} is not a threshold; {_EXAMPLE}")
    function, subject, operator = match["function"], match["subject"], match["operator"]
    if operator not in _OPERATORS:
        raise ValueError(f"unknown comparison {operator!r}; one of {' '.join(_OPERATORS)}")
    where = _where(match["where"])
    if function == "share":
        limit = _share(subject, match["value"])
    elif function == "rate":
        limit = _rate(subject, match["value"])
    else:
        function, limit = _time(function, subject, match["value"])
    if abort and not (function == "share" or (function in _ABORTING and operator.startswith("<"))):
        raise ValueError(
            f"only the end shows whether {function}() {operator} holds; abort goes with share(), and with "
            "an upper limit on a percentile or max()"
        )
    return Threshold(text.strip(), function, subject, operator, limit, where, line, abort)


def _time(function: str, subject: str, value: str) -> tuple[str, float]:
    if function not in TIME_FUNCTIONS:
        known = (*TIME_FUNCTIONS, "share", "rate")
        raise ValueError(f"unknown function {function!r}; one of {' '.join(known)}{suggest(function, known)}")
    subjects = (*TIMES, *(f"phase.{phase}" for phase in PHASES))
    if subject not in subjects:
        kinds = f"{', '.join(TIMES)} or phase.NAME"
        raise ValueError(f"{function}() takes {kinds}, not {subject!r}{suggest(subject, subjects)}")
    return TIME_FUNCTIONS[function], float(parse_duration(value))


def _share(subject: str, value: str) -> float:
    if subject not in OUTCOMES:
        raise ValueError(f"share() takes {', '.join(OUTCOMES)}, not {subject!r}{suggest(subject, OUTCOMES)}")
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", value)
    share = float(match[1] + ("e-2" if match[2] else "")) if match else -1.0
    if not 0 <= share <= 1:
        raise ValueError(
            f"{value!r} is not a share; write a percentage such as 99.9% or a fraction such as 0.999"
        )
    return share


def _rate(subject: str, value: str) -> float:
    if subject:
        raise ValueError(f"rate() takes nothing, not {subject!r}")
    return float(value) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else parse_rate(value)


def _where(text: str | None) -> tuple[tuple[str, str], ...]:
    if text is None:
        return ()
    pairs = []
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise ValueError(f"{part.strip()!r} is not key=value")
        pairs.append((key, value))
    return tuple(pairs)
