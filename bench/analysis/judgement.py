"""What a run as a whole has come to: the exit code, and so whether CI goes on.

It fails closed: only what was measured, in a run that is complete and valid, can pass. A run without a case
has shown nothing, whatever its state says.
"""

from __future__ import annotations

from bench.errors import ExitCode
from bench.model import CaseSummary, Summary, ThresholdVerdict, Verdict


def exit_code(summary: Summary) -> ExitCode:
    """The documented exit code of a run: 0, 1, 3 or 4."""
    codes = [ExitCode.PASS]
    if summary.run.state == "stopped":  # by a threshold, which could no longer pass
        codes.append(ExitCode.THRESHOLD_FAILED)
    elif summary.run.state != "complete":  # an aborted run passes nothing, whatever it had measured
        codes.append(ExitCode.INVALID)
    if not summary.cases:
        codes.append(ExitCode.INVALID)
    for case in summary.cases:
        codes.extend(_codes_of(case))
    codes += [EXIT_CODES[each.verdict] for each in summary.comparisons if each.verdict is not None]
    return ExitCode.worst(codes)


def _codes_of(case: CaseSummary) -> list[ExitCode]:
    codes = []
    if not case.generator.valid:
        codes.append(ExitCode.INVALID)
    verdicts = {each.verdict for each in case.thresholds}
    if ThresholdVerdict.FAIL in verdicts:
        codes.append(ExitCode.THRESHOLD_FAILED)
    if ThresholdVerdict.INCONCLUSIVE in verdicts:
        codes.append(ExitCode.INCONCLUSIVE)
    return codes


WORDS = {
    ExitCode.PASS: "pass",
    ExitCode.THRESHOLD_FAILED: "fail",
    ExitCode.INVALID: "invalid",
    ExitCode.INCONCLUSIVE: "inconclusive",
}
"""What each of these exit codes is called."""
EXIT_CODES = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.REGRESSION: ExitCode.THRESHOLD_FAILED,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.INVALID: ExitCode.INVALID,
}
"""What each verdict on something that was compared ends with."""
