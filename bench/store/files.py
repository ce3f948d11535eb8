"""Files that survive a crash: private (0600), never written through a link, never half replaced."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PRIVATE = 0o600
BALLAST_BYTES = 1 << 20

Write = Callable[[int, bytes | memoryview], int]


def write_all(fd: int, data: bytes | memoryview, write: Write = os.write) -> None:
    """Write every byte; a disk that fills up takes a part first and only then says so. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[write(fd, rest) :]


def write_new(path: Path, data: bytes) -> None:
    """Write and sync a file that must not exist yet. Raises OSError."""
    fd = os.open(path, NEW, PRIVATE)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file, all or nothing, also across a crash. Raises OSError."""
    with replacing(path) as temporary:
        write_new(temporary, data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path; what the body has written and synced there takes the place of `path` at its end."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.rename(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder safe. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def point(link: Path, name: str) -> None:
    """Let the symbolic link point at a neighbour, in one step; a real file or folder there is left alone."""
    if link.exists() and not link.is_symlink():
        return
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}.tmp")
    temporary.symlink_to(name)
    try:
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def put_ballast(path: Path) -> None:
    """Occupy some space that can be given back when the disk is full, for the last words. Raises OSError."""
    fd = os.open(path, NEW, PRIVATE)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, BALLAST_BYTES)
        else:
            write_all(fd, bytes(BALLAST_BYTES))
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """How much an ordinary user may still write there. Raises OSError."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
