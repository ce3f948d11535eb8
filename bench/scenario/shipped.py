"""Where the scenarios that come with sendbench are."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UsageError
from bench.scenario.problems import suggest

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_scenarios() -> dict[str, Path]:
    """Name -> file, sorted: those inside the installed package, or beside it in a checkout."""
    folder = shipped_folder()
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder is not None else {}


def shipped_folder() -> Path | None:
    """Where they are; None where they have been removed."""
    folders = (_PACKAGE / "scenarios", _PACKAGE.parent / "scenarios")
    return next((folder for folder in folders if any(folder.glob("*.yaml"))), None)


def find_scenario(text: str) -> Path:
    """The file `text` names: a path, or the name of a shipped scenario. Raises UsageError."""
    path = Path(text)
    if path.is_file():
        return path
    shipped = shipped_scenarios()
    if text in shipped:
        return shipped[text]
    raise UsageError(
        f"no scenario {text!r}: neither a file nor one of {', '.join(shipped)}{suggest(text, shipped)}"
    )
