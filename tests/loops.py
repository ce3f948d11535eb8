"""The event loops a test can ask for: `@pytest.mark.parametrize("anyio_backend", BOTH_LOOPS)`."""

from __future__ import annotations

import importlib.util

import pytest

ASYNCIO: tuple[str, dict[str, bool]] = ("asyncio", {"use_uvloop": False})
UVLOOP: tuple[str, dict[str, bool]] = ("asyncio", {"use_uvloop": True})

BOTH_LOOPS = [
    pytest.param(ASYNCIO, id="asyncio"),
    pytest.param(
        UVLOOP,
        id="uvloop",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("uvloop") is None, reason="uvloop does not exist for this platform"
        ),
    ),
]
