"""Fixtures for servers nobody here wrote; what they are is told in `peers.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.peers import Nginx, SmtpSink, start_nginx, start_smtp_sink


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """Postfix's `smtp-sink` on a free port of 127.0.0.1."""
    with start_smtp_sink() as sink:
        yield sink


@pytest.fixture
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An nginx on two free ports of 127.0.0.1, one of them with TLS."""
    with start_nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server
