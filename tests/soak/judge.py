"""What a soak has to show. Pure: looks and counts in, checks out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.soak.watch import Ended, Look

MIB = 1 << 20
WARM = 0.10
"""Share of the messages after which memory must no longer grow."""
WINDOW = 0.05
"""Share of the messages over which memory is taken, so that one look does not decide."""
GROWTH = 1.05
ANALYSIS_CPU_S = 10.0
ANALYSIS_RSS = 1536 * MIB


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    what: str
    found: str
    limit: str
    """Empty: only told."""
    passed: bool = True


@dataclass(frozen=True, slots=True)
class Account:
    """Who has how many messages."""

    rows: int
    accepted: int
    """Of them."""
    keys: int
    """Different ones among the rows."""
    taken: int
    """Lines of the mock's log."""
    strangers: int
    """Keys that only one of client and mock has."""


def flatness(looks: Sequence[Look], messages: int) -> list[Check]:
    """Memory and descriptors while messages are sent, from a tenth of them on."""
    sending = [look for look in looks if look.stage == "sending"]
    end = max((look.log_bytes for look in sending), default=0)
    warm = [look for look in sending if look.log_bytes >= WARM * end]
    if len(warm) < 10:
        return [Check("memory", f"{len(warm)} looks at the process", "10 looks", passed=False)]
    first = statistics.median(look.rss for look in warm if look.log_bytes <= (WARM + WINDOW) * end)
    last = statistics.median(look.rss for look in warm if look.log_bytes >= (1 - WINDOW) * end)
    slope = statistics.linear_regression(
        [look.log_bytes / end * messages / 1e6 for look in warm], [look.rss / MIB for look in warm]
    ).slope
    fds = [look.fds for look in warm[:-1]]  # at the last one the connections may be closing
    return [
        Check("memory after a tenth, at the end", f"{first / MIB:.1f}, {last / MIB:.1f} MiB", ""),
        Check(
            "memory at the end / after a tenth", f"{last / first:.3f}", f"<= {GROWTH}", last <= GROWTH * first
        ),
        Check("memory a million messages", f"{slope:+.2f} MiB", ""),
        Check("descriptors", f"{min(fds)} to {max(fds)}", "constant", min(fds) == max(fds)),
    ]


def accounting(account: Account, messages: int) -> list[Check]:
    """Every message is where it should be, once."""
    return [
        *(
            Check(what, f"{found:,}", f"{messages:,}", found == messages)
            for what, found in (
                ("rows", account.rows),
                ("accepted", account.accepted),
                ("different keys", account.keys),
                ("taken by the mock", account.taken),
            )
        ),
        Check("keys that only client or mock has", f"{account.strangers:,}", "0", account.strangers == 0),
    ]


def ending(looks: Sequence[Look], run: Ended) -> list[Check]:
    """What the run took after its last message: samples.parquet, then its own summary."""
    spent = {look.stage: look.cpu_s for look in looks}  # at the last look of each
    sending = spent.get("sending", 0.0)
    finishing = spent.get("finishing", sending)
    reporting = max(finishing, spent.get("reporting", finishing))
    return [
        *analysis("finish()", finishing - sending, run.peak_rss),
        *analysis("summary of the run", reporting - finishing, None),
    ]


def analysis(what: str, cpu_s: float, peak_rss: int | None) -> list[Check]:
    """CPU and memory of something that works on the records."""
    checks = [Check(f"{what}: CPU", f"{cpu_s:.1f} s", f"< {ANALYSIS_CPU_S:g} s", cpu_s < ANALYSIS_CPU_S)]
    if peak_rss is not None:
        limit = f"< {ANALYSIS_RSS // MIB} MiB"
        checks.append(
            Check(f"{what}: peak memory", f"{peak_rss / MIB:.0f} MiB", limit, peak_rss < ANALYSIS_RSS)
        )
    return checks
