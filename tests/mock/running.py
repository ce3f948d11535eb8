"""A mock in its own process, for tests that are not asynchronous themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anyio.from_thread import start_blocking_portal

from bench.mock.process import mock_process
from bench.mock.spec import MockSpec, Ready


@contextmanager
def running_mock(spec: MockSpec) -> Iterator[Ready]:
    """The mock of `spec` until the block ends; its logs are complete after that."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(mock_process(spec)) as ready,
    ):
        yield ready
