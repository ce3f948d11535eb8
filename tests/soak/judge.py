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
SLOPE_MIB = 1.0
"""Memory a million messages. What little the caches of a short run still gain would look steeper."""
LONG = 4_000_000
"""Messages from which on the slope, and the drift of the median, can be told from noise."""
DRIFT = 0.05
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
    distinct: int = 0
    """Different keys in the mock's log."""
    false_accepted: int = 0
    stray: int = 0
    """Keys that were taken and that the client neither calls accepted nor unknown."""


def flatness(looks: Sequence[Look], messages: int, *, constant: bool = True) -> list[Check]:
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
        _where_long(
            "memory a million messages",
            f"{slope:+.2f} MiB",
            f"<= {SLOPE_MIB:g} MiB",
            messages,
            slope <= SLOPE_MIB,
        ),
        Check(
            "descriptors",
            f"{min(fds)} to {max(fds)}",
            "constant" if constant else "bounded",
            min(fds) == max(fds) if constant else max(fds) < 2 * min(fds),
        ),
    ]


def steadiness(first_ms: float, last_ms: float, messages: int) -> Check:
    """The median service time of the first and the last tenth of the messages."""
    drift = last_ms / first_ms - 1
    found = f"{first_ms:.2f}, {last_ms:.2f} ms ({drift:+.1%})"
    return _where_long("p50 of the first and last tenth", found, f"+{DRIFT:.0%}", messages, drift <= DRIFT)


def warnings(output: str) -> Check:
    """What asyncio says of results that nobody has asked for, in all that the run printed."""
    count = output.count("never retrieved") + output.count("was never awaited")
    return Check("warnings of what nobody waited for", str(count), "0", count == 0)


def _where_long(what: str, found: str, limit: str, messages: int, held: bool) -> Check:
    return Check(what, found, limit, held) if messages >= LONG else Check(what, found, "")


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


def faulty_accounting(account: Account, messages: int) -> list[Check]:
    """The same where some meet a fault: what is accepted was taken, and what was taken is accepted or
    unknown."""
    return [
        *(
            Check(what, f"{found:,}", f"{messages:,}", found == messages)
            for what, found in (("rows", account.rows), ("different keys", account.keys))
        ),
        Check("accepted", f"{account.accepted:,}", "> 98 %", account.accepted > 0.98 * messages),
        Check("accepted and never taken", f"{account.false_accepted:,}", "0", account.false_accepted == 0),
        Check("taken and neither accepted nor unknown", f"{account.stray:,}", "0", account.stray == 0),
        Check("taken twice", f"{account.taken - account.distinct:,}", "0", account.taken == account.distinct),
    ]


def ending(looks: Sequence[Look], run: Ended, times: float = 1.0) -> list[Check]:
    """What the run took after its last message: samples.parquet, then its own summary."""
    spent = {look.stage: look.cpu_s for look in looks}  # at the last look of each
    sending = spent.get("sending", 0.0)
    finishing = spent.get("finishing", sending)
    reporting = max(finishing, spent.get("reporting", finishing))
    return [
        *analysis("finish()", finishing - sending, run.peak_rss, times),
        *analysis("summary of the run", reporting - finishing, None, times),
    ]


def analysis(what: str, cpu_s: float, peak_rss: int | None, times: float = 1.0) -> list[Check]:
    """CPU and memory of something that works on the records; `times` as many as the limits are for."""
    most_s, most = ANALYSIS_CPU_S * max(1.0, times), ANALYSIS_RSS * max(1.0, times)
    checks = [Check(f"{what}: CPU", f"{cpu_s:.1f} s", f"< {most_s:.0f} s", cpu_s < most_s)]
    if peak_rss is not None:
        limit = f"< {most / MIB:.0f} MiB"
        checks.append(Check(f"{what}: peak memory", f"{peak_rss / MIB:.0f} MiB", limit, peak_rss < most))
    return checks
