"""One driver for httpx and httpx2: which of them is loaded, and when."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from bench.errors import SetupError
from bench.transports.httpx import load_library


def test_what_is_not_installed_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)  # what importing it fails with
    with pytest.raises(SetupError, match=r"httpx2 is not installed: pip install 'sendbench\[httpx2\]'"):
        load_library("httpx2")


@pytest.mark.parametrize(("asked", "other"), [("httpx", "httpx2"), ("httpx2", "httpx")])
def test_only_the_one_that_was_asked_for_is_loaded(asked: str, other: str) -> None:
    pytest.importorskip(asked)
    script = (
        "import sys; from bench.transports.httpx import load_library;"
        f" assert load_library({asked!r}).__name__ == {asked!r};"
        f" assert {other!r} not in sys.modules, 'both'"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_no_address_is_logged(name: str) -> None:
    pytest.importorskip(name)
    load_library(name)
    for logger in (name, f"{name.replace('httpx', 'httpcore')}.connection"):
        assert not logging.getLogger(logger).isEnabledFor(logging.INFO)
