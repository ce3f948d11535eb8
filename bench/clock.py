"""The one place that reads a clock or waits for one.

All spans are int64 nanoseconds on CLOCK_MONOTONIC, which every process of this machine
shares. A run counts from its own start (`RunClock`), so that its times stay small; the
offset that joins the two is in the manifest.

Waiting uses a timerfd where the platform has one: epoll rounds its timeout up to whole
milliseconds (CPython's `selectors.EpollSelector.select`), which is too coarse both for
pacing and for a shaper that must delay by 2.5 ms.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

CLOCK_MONOTONIC = 1
TFD_NONBLOCK = 0o4000
TFD_CLOEXEC = 0o2000000
TFD_TIMER_ABSTIME = 1
SHARE_LEAST_NS = 500_000_000
"""In less time ticks of 10 ms say nothing about a share."""


class Clock(Protocol):
    """Something that tells the time in nanoseconds."""

    def __call__(self) -> int: ...


monotonic_ns: Clock = time.monotonic_ns
process_cpu_ns: Clock = time.process_time_ns


def share_of(pid: int | None) -> Callable[[], float | None]:
    """Begin to watch another process; the call that is returned tells which share of a core it has taken
    since (1.0: all of it). None where there is no such process, no way to tell (not Linux), or too little
    time."""
    began_ns, cpu_began_ns = time.monotonic_ns(), cpu_ns_of(pid)

    def share() -> float | None:
        cpu_ns, took_ns = cpu_ns_of(pid), time.monotonic_ns() - began_ns
        if cpu_ns is None or cpu_began_ns is None or took_ns < SHARE_LEAST_NS:
            return None
        return (cpu_ns - cpu_began_ns) / took_ns

    return share


def cpu_ns_of(pid: int | None) -> int | None:
    """CPU time of a process, in ticks of usually 10 ms."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()  # the name before it may hold anything
    return (int(fields[11]) + int(fields[12])) * (10**9 // os.sysconf("SC_CLK_TCK"))


def utc_now() -> datetime:
    """Wall-clock time, for manifests and folder names only."""
    return datetime.now(UTC)


class RunClock:
    """Nanoseconds since the run began.

    What reads the clock several times for each message reads `absolute`, which is the system call and
    nothing else, and takes `offset_ns` away afterwards.
    """

    __slots__ = ("offset_ns",)

    absolute: Clock = staticmethod(time.monotonic_ns)
    """CLOCK_MONOTONIC itself."""

    def __init__(self, offset_ns: int | None = None) -> None:
        self.offset_ns = time.monotonic_ns() if offset_ns is None else offset_ns

    def __call__(self) -> int:
        return time.monotonic_ns() - self.offset_ns


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class _TimerFd:
    """A Linux timerfd by ctypes; `os.timerfd_create` only exists from Python 3.13 on."""

    kind = "timerfd"

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        # PyDLL keeps the GIL: giving it up for a call of a microsecond can cost a whole switch interval.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._spec = _Itimerspec()
        self._loop = loop
        # Nobody reads the descriptor: setting the timer anew, which `ring` always ends with, makes it
        # unreadable as well (timerfd_settime(2)).
        loop.add_reader(self._fd, ring)

    def arm(self, at_ns: int) -> None:
        self._set(max(1, at_ns))  # zero would disarm it

    def _set(self, at_ns: int) -> None:
        self._spec.it_value.tv_sec, self._spec.it_value.tv_nsec = divmod(at_ns, 1_000_000_000)
        if self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def disarm(self) -> None:
        self._set(0)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class _LoopTimer:
    """The event loop's own timer, where there is no timerfd."""

    kind = "loop"

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, at_ns: int) -> None:
        self.disarm()
        self._handle = self._loop.call_later(max(0, at_ns - monotonic_ns()) / 1e9, self._ring)

    def disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def close(self) -> None:
        self.disarm()


class Alarm:
    """Calls functions at given moments of CLOCK_MONOTONIC, from the running event loop.

    Due functions are called in order of time, then of registration. Use as a context
    manager, or close it: it holds a file descriptor.

    A processor that sleeps takes 0.1 to 0.2 ms to wake up, on virtual machines above all. With
    `early_ns` the alarm wakes that much before a function is due and spends the rest of the
    time looking at the clock: for servers whose delays are part of the measurement.
    """

    def __init__(self, timer: type[_TimerFd] | type[_LoopTimer] | None = None, *, early_ns: int = 0) -> None:
        self._early_ns = early_ns
        loop = asyncio.get_running_loop()
        if timer is not None:
            self._timer: _TimerFd | _LoopTimer = timer(loop, self._ring)
        else:
            try:
                self._timer = _TimerFd(loop, self._ring)
            except (AttributeError, OSError, NotImplementedError):
                self._timer = _LoopTimer(loop, self._ring)
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._ringing = False
        self._closed = False

    @property
    def kind(self) -> str:
        """`timerfd` or `loop`."""
        return self._timer.kind

    def call_at(self, at_ns: int, function: Callable[[], object]) -> None:
        """Call `function()` once, at `at_ns` on CLOCK_MONOTONIC or as soon after as can be; a closed alarm
        calls nothing."""
        if self._closed:
            return
        heapq.heappush(self._heap, (at_ns, next(self._order), function))
        if self._heap[0][0] == at_ns and not self._ringing:
            self._timer.arm(at_ns - self._early_ns)

    async def sleep_until(self, at_ns: int) -> None:
        """Wait until `at_ns` on CLOCK_MONOTONIC; if that has passed, only let other tasks run once."""
        if at_ns <= monotonic_ns():
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self.call_at(at_ns, lambda: None if future.done() else future.set_result(None))
        await future

    def _ring(self) -> None:
        heap, self._ringing = self._heap, True
        try:
            while heap and monotonic_ns() < heap[0][0] <= monotonic_ns() + self._early_ns:
                pass  # only the first one is waited for: sockets are looked at before the next
            while heap and heap[0][0] <= monotonic_ns():
                heapq.heappop(heap)[2]()
        finally:  # a function that fails must not silence the others
            self._ringing = False
            if not self._closed:
                self._rearm()

    def _rearm(self) -> None:
        if self._heap:
            self._timer.arm(self._heap[0][0] - self._early_ns)
        else:
            self._timer.disarm()

    def close(self) -> None:
        """Forget everything that was to be called and give the descriptor back."""
        self._heap.clear()
        if not self._closed:
            self._closed = True
            self._timer.close()

    def __enter__(self) -> Alarm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
