"""`make torture`: the long tier, part by part; what is done is kept, so that it can be gone on with.

Exit codes: 0 everything held, 1 something did not, 2 the command makes no sense.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.torture.cancelling import cancel_storm
from tests.torture.parts import (
    Counted,
    command_part,
    disk_full,
    fuzz_http,
    fuzz_smtp,
    kill_9,
    power_loss,
    pytest_part,
    splits,
)

STATE = Path("reports/torture.json")
REPORT = Path("reports/torture.md")

Part = Callable[[], Counted]
PARTS: Mapping[str, tuple[str, str, Part]] = {
    "faults": (
        "F1 F2 F4 F5 F6 F15 F16",
        "every named fault and every cell of the matrices, five times",
        lambda: _together(
            *(pytest_part("tests/faults", "--deselect", "tests/faults/test_random.py") for _ in range(5))
        ),
    ),
    "random": (
        "F3 F4 F5",
        "two million messages, 5 % of them with a fault somewhere",
        lambda: pytest_part("tests/faults/test_random.py", SENDBENCH_FAULTY_MESSAGES="1000000"),
    ),
    "fuzz-smtp": ("F7", "1,000,000 replies to the SMTP client", lambda: fuzz_smtp(1_000_000)),
    "fuzz-http": ("F7", "500,000 responses to the HTTP client and the judges", lambda: fuzz_http(500_000)),
    "splits": ("F8", "200,000 conversations cut anywhere", lambda: splits(200_000)),
    "kill-9": ("F10", "100 writers killed", lambda: kill_9(100)),
    "resume": ("F10", "runs killed and gone on with, 5 times over", lambda: _together(
        *(pytest_part("tests/integration/test_resume.py") for _ in range(5))
    )),
    "power": ("F11", "100 power losses", lambda: power_loss(100)),
    "disk": ("F12", "a disk that is full at each of 200 writes", lambda: disk_full(200)),
    "soak": (
        "F9",
        "4,320,000 messages, 1 % of them with a fault: a day at 50 a second",
        lambda: command_part("tests.soak", "--messages", "4320000", "--faults"),
    ),
    "cancel": ("F13", "10,000 cancels, then 2,000 messages", lambda: cancel_storm(10_000)),
}  # fmt: skip
"""Name -> goals of the fault catalogue, what is done, and the doing of it."""


def main(arguments: Sequence[str]) -> int:
    """Run the parts that are not done yet, or those named."""
    parser = argparse.ArgumentParser(prog="make torture ARGS=...", description=main.__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="these parts, done or not")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
    options = parser.parse_args(arguments)
    state: dict[str, dict[str, object]] = {}
    if STATE.exists() and not options.fresh:
        state = json.loads(STATE.read_text(encoding="utf-8"))
    for name in options.parts or [name for name in PARTS if name not in state]:
        print(f"{name}: {PARTS[name][1]} ...", file=sys.stderr, flush=True)
        begun = time.monotonic()
        counted = PARTS[name][2]()
        took_s, at = round(time.monotonic() - begun), datetime.now(UTC).isoformat()[:16]
        state[name] = {**asdict(counted), "took_s": took_s, "at": at}
        STATE.parent.mkdir(exist_ok=True)
        STATE.write_text(json.dumps(state, indent=1), encoding="utf-8")
        for each in counted.wrong[:5]:
            print(f"  wrong: {each}", file=sys.stderr)
    page = render(state)
    REPORT.write_text(page, encoding="utf-8")
    print(page)
    return int(any(each["wrong"] for each in state.values()))


def _together(*parts: Counted) -> Counted:
    whole = Counted()
    for part in parts:
        whole.done += part.done
        whole.wrong += part.wrong
    return whole


def render(state: Mapping[str, Mapping[str, object]]) -> str:
    """The table."""
    lines = [
        "# Torture",
        "",
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}",
        "",
        "| part | goals | what | counted | facts | wrong | took |",
        "|---|---|---|---:|---|---:|---:|",
    ]
    for name, (goals, what, _) in PARTS.items():
        found = state.get(name)
        if found is None:
            lines.append(f"| {name} | {goals} | {what} | not run | | | |")
            continue
        facts = found["facts"]
        assert isinstance(facts, dict)
        wrong = found["wrong"]
        assert isinstance(wrong, list)
        shown = ", ".join(f"{key} {value}" for key, value in facts.items())
        counted = f"{found['done']:,} | {shown} | {len(wrong)} | {found['took_s']} s"
        lines.append(f"| {name} | {goals} | {what} | {counted} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
