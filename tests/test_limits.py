"""Limits of the machine: raised where that is allowed, and said where it is not."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from bench.limits import allow_open_files, local_ports


class Limits:
    """RLIMIT_NOFILE as a pair that a test may look at."""

    def __init__(self, patch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.pair = (soft, hard)
        patch.setattr(resource, "getrlimit", lambda _which: self.pair)
        patch.setattr(resource, "setrlimit", self.set)

    def set(self, _which: int, pair: tuple[int, int]) -> None:
        self.pair = pair


@pytest.mark.parametrize(
    ("soft", "hard", "needed", "allowed", "after"),
    [
        (1024, 4096, 500, 1024, 1024),
        (1024, 4096, 2000, 2000, 2000),
        (1024, 4096, 5000, 4096, 4096),
        (1024, resource.RLIM_INFINITY, 5000, 5000, 5000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 5000, None, resource.RLIM_INFINITY),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, needed: int, allowed: int | None, after: int
) -> None:
    seen = Limits(monkeypatch, soft, hard)
    assert allow_open_files(needed) == allowed
    assert seen.pair == (after, hard)


def test_the_range_of_local_ports_includes_both_ends(tmp_path: Path) -> None:
    source = tmp_path / "ip_local_port_range"
    assert local_ports(source) is None
    source.write_text("32768\t60999\n")
    assert local_ports(source) == 28232
    source.write_text("nonsense")
    assert local_ports(source) is None
