"""What every test stands on: a clean environment, the event loop, and no silent skips in CI."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

import bench
from tests.loops import ASYNCIO
from tests.skips import forbid_skip

PROVIDER_NAMES = re.compile(
    r"(SENDGRID|MAILGUN|POSTMARK|RESEND|AWS|MAILJET|BREVO|SMTPCOM|MAILTRAP|SMTP)_[A-Z0-9_]+"
)
AMBIENT_NAMES = re.compile(
    r"((https?|all|no|ftp)_proxy|ssl_cert_(file|dir)|sslkeylogfile|columns|lines|force_color|no_color"
    r"|clicolor(_force)?|xdg_[a-z_]+|mplbackend|mplconfigdir|pythonwarnings|sendbench_(?!specs$)[a-z0-9_]+)",
    re.IGNORECASE,
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell without job control; what the tests start would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no bug of the code under test; and CI tries the same examples each time.
hypothesis.settings.register_profile(
    "sendbench",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
    print_blob=True,
)
hypothesis.settings.load_profile("sendbench")

if (
    os.environ.get("SENDBENCH_INSTALLED")
    and Path(bench.__file__).parents[1] == Path(__file__).resolve().parents[1]
):
    pytest.exit("these tests are of the tree, not of what is installed", returncode=1)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Plain asyncio; a test that wants more asks for `tests.loops.BOTH_LOOPS`."""
    return ASYNCIO


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No credentials, proxies or settings of the person who runs the tests, and a home of its own.

    Once a session, not once a test: matplotlib would build its font cache again in every new home.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if PROVIDER_NAMES.fullmatch(name) or AMBIENT_NAMES.fullmatch(name):
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("NO_PROXY", "*")
        yield


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hold skipped tests to `forbid_skip`."""
    report = yield
    forbid_skip(report, os.environ)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Hold modules that skip themselves to `forbid_skip`."""
    report = yield
    forbid_skip(report, os.environ)
    return report
