"""`make torture`: the long tier, part by part; what is done is kept, so that it can be gone on with.

Exit codes: 0 everything held, 1 something did not, 2 the command makes no sense.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.faults.test_catalogue import NOT_OVER
from tests.resumable import Found, carry_out
from tests.torture.canaries import canaries
from tests.torture.cancelling import cancel_storm
from tests.torture.counted import Counted, command_part, pytest_part
from tests.torture.failing import every_file_call, every_socket_call
from tests.torture.fuzzing import fuzz_http, fuzz_smtp, splits
from tests.torture.processes import kill_9, sigterm
from tests.torture.sockets import fuzz_sockets
from tests.torture.storage import disk_full, killed_writers, power_loss

STATE = Path("reports/torture.json")
REPORT = Path("reports/torture.md")
SEEDS = range(1, 6)
NOT_HERE = ("--deselect", "tests/faults/test_random.py")
"""A part of its own."""


def _together(parts: Iterable[Counted]) -> Counted:
    whole = Counted()
    for part in parts:
        whole.done += part.done
        whole.wrong += part.wrong
        for fact, found in part.facts.items():
            whole.add(fact, int(found))
    return whole


Part = Callable[[], Counted]
PARTS: Mapping[str, tuple[str, str, Part]] = {
    "catalogue": (
        "F1 F4 F5 F16",
        "every named fault: pooled, unpooled, and with TLS both ways",
        lambda: _together(
            pytest_part("tests/faults/test_catalogue.py", SENDBENCH_FAULTS_OVER=over) for over in NOT_OVER
        ),
    ),
    "canaries": (
        "F16",
        "the catalogue in whole processes: all they say and write, and every command line of the machine",
        canaries,
    ),
    "matrix": (
        "F2 F4 F5 F6 F14 F15",
        "every cell of the matrices and stalled halves, with 5 seeds; the time a timeout takes",
        lambda: _together(
            pytest_part(
                "tests/faults", "tests/transports/test_timeouts.py", "--deselect",
                "tests/faults/test_catalogue.py", *NOT_HERE, SENDBENCH_FAULTS_SEED=str(seed),
            )
            for seed in SEEDS
        ),
    ),
    "sockets": ("F2 F4 F5", "the k-th call on a socket fails, for every k", every_socket_call),
    "files": ("F2 F12", "the k-th call on the run's files fails, for every k", every_file_call),
    "random": (
        "F3 F4 F5",
        "two million messages, 5 % of them with a fault somewhere",
        lambda: pytest_part("tests/faults/test_random.py", SENDBENCH_FAULTY_MESSAGES="1000000"),
    ),
    "fuzz-smtp": ("F7", "1,000,000 replies to the SMTP client", lambda: fuzz_smtp(1_000_000)),
    "fuzz-http": ("F7", "500,000 responses to the HTTP client and the judges", lambda: fuzz_http(500_000)),
    "fuzz-sockets": ("F7", "50,000 replies and responses over real sockets", lambda: fuzz_sockets(50_000)),
    "splits": ("F8", "200,000 conversations cut anywhere", lambda: splits(200_000)),
    "soak": (
        "F9",
        "4,320,000 messages, 1 % of them with a fault: a day at 50 a second",
        lambda: command_part("tests.soak", "--messages", "4320000", "--faults"),
    ),
    "writers": ("F10", "100 writers of a log killed", lambda: killed_writers(100)),
    "kill-9": ("F10", "100 runs killed, read and gone on with", lambda: kill_9(100)),
    "sigterm": ("F10", "100 runs told to end", lambda: sigterm(100)),
    "power": ("F11", "100 power losses", lambda: power_loss(100)),
    "disk": ("F12", "a disk that is full at each of 200 writes", lambda: disk_full(200)),
    "cancel": ("F13", "10,000 cancels, then 2,000 messages", lambda: cancel_storm(10_000)),
    "guard": (
        "F17",
        "100,000 fuzzed cases and bodies against the guard",
        lambda: pytest_part("tests/test_permit.py", SENDBENCH_FUZZED_CASES="100000"),
    ),
    "reports": (
        "F18 F22",
        "500 hostile answers of each transport in every report; the same log, the same bytes",
        lambda: pytest_part(
            "tests/integration/test_hostile_replies.py", "tests/report", "tests/store/test_run.py",
            "tests/integration/test_cli.py", "-k", "hostile or hurts or same",
        ),
    ),
    "rules": (
        "F19 F20 F23",
        "where the mocks listen, versions below the floors, every cause to end",
        lambda: pytest_part(
            "tests/test_packaging.py", "tests/mock/test_safety.py", "tests/integration/test_exit_codes.py"
        ),
    ),
    "dialogues": (
        "F21",
        "100,000 valid dialogues, read as smtplib and aiosmtplib do; invalid ones, and how they differ",
        lambda: pytest_part("tests/protocol/test_smtp_replies.py", FUZZ_DIALOGUES="100000"),
    ),
}  # fmt: skip
"""Name -> goals of the fault catalogue, what is done, and the doing of it."""
GOALS = [f"F{number}" for number in range(1, 24)]


def main(arguments: Sequence[str]) -> int:
    """Run the parts that are not done yet, or those named."""
    parser = argparse.ArgumentParser(prog="make torture ARGS=...", description=main.__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="these parts, done or not")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
    options = parser.parse_args(arguments)
    parts = {name: partial(_counted, part) for name, (_, _, part) in PARTS.items()}
    state = carry_out(parts, STATE, options.parts, fresh=options.fresh)
    page = render(state)
    REPORT.write_text(page, encoding="utf-8")
    print(page)
    return int(any(each["wrong"] for each in state.values()))


def _counted(part: Part) -> Found:
    return asdict(part())


def render(state: Mapping[str, Mapping[str, object]]) -> str:
    """The table."""
    machine = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    lines = [
        "# Torture",
        "",
        f"{machine}. Written by `make torture`.",
        "",
        "| part | goals | what | counted | facts | wrong | took | when |",
        "|---|---|---|---:|---|---:|---:|---|",
        *(_part_row(name, state.get(name)) for name in PARTS),
        "",
        "## Goal by goal",
        "",
        "| goal | parts | verdict |",
        "|---|---|---|",
        *(_goal_row(goal, state) for goal in GOALS),
    ]
    wrong = [f"- {name}: {each}" for name, found in state.items() for each in _list(found["wrong"])]
    if wrong:
        lines += ["", "## What was wrong", "", *wrong]
    return "\n".join(lines) + "\n"


def _part_row(name: str, found: Mapping[str, object] | None) -> str:
    goals, what, _ = PARTS[name]
    if found is None:
        return f"| {name} | {goals} | {what} | not run | | | | |"
    facts = found["facts"]
    assert isinstance(facts, dict)
    shown = ", ".join(f"{key} {value}" for key, value in facts.items())
    counted = (
        f"{found['done']:,} | {shown} | {len(_list(found['wrong']))} | {found['took_s']} s | {found['at']}"
    )
    return f"| {name} | {goals} | {what} | {counted} |"


def _goal_row(goal: str, state: Mapping[str, Mapping[str, object]]) -> str:
    parts = [name for name, (goals, _, _) in PARTS.items() if goal in goals.split()]
    missing = [name for name in parts if name not in state]
    broken = [name for name in parts if name in state and state[name]["wrong"]]
    verdict = "holds"
    if broken or missing:
        verdict = "; ".join(
            f"{word}: {', '.join(names)}"
            for word, names in (("BROKEN", broken), ("not run", missing))
            if names
        )
    return f"| {goal} | {', '.join(parts)} | {verdict} |"


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
