"""What this machine allows a process: open files and local ports. No value means: not known here."""

from __future__ import annotations

from pathlib import Path

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def allow_open_files(needed: int) -> int | None:
    """Raise the soft limit on open files to what is needed, as far as the hard one goes; the limit now in
    force, None where there is none."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None if soft == resource.RLIM_INFINITY else soft
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def local_ports(source: Path = PORT_RANGE) -> int | None:
    """How many ports connections of one address to one server can have at a time."""
    try:
        low, high = map(int, source.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return high - low + 1
