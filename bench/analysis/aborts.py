"""What a threshold with `abort` forgives a case before it ends the run."""

from __future__ import annotations

from bench.analysis.thresholds import forgiven, matches
from bench.errors import ScenarioError
from bench.model import Case, Scenario
from bench.stopping import Tolerance


def tolerances(case: Case, scenario: Scenario) -> tuple[Tolerance, ...]:
    """One for each threshold that may end the run because of this case.

    Raises ScenarioError for one that cannot pass with as many messages as are planned.
    """
    planned, found = case.load.messages, []
    for each in scenario.thresholds:
        if not each.abort or planned is None or not matches(each, case.labels):
            continue
        most = forgiven(each, planned)
        if most is None:
            text = f"{each.text} cannot pass with {planned} messages: raise their number, or leave abort out"
            raise ScenarioError(
                text, file=scenario.file if each.line else "", line=each.line, field="thresholds"
            )
        found.append(Tolerance(each, planned, most))
    return tuple(found)


def check_aborts(scenario: Scenario) -> None:
    """Raise ScenarioError for a threshold with `abort` that cannot pass."""
    for case in scenario.cases:
        tolerances(case, scenario)
