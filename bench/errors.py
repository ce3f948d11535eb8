"""What can go wrong with a run as a whole.

A message that fails is a `Sample`, never an exception. The exceptions here are for the
person who runs the tool: each carries one line that says what is wrong and what to do,
and each maps to one documented exit code::

    BenchError
     +- UsageError           2  the command line or an argument makes no sense
     |   +- CredentialsError 2  a provider's credentials are missing
     +- ScenarioError        2  the scenario file is wrong: file:line:col: field: text
     +- SetupError           3  the run could not be carried out (mock did not start, ...)
     +- InvalidRunError      3  a run says nothing, where figures are needed
     +- StorageError         3  a result could not be written
     +- ResultFormatError    2  a run folder cannot be read
     +- RefusedError         5  a safety rule refused it
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The documented exit codes."""

    PASS = 0
    THRESHOLD_FAILED = 1
    USAGE = 2
    INVALID = 3
    INCONCLUSIVE = 4
    REFUSED = 5
    SIGINT = 130
    SIGTERM = 143

    @staticmethod
    def worst(codes: list[ExitCode]) -> ExitCode:
        """The one exit code that several causes end with."""
        return min(codes, key=_PRECEDENCE.index, default=ExitCode.PASS)


_PRECEDENCE = [
    ExitCode.SIGINT,
    ExitCode.SIGTERM,
    ExitCode.REFUSED,
    ExitCode.USAGE,
    ExitCode.INVALID,
    ExitCode.THRESHOLD_FAILED,
    ExitCode.INCONCLUSIVE,
    ExitCode.PASS,
]


class BenchError(Exception):
    """An error with one line for the user."""

    exit_code = ExitCode.INVALID


class UsageError(BenchError):
    """A command line that makes no sense."""

    exit_code = ExitCode.USAGE


class CredentialsError(UsageError):
    """A provider's credentials that nobody has given."""


class ScenarioError(BenchError):
    """A scenario file that is wrong: `file:line:col: field: what is wrong`; column 0: the line is known."""

    exit_code = ExitCode.USAGE

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, column: int = 0, field: str = ""
    ) -> None:
        self.file, self.line, self.column, self.field = file, line, column, field
        where = f"{file}:{line}:{f'{column}:' if column else ''} " if file else ""
        super().__init__(f"{where}{field + ': ' if field else ''}{message}")


class SetupError(BenchError):
    """The run could not be carried out."""


class InvalidRunError(BenchError):
    """A run that says nothing, where figures are needed."""


class StorageError(BenchError):
    """A result could not be written."""


class ResultFormatError(BenchError):
    """A run folder that cannot be read."""

    exit_code = ExitCode.USAGE


class RefusedError(BenchError):
    """A safety rule refused what was asked."""

    exit_code = ExitCode.REFUSED
