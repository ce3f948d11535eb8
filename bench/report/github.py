"""GitHub Actions: a step's summary, its outputs, and annotations at the lines of the scenario.

What they hold came in part from servers. A summary is Markdown and escaped as such; an output is one line; an
annotation is the only workflow command here, and nothing in its text can end it or begin another
(docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis import exit_code
from bench.analysis.judgement import WORDS
from bench.model import CaseSummary, Summary, ThresholdResult, ThresholdVerdict, Verdict
from bench.report import markdown
from bench.report.figures import measured, problems
from bench.report.text import for_terminal

if TYPE_CHECKING:
    import pandas as pd

    from bench.model import Answer

MAX_SUMMARY = 1 << 20
"""Bytes of a step's summary; GitHub shows nothing of a longer one."""
MAX_ANNOTATIONS = 10
"""Of each level in a step; GitHub drops the rest without a word."""
_CUT = "\n\nThe rest is left out: a step's summary has room for 1 MiB.\n"


def render(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """The Markdown report under its verdict, at most 1 MiB."""
    code = exit_code(summary)
    title = f"**{WORDS[code].upper()}** (exit code {int(code)})\n\n".encode()
    return _cut(title + markdown.render(summary, answer))


def _cut(text: bytes) -> bytes:
    """At the end of a line, with what was folded open closed again."""
    if len(text) <= MAX_SUMMARY:
        return text
    closing = "\n\n</details>"
    kept = text[: MAX_SUMMARY - len(_CUT) - len(closing)].rpartition(b"\n")[0]
    unfolded = kept.count(b"<details>") > kept.count(b"</details>")
    return kept + f"{closing if unfolded else ''}{_CUT}".encode()


def render_outputs(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """`name=value` lines for GITHUB_OUTPUT."""
    code = exit_code(summary)
    verdicts = [threshold.verdict for case in summary.cases for threshold in case.thresholds]
    values: dict[str, object] = {
        "verdict": WORDS[code],
        "exit-code": int(code),
        "run": summary.run.id,
        "answer": answer.sentences[0] if answer.sentences else "",
        "cases": len(summary.cases),
        "invalid-cases": sum(not case.generator.valid for case in summary.cases),
        "failed-thresholds": verdicts.count(ThresholdVerdict.FAIL),
        "inconclusive-thresholds": verdicts.count(ThresholdVerdict.INCONCLUSIVE),
        "gate": " ".join(_gates(summary)),
    }
    return "".join(f"{name}={for_terminal(str(value))}\n" for name, value in values.items()).encode()


def _gates(summary: Summary) -> Iterator[str]:
    for comparison in summary.comparisons:
        if comparison.verdict is not None:
            yield comparison.verdict.value


@dataclass(frozen=True, slots=True)
class Annotation:
    """One workflow command."""

    level: str
    """error or warning"""
    title: str
    text: str
    line: int = 0


def render_annotations(summary: Summary, answer: Answer, frame: pd.DataFrame) -> bytes:
    """A workflow command for each thing that did not pass, at most ten of a level."""
    found = list(_annotations(summary))
    lines = []
    for level in ("error", "warning"):
        of_level = [each for each in found if each.level == level]
        shown = of_level if len(of_level) <= MAX_ANNOTATIONS else of_level[: MAX_ANNOTATIONS - 1]
        lines += [_command(each, summary.run.file) for each in shown]
        if len(shown) < len(of_level):
            more = Annotation(
                level, "sendbench", f"{len(of_level) - len(shown)} more; the report has them all"
            )
            lines.append(_command(more, summary.run.file))
    return "".join(f"{line}\n" for line in lines).encode()


def _annotations(summary: Summary) -> Iterator[Annotation]:
    run = summary.run
    if run.state != "complete":
        yield Annotation("error", f"run {run.state}", run.reason or "no reason is given")
    elif not summary.cases:
        yield Annotation("error", "run invalid", "no case was measured")
    for problem in problems(summary):
        if problem.word == "INVALID":
            yield Annotation("error", "case invalid", f"{problem.case}: {problem.text}")
    yield from _thresholds(summary)
    for comparison in summary.comparisons:
        said = f"{comparison.name}: {'; '.join([*comparison.reasons, *filter(None, [comparison.note])])}"
        if comparison.verdict is Verdict.REGRESSION:
            yield Annotation("error", "gate: regression", said)
        elif comparison.verdict is Verdict.INCONCLUSIVE:
            yield Annotation("warning", "gate: inconclusive", said)


def _thresholds(summary: Summary) -> Iterator[Annotation]:
    """One for each threshold and verdict, naming the first of the cases."""
    found: dict[tuple[int, str, ThresholdVerdict], list[tuple[CaseSummary, ThresholdResult]]] = {}
    for case in summary.cases:
        for result in case.thresholds:
            if result.verdict is not ThresholdVerdict.PASS:
                found.setdefault((result.line, result.text, result.verdict), []).append((case, result))
    for (line, text, verdict), results in found.items():
        level = "error" if verdict is ThresholdVerdict.FAIL else "warning"
        case, result = results[0]
        more = f" and {len(results) - 1} more" if len(results) > 1 else ""
        yield Annotation(
            level, f"threshold {verdict.value}", f"{text}: {measured(result)} in {case.id}{more}", line
        )


def _command(annotation: Annotation, file: str) -> str:
    properties = {"file": file} if file else {}
    if file and annotation.line:
        properties["line"] = str(annotation.line)
    properties["title"] = annotation.title
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{annotation.level} {told}::{_data(annotation.text)}"


def _data(text: str) -> str:
    """Escaped as GitHub's own toolkit does it; line ends are visible text already."""
    return for_terminal(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
