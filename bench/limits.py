"""What this machine allows a process: open files, memory, local ports. No value means: not known here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

STATUS = Path("/proc/self/status")
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


@contextmanager
def memory_within(size: int) -> Iterator[None]:
    """Have MemoryError raised where the process asks for so many bytes beyond what it holds, on Linux."""
    held = _held_bytes()
    if resource is None or held is None:
        yield
        return
    before = soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (held + size, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _held_bytes() -> int | None:
    """What counts for RLIMIT_DATA."""
    try:
        found = re.search(r"^VmData:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024


def local_ports(source: Path = PORT_RANGE) -> int | None:
    """How many ports connections of one address to one server can have at a time."""
    try:
        low, high = map(int, source.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return high - low + 1
