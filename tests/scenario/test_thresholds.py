from __future__ import annotations

import pytest

from bench.model import Threshold
from bench.scenario.thresholds import parse_threshold


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95(service) < 800ms", ("p95", "service", "<", 8e8, ())),
        ("p99.9(latency)<=1.5s", ("p999", "latency", "<=", 1.5e9, ())),
        ("p50( phase.tls ) > 0", ("p50", "phase.tls", ">", 0.0, ())),
        ("mean(wait) >= 5us", ("mean", "wait", ">=", 5e3, ())),
        ("max(lag) < 2m", ("max", "lag", "<", 1.2e11, ())),
        ("share(accepted) >= 99.9%", ("share", "accepted", ">=", 0.999, ())),
        ("share(rejected_temp) < 0.05", ("share", "rejected_temp", "<", 0.05, ())),
        ("share(rejected) <= 0", ("share", "rejected", "<=", 0.0, ())),
        ("rate() > 100", ("rate", "", ">", 100.0, ())),
        ("rate() > 6000/min", ("rate", "", ">", 100.0, ())),
        (
            "p95(service) < 1s where connection=pooled, network.rtt = 50ms",
            ("p95", "service", "<", 1e9, (("connection", "pooled"), ("network.rtt", "50ms"))),
        ),
    ],
)
def test_thresholds(text: str, expected: tuple[str, str, str, float, tuple[tuple[str, str], ...]]) -> None:
    function, subject, operator, limit, where = expected
    assert parse_threshold(f"  {text} ", 7) == Threshold(text, function, subject, operator, limit, where, 7)


@pytest.mark.parametrize(
    "text", ["p99.9(latency) <= 1s", "max(phase.tls) < 1s", "share(failed) < 1%", "share(accepted) >= 99%"]
)
def test_thresholds_that_may_end_a_run(text: str) -> None:
    assert parse_threshold(text, abort=True).abort
    assert not parse_threshold(text).abort


@pytest.mark.parametrize(
    "text", ["p95(service) > 1s", "max(service) >= 1s", "min(lag) < 1s", "mean(lag) < 1s", "rate() > 1"]
)
def test_what_only_the_end_shows_cannot_end_a_run(text: str) -> None:
    with pytest.raises(ValueError, match="only the end shows whether"):
        parse_threshold(text, abort=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a threshold"),
        ("p95(service)", "is not a threshold"),
        ("p95(service)\n< 5ms", "is not a threshold"),
        ("p95(service) < 5ms where a=\x1b[2J", "is not a threshold"),
        ("p95 service < 5ms", "is not a threshold"),
        ("p95(service) < 5ms and more", "is not a threshold"),
        ("p95(service) = 5ms", "unknown comparison"),
        ("p95(service) != 5ms", "unknown comparison"),
        ("p999(service) < 5ms", "did you mean p99.9"),
        ("P95(service) < 5ms", "did you mean p95"),
        ("p95() < 5ms", "takes latency"),
        ("p95(phase.mial) < 5ms", "did you mean phase.mail"),
        ("p95(accepted) < 5ms", "takes latency"),
        ("p95(service) < -5ms", "must not be negative"),
        ("p95(service) < 5", "has no unit"),
        ("p95(service) < 99%", "not a duration"),
        ("share(ok) > 99%", "share\\(\\) takes"),
        ("share(accepted) > 5ms", "is not a share"),
        ("share(accepted) > 1.01", "is not a share"),
        ("rate(accepted) > 5", "takes nothing"),
        ("rate() > fast", "not a rate"),
        ("p95(service) < 5ms where pooled", "is not key=value"),
        ("p95(service) < 5ms where =x", "is not key=value"),
    ],
)
def test_no_thresholds(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_threshold(text)
