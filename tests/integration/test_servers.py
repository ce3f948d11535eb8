"""Servers that a command starts: when they are ready, how they end, and what is said where they fail."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from bench import servers
from bench.errors import SetupError
from bench.servers import server_process
from tests.integration.peers import wait_until

LISTEN = """\
import signal, socket, subprocess, sys, time
print("at", sys.argv[1], flush=True)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
{then}
while True:
    listener.accept()
"""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "START_S", 2.0)
    monkeypatch.setattr(servers, "STOP_S", 0.5)


def running(marker: Path) -> list[int]:
    """The processes that name this path in their command lines, but for this one."""
    return [pid for pid in _pids() if str(marker).encode() in _command_of(pid) and pid != os.getpid()]


def _pids() -> Iterator[int]:
    return (int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def program(folder: Path, text: str) -> str:
    """A command that runs this Python code with the port as its argument."""
    path = folder / "server.py"
    path.write_text(text, encoding="utf-8")
    return f"{sys.executable} {path} {{port}}"


async def served(command: str, folder: Path, *, given_up: bool = False) -> int:
    """Connect to the server once it is ready; its port, after it has ended."""
    async with server_process(command, "127.0.0.1", folder / "out.log", lambda: given_up) as port:
        await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
    return port


def test_it_is_ready_when_it_listens_and_gone_after_that(tmp_path: Path) -> None:
    command = program(tmp_path, "import time; time.sleep(0.3)\n" + LISTEN.format(then=""))
    ports = [anyio.run(served, command, tmp_path) for _ in range(2)]
    output = tmp_path / "out.log"
    assert output.read_text() == "".join(f"at {port}\n" for port in ports)
    assert output.stat().st_mode & 0o777 == 0o600
    assert not running(tmp_path)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_what_does_not_want_to_end_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    child = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', {str(tmp_path)!r}])"
    deaf = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {child}"
    anyio.run(served, program(tmp_path, LISTEN.format(then=deaf)), tmp_path)
    wait_until(lambda: not running(tmp_path), "the group to be gone")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('no', 'such\\tbook'); print(); raise SystemExit(3)", "ready, with code 3; .*: no such book$"),
        ("import os; os.kill(os.getpid(), 9)", r"by SIGKILL; it said nothing \(out.log\)$"),
        ("print(1); print(2); print(3); print('\\x1b[1m4')", "with code 0; .*: 2 / 3 / .?.1m4$"),
        ("import time; print('wait', flush=True); time.sleep(60)", "within 2 s; .*: wait$"),
    ],
)
def test_what_is_said_where_it_does_not_become_ready(tmp_path: Path, code: str, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        anyio.run(served, program(tmp_path, code), tmp_path)
    assert not running(tmp_path)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be run: nothing-like-it: No such file"):
        anyio.run(served, "nothing-like-it {port}", tmp_path)


def test_one_that_ends_by_itself_is_told_after_the_block(tmp_path: Path) -> None:
    done = list[bool]()

    async def main() -> None:
        command = program(
            tmp_path, LISTEN.format(then="listener.accept(); print('bye'); raise SystemExit(4)")
        )
        async with server_process(command, "127.0.0.1", tmp_path / "out.log", bool):
            await anyio.to_thread.run_sync(wait_until, lambda: not running(tmp_path), "its end")
            await anyio.sleep(0.1)
            done.append(True)

    with pytest.raises(SetupError, match=r"ended before its case did, with code 4; .*: at [0-9]+ / bye$"):
        anyio.run(main)
    assert done == [True]


def test_nobody_waits_for_it_once_the_run_has_been_stopped(tmp_path: Path) -> None:
    command = program(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(SetupError, match="stopped before the server was ready"):
        anyio.run(lambda: served(command, tmp_path, given_up=True))
    assert not running(tmp_path)


def test_cancelled_it_is_ended_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.5):
            async with server_process(
                program(tmp_path, LISTEN.format(then="")), "127.0.0.1", tmp_path / "out.log", bool
            ):
                await anyio.sleep(60)

    anyio.run(main)
    assert not running(tmp_path)
