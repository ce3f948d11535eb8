"""sendbench: the benchmark for sending email.

From Python: `bench.run` runs a scenario, `bench.gate` asks for a verdict on two variants, `bench.gate_calls`
on two functions. They come from `bench.python` when first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.python import (
        InconclusiveError,
        Judgement,
        NotMetError,
        Run,
        gate,
        gate_calls,
        run,
    )

__version__ = "0.1.0"

__all__ = ["InconclusiveError", "Judgement", "NotMetError", "Run", "gate", "gate_calls", "run"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    from bench import python

    return getattr(python, name)
