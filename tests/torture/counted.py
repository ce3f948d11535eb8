"""What a part of the long tier says, and parts that are other tests with other numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


@dataclass
class Counted:
    """What a part has done, and everything that was wrong."""

    done: int = 0
    facts: dict[str, float | int | str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def blame(self, what: str) -> None:
        """Note something wrong; a hundred of a kind are enough to see it."""
        if len(self.wrong) < 100:
            self.wrong.append(what)

    def add(self, fact: str, count: int) -> None:
        """Count something worth telling."""
        self.facts[fact] = int(self.facts.get(fact, 0)) + count


def pytest_part(*arguments: str, **environment: str) -> Counted:
    """Tests of the short tier with other numbers, in a process of their own; what they record is counted."""
    found = Counted()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"--junit-xml={record}", "-o", "junit_family=xunit1"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        for noted in ElementTree.parse(record).iter("property") if record.exists() else ():
            if noted.attrib["value"].isdigit():  # hypothesis notes its statistics as text
                found.add(noted.attrib["name"], int(noted.attrib["value"]))
    for count, word in re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout):
        found.facts[word] = int(count)
        found.done += int(count) * (word != "skipped")
    if done.returncode:
        found.blame("; ".join(line for line in done.stdout.splitlines() if line.startswith("FAILED"))[:2000])
    return found


def command_part(module: str, *arguments: str) -> Counted:
    """Another long test of its own, which says by its exit code whether all held."""
    found = Counted(1)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [line.split("|")[1:5] for line in lines]
    found.facts = {what.strip(): value.strip() for what, value, _, _ in rows[1:]}
    if done.returncode:
        broken = [what.strip() for what, _, _, verdict in rows if "BROKEN" in verdict]
        found.blame(", ".join(broken) or done.stderr[-500:])
    return found
