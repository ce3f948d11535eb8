"""Writes the raw log behind the back of the load generator, in a thread of its own."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence

from bench.clock import monotonic_ns, utc_now
from bench.errors import StorageError
from bench.model import Sample
from bench.store.codec import dump_line
from bench.store.frames import FrameFile, Kind

FLUSH_S = 0.05
"""A row is with the kernel no later than this after `put`, unless the disk is slow."""
FRAME_ROWS = 1000
"""At most in a frame: a long one costs less a row, here and when it is read. So many are not kept waiting."""
SWITCH_S = 0.00005
"""How long the thread may keep the interpreter from others; Python's own 5 ms would show as lag."""
SYNC_NS = 1_000_000_000
CLOCK_STEP_NS = 100_000_000
"""The wall clock of a machine that is not set by hand and does not sleep moves less than this in a second."""
MAX_WAITING = 1_000_000
"""Rows that may wait for a slow disk before the run is stopped."""

Encode = Callable[[Sequence[Sample]], bytes]


class LogWriter:
    """Takes samples from one thread and writes them as frames from another.

    Errors of the writing thread come up as StorageError at the next call; `failure` has the reason.
    """

    def __init__(self, file: FrameFile, encode: Encode) -> None:
        self._file = file
        self._encode = encode
        self._waiting: deque[Sample] = deque()
        self._unsynced: deque[threading.Event] = deque()
        """Who wants to know when what is written now is on the disk."""
        self._apart_ns: int | None = None
        self.clock_step_ns = 0
        """The longest step of the wall clock that was seen; 0 where it made none worth the name."""
        self._taken = 0
        self.written = 0
        """Rows that are with the kernel: they survive kill -9."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._progress = threading.Condition()
        self._usual_switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        self._writer = threading.Thread(target=self._run, name="sendbench-log", daemon=True)
        self._writer.start()

    @property
    def failure(self) -> str | None:
        """Why the log cannot be trusted to be complete; None as long as it can."""
        return self._file.failure

    def put(self, sample: Sample) -> None:
        """Take one row; costs a fraction of a microsecond. Raises StorageError."""
        if self._file.failure is not None:
            self._file.check()
        self._waiting.append(sample)
        self._taken += 1
        if self._taken % FRAME_ROWS == 0:
            self._hurry()

    def write(self, kind: Kind, value: object) -> None:
        """Write a frame that holds one JSON value, now. Raises StorageError."""
        self._file.append(kind, dump_line(value))

    def write_ahead(self, kind: Kind, value: object) -> threading.Event:
        """Write a frame now; the event is set once it is on the disk. Raises StorageError."""
        self.write(kind, value)
        synced = threading.Event()
        self._unsynced.append(synced)
        self._wake.set()
        return synced

    def wait_for(self, synced: threading.Event) -> None:
        """Wait until the frame of the event is on the disk. Raises StorageError."""
        while not synced.wait(FLUSH_S):
            self._file.check()
        self._file.check()

    def flush(self) -> None:
        """Wait until every row taken so far is with the kernel. Raises StorageError."""
        target = self._taken
        self._wake.set()
        with self._progress:
            self._progress.wait_for(lambda: self.written >= target or not self._running())
        self._file.check()

    def close(self, last: object) -> None:
        """Write what is waiting and a final frame, sync, end the thread. Look at `failure` afterwards."""
        self._stopping.set()
        self._wake.set()
        self._writer.join()
        sys.setswitchinterval(self._usual_switch_s)
        try:
            self.write(Kind.FINISH, last)
            self._file.sync()
        except StorageError:
            pass  # `failure` has it
        finally:
            self._file.close()

    def _running(self) -> bool:
        return self._writer.is_alive() and self._file.failure is None

    def _hurry(self) -> None:
        if len(self._waiting) > MAX_WAITING:
            raise self._file.fail(f"the disk is too slow: {MAX_WAITING} rows are waiting to be written")
        self._wake.set()

    def _run(self) -> None:
        try:
            self._write_until_stopped()
        except StorageError:
            pass  # `failure` has it
        except (ValueError, TypeError, OverflowError) as error:
            self._file.fail(f"a sample cannot be recorded: {error}")
        finally:
            if self._waiting:
                self._file.fail("the log's writer ended early")
            with self._progress:
                self._progress.notify_all()

    def _write_until_stopped(self) -> None:
        next_sync_ns = monotonic_ns() + SYNC_NS
        while not self._stopping.is_set():
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            self._write_waiting()
            if self._unsynced or monotonic_ns() >= next_sync_ns:
                self._sync()
                next_sync_ns = monotonic_ns() + SYNC_NS
        self._write_waiting()
        self._sync()

    def _write_waiting(self) -> None:
        waiting = self._waiting
        while waiting:
            frame = [waiting.popleft() for _ in range(min(FRAME_ROWS, len(waiting)))]
            self._file.append(Kind.ROWS, self._encode(frame))
            with self._progress:
                self.written += len(frame)
                self._progress.notify_all()

    def _sync(self) -> None:
        begun_ns, written = monotonic_ns(), list(self._unsynced)
        self._file.sync()
        for synced in written:
            self._unsynced.popleft()
            synced.set()
        now_ns = monotonic_ns()
        utc = utc_now()
        self._compare_clocks(round(utc.timestamp() * 1e9) - now_ns)
        tick = {"utc": utc.isoformat(), "monotonic_ns": now_ns, "sync_ns": now_ns - begun_ns}
        self.write(Kind.TICK, tick)

    def _compare_clocks(self, apart_ns: int) -> None:
        """Wall clock less monotonic clock: it changes when somebody sets the one, or the machine sleeps."""
        if self._apart_ns is not None:
            step_ns = abs(apart_ns - self._apart_ns)
            if step_ns > CLOCK_STEP_NS:
                self.clock_step_ns = max(self.clock_step_ns, step_ns)
        self._apart_ns = apart_ns
