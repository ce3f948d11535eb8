"""Fault scripts: what a mock does wrong, and where; and the catalogue of named ones that come with sendbench.

A script is a list of rules. A file of its own holds one case: its name, the script, what the client must be
set to, and what the record of the message must say then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from bench.errors import ScenarioError
from bench.model import Fault, Transport
from bench.scenario.fault_form import STEPS_OF, FaultForm
from bench.scenario.problems import Problems, suggest
from bench.scenario.section import Form
from bench.scenario.shipped import shipped_folder
from bench.scenario.tree import Node, compose, decode
from bench.scenario.wording import note_errors


class ExpectForm(Form):
    """What the record of the message must say, or that there must be none."""

    outcome: str = ""
    refused: str | None = Field(None, description="The scenario is refused in these words; nothing is sent.")
    phase: str | None = None
    error: str | None = None
    anomaly: str | None = None
    code: int | None = None
    evict: bool | None = Field(None, description="Whether the connection must not be used again.")
    recipients_accepted: int | None = None
    taken: int | None = Field(None, description="Messages that the mock must have taken.")
    notes: dict[str, str | int | bool] = Field(default_factory=dict)


class CaseFileForm(Form):
    """A file of the catalogue, or of the user's own."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    title: str = ""
    proto: Literal["smtp", "http"]
    script: Annotated[list[FaultForm], Field(max_length=100)] = Field(
        default_factory=list, description="Empty: what goes wrong lies in `client`."
    )
    elsewhere: str | None = Field(
        None, description="The test that carries it out, where it takes more than a mock and a client."
    )
    client: dict[str, str | int | bool] = Field(
        default_factory=dict, description="Keys of a scenario, dotted, that the case needs."
    )
    expect: ExpectForm | list[ExpectForm] | None = Field(
        None, description="Of the one message, or of each in turn."
    )


@dataclass(frozen=True, slots=True)
class FaultCase:
    """One named fault, and what must be recorded of it."""

    form: CaseFileForm

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Its script."""
        return tuple(rule.fault() for rule in self.form.script)

    @property
    def transport(self) -> Transport:
        """The transport it befalls."""
        return Transport.SMTP if self.form.proto == "smtp" else Transport.API

    @property
    def expected(self) -> list[ExpectForm]:
        """Of each message in turn."""
        expect = self.form.expect
        return expect if isinstance(expect, list) else [] if expect is None else [expect]


@cache
def catalogue() -> Mapping[str, Path]:
    """Name -> file of the faults that come with sendbench: a file's name begins with the fault's."""
    folder = shipped_folder()
    files = sorted(folder.glob("faults/*.yaml")) if folder is not None else []
    return {path.stem.partition(".")[0]: path for path in files}


def read_case(path: Path) -> FaultCase:
    """Read and check a case's file. Raises ScenarioError."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from None
    return parse_case(source, str(path))


def parse_case(source: bytes, file: str) -> FaultCase:
    """The case that a file's text describes. Raises ScenarioError with file, line and remedy."""
    tree, problems = compose(decode(source, file), file), Problems(file)
    try:
        form = CaseFileForm.model_validate(tree.plain())
    except ValidationError as error:
        note_errors(error, tree, problems)
        problems.raise_first()
        raise
    steps = STEPS_OF[FaultCase(form).transport]
    for number, rule in enumerate(form.script):
        if rule.at not in steps:
            node = tree.entries["script"].items[number]
            problems.add(node, f"{rule.at} is no step over {form.proto}; one of {', '.join(steps)}")
    problems.raise_first()
    return FaultCase(form)


def find_case(name: str, path: Path | None, node: Node, problems: Problems) -> FaultCase | None:
    """The case a scenario names: one of the catalogue, else a file. What is wrong goes to `problems`."""
    known = catalogue()
    if name in known:
        return read_case(known[name])
    if path is None or not path.is_file():
        problems.add(node, f"no fault {name!r}: neither in the catalogue nor a file{suggest(name, known)}")
        return None
    return read_case(path)
