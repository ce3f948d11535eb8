"""JUnit XML as a CI service reads it: by a schema, and by a parser that knows nothing of sendbench."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema

from bench.model import ThresholdVerdict, Verdict
from tests.report.gated import REASONS, gated
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, Planted, edge
from tests.report.rendered import render


@cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(Path(__file__).parents[1] / "data" / "junit.xsd")


def suite_of(run: Planted) -> ElementTree.Element:
    """The one suite, after the schema has been held against it."""
    data = render("junit", run)
    schema().validate(data.decode())
    (suite,) = ElementTree.fromstring(data)
    return suite


def result(test: ElementTree.Element) -> str:
    found = [child.tag for child in test if child.tag != "properties"]
    assert len(found) <= 1
    return found[0] if found else "passed"


def results(run: Planted) -> dict[str, str]:
    return {test.attrib["name"]: result(test) for test in suite_of(run).iter("testcase")}


def numbers(run: Planted, name: str) -> dict[str, str]:
    (test,) = [test for test in suite_of(run).iter("testcase") if test.attrib["name"] == name]
    return {each.attrib["name"]: each.attrib["value"] for each in test.iter("property")}


@pytest.mark.parametrize("shape", EDGES)
def test_is_by_the_schema_and_counts_right(shape: str) -> None:
    suite = suite_of(edge(shape))
    found = [result(test) for test in suite.iter("testcase")]
    named = {"tests": len(found), "failures": found.count("failure"), "errors": found.count("error")}
    assert {key: int(suite.attrib[key]) for key in named} == named
    assert int(suite.attrib["skipped"]) == found.count("skipped")


def test_the_schema_refuses_what_is_not_of_the_form() -> None:
    text = render("junit", edge("four")).decode()
    for wrong in (
        text.replace('classname="', 'class="', 1),
        text.replace("<testcase ", "<test ", 1).replace("</testcase>", "</test>", 1),
        text.replace(': valid"', ': p50(service) &lt; 2s"', 1),
    ):
        with pytest.raises(xmlschema.XMLSchemaValidationError):
            schema().validate(wrong)


def test_a_test_case_for_each_verdict() -> None:
    found = results(edge("some-failed"))
    invalid, good = (case.id for case in edge("some-failed").summary.cases)
    assert found == {
        "run": "passed",
        f"{invalid}: valid": "error",
        f"{invalid}: p50(service) < 2s": "error",
        f"{invalid}: share(accepted) >= 99.9%": "error",
        f"{good}: valid": "passed",
        f"{good}: p50(service) < 2s": "passed",
        f"{good}: share(accepted) >= 99.9%": "passed",
    }


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (ThresholdVerdict.PASS, "passed"),
        (ThresholdVerdict.FAIL, "failure"),
        (ThresholdVerdict.INCONCLUSIVE, "skipped"),
    ],
)
def test_what_a_threshold_becomes(verdict: ThresholdVerdict, expected: str) -> None:
    run = edge("one")
    (case,) = run.summary.cases
    first = replace(case.thresholds[0], verdict=verdict, limit=2000.0, interval=(1.5, None))
    changed = replace(run.summary, cases=(replace(case, thresholds=(first,)),))
    planted = replace(run, summary=replace(changed, run=replace(changed.run, file="a/b.yaml")))
    assert results(planted)[f"{case.id}: {first.text}"] == expected
    (test,) = [test for test in suite_of(planted).iter("testcase") if first.text in test.attrib["name"]]
    assert (test.attrib["file"], test.attrib["line"]) == ("a/b.yaml", "12")
    told = numbers(planted, test.attrib["name"])
    assert float(told["value"]) == pytest.approx(first.value, rel=1e-5)
    assert (told["low"], told["limit"], "high" in told) == ("1.5", "2000", False)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [(Verdict.PASS, "passed"), (Verdict.REGRESSION, "failure"), (Verdict.INCONCLUSIVE, "skipped")],
)
def test_what_a_gate_becomes(verdict: Verdict, expected: str) -> None:
    run = gated(verdict)
    assert results(run)["gate: transport"] == expected
    told = numbers(run, "gate: transport")
    assert told["p95.ratio"] == "1.081"
    assert told["p95.detectable"] == "0.031"
    assert told["lost.high"] == "0.02"
    assert {"p95.high", "p99.ratio"}.isdisjoint(told), "what is not known is not there"
    if expected != "passed":
        assert REASONS[verdict][0].encode() in render("junit", run)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_gate_on_an_invalid_case_is_an_error(verdict: Verdict) -> None:
    assert results(gated(verdict, valid=False))["gate: transport"] == "error"


def test_a_comparison_without_a_gate_is_no_test() -> None:
    assert not [name for name in results(gated(None)) if name.startswith("gate")]


def test_a_run_that_was_cut_off_or_has_no_case_is_an_error() -> None:
    assert results(edge("no-cases")) == {"run": "error"}
    complete = edge("no-cases")
    info = replace(complete.summary.run, state="complete")
    assert results(replace(complete, summary=replace(complete.summary, run=info))) == {"run": "error"}


def test_a_run_that_a_threshold_has_stopped_is_a_failure() -> None:
    run = edge("one")
    info = replace(run.summary.run, state="stopped", reason="p95(service) < 1ms can no longer pass")
    planted = replace(run, summary=replace(run.summary, run=info))
    assert results(planted)["run"] == "failure"
    assert b"can no longer pass" in render("junit", planted)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_stays_text(payload: str) -> None:
    harmless, found = suite_of(hostile_run("harmless")), suite_of(hostile_run(payload))
    assert [each.tag for each in found.iter()] == [each.tag for each in harmless.iter()]
    lines = render("junit", hostile_run(payload)).decode().splitlines()
    assert len(lines) == len(render("junit", hostile_run("harmless")).decode().splitlines())
    assert not [line for line in lines if "##[" in line or line.lstrip().startswith("::")]
