"""Files a scenario names: read once, and never from outside the scenario's own directory.

The limit is for scenarios from strangers. A path given on the command line (`--set`) is the
user's own: it may lie anywhere and counts from the current directory.
"""

from __future__ import annotations

from pathlib import Path

from bench.scenario.tree import Node

MAX_FILE_BYTES = 64 << 20


class Files:
    """Reads the files of one scenario."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._contents: dict[Path, bytes] = {}

    def anywhere(self, name: str, node: Node) -> Path:
        """The path of a secret's file: relative ones count from the scenario's directory."""
        if "\0" in name:
            raise ValueError("a path cannot hold a NUL")
        base = Path.cwd() if node.from_command_line else self._directory
        return (base / name).resolve()

    def inside(self, name: str, node: Node) -> Path:
        """The path of any other file. Raises ValueError when it leads out of the directory."""
        path = self.anywhere(name, node)
        if not node.from_command_line and not path.is_relative_to(self._directory.resolve()):
            raise ValueError(
                f"{name!r} leads out of the scenario's own directory; put the file beside the scenario"
            )
        return path

    def read(self, path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
        """The contents of a regular file. Raises OSError, or ValueError where it is too long."""
        if path not in self._contents:
            if path.exists() and not path.is_file():
                raise ValueError(f"{path.name} is not a regular file")
            if path.stat().st_size > limit:
                raise ValueError(f"{path.name} is longer than {limit} bytes")
            self._contents[path] = path.read_bytes()
        return self._contents[path]

    def content(self, name: str, node: Node) -> bytes:
        """The contents of a file the scenario names. Raises ValueError with the reason."""
        path = self.inside(name, node)
        try:
            return self.read(path)
        except OSError as error:
            raise ValueError(f"cannot read {name}: {error.strerror}") from None
