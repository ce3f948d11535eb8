"""Which faults befall which step: the bookkeeping behind a mock's fault script."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from math import inf
from random import Random

from bench.mock.log import LineLog
from bench.model import Fault

ENDLESS = 2**40
"""Bytes of a flood without end."""


class FaultPlan:
    """Counts the steps of all connections of a mock, and says what goes wrong at each."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = tuple(faults)
        self._steps = {fault.at for fault in faults}
        self._rng = Random(f"sendbench faults {seed}")
        self._seen: Counter[str] = Counter()
        self._connections = 0

    def __bool__(self) -> bool:
        return bool(self._faults)

    def new_connection(self) -> int:
        """The number of a new connection, from 1."""
        self._connections += 1
        return self._connections

    def has(self, step: str) -> bool:
        """Whether anything may go wrong there."""
        return step in self._steps

    def least(self, step: str) -> float:
        """How much of a body must have come before anything goes wrong there."""
        return min((fault.size for fault in self._faults if fault.at == step), default=inf)

    def at(self, step: str, connection: int, use: int) -> list[Fault]:
        """What goes wrong at this occurrence of a step, in the order of the script. Call once for each."""
        if step not in self._steps:
            return []
        self._seen[step] += 1
        return [fault for fault in self._faults if fault.at == step and self._befalls(fault, connection, use)]

    def _befalls(self, fault: Fault, connection: int, use: int) -> bool:
        if fault.nth not in (None, self._seen[fault.at]):
            return False
        if fault.connection not in (None, connection) or fault.use not in (None, use):
            return False
        return fault.share >= 1 or self._rng.random() < fault.share


BYTE_LOG_LIMIT = 64 << 20
"""Bytes of talk that are kept; with millions of messages nobody reads the rest."""


class ByteLog(LineLog):
    """Every byte of every connection with its time (CLOCK_MONOTONIC), up to a limit; a referee that no client
    writes."""

    _left = BYTE_LOG_LIMIT

    def __enter__(self) -> ByteLog:
        return self

    def add(self, connection: int, sender: str, data: bytes, at_ns: int) -> None:
        """Note a piece; `sender` is `client` or `mock`."""
        if self._left <= 0:
            return
        self._left -= len(data)
        if self._left <= 0:
            data += b" ... and so on: the log is full"
        text = json.dumps(data.decode("latin-1"))
        self._append(
            f'{{"connection": {connection}, "from": "{sender}", "at_ns": {at_ns}, "bytes": {text}}}\n'
        )
