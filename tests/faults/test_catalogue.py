"""Every named fault of the catalogue, against the record that its file expects."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from bench.errors import ScenarioError
from bench.report import FORMATS
from bench.scenario.faults import ExpectForm, FaultCase, catalogue, read_case
from tests.canary import found_in
from tests.faults.running import READY, Carried, carry_out

ROOT = Path(__file__).parents[2]
OVER = os.environ.get("SENDBENCH_FAULTS_OVER", "")
"""A setting under which all of them are carried out; the long tier does so for each of `NOT_OVER`."""
NOT_OVER: dict[str, set[str]] = {
    "": set(),
    "connection=unpooled": {"H23", "S66", "S68"},  # about a kept connection
    "tls=implicit": {"S08-fin", "S08-rst", "H21"},  # lost before the banner or the request: during TLS, then
    "tls=starttls": {"H21", "S15", "S17-odd", "S44"},  # what these servers say to EHLO offers no TLS
}
TEXTS = [each for name, each in FORMATS.items() if name != "html"]
"""Quick to make. The page holds what they hold."""
ONE_BY_ONE = ("smtp.pipelining=off", "smtp.chunking=off", *filter(None, [OVER]))
"""Faults are about single commands; what grouping changes is the matrix's affair."""


def check(row: dict[str, object], expected: ExpectForm, name: str) -> None:
    found = {
        "outcome": row["outcome"], "phase": row["phase_at_end"], "error": row["error"],
        "anomaly": row["anomaly"], "code": row["code"], "recipients_accepted": row["recipients_accepted"],
    }  # fmt: skip
    for key, value in found.items():
        wanted = getattr(expected, key)
        if wanted is not None or (key == "anomaly" and expected.outcome == "accepted"):
            assert value == wanted, f"{name}: {key}: {found}"
    notes = json.loads(str(row["notes"])) if row["notes"] else {}
    for key, value in expected.notes.items():
        assert notes.get(key) == value, f"{name}: notes: {notes}"


def overrides_of(case: FaultCase) -> tuple[str, ...]:
    """What is set for it on the command line."""
    texts = {
        key: json.dumps(value) if "\r" in str(value) else str(value)
        for key, value in case.form.client.items()
    }  # what holds a line break has to be quoted on a command line as well
    return (*ONE_BY_ONE, *(f"{key}={value}" for key, value in texts.items()))


def check_secrets(done: Carried, said: str) -> None:
    """F16: the credentials stand in no artefact, no report and nothing that was said or logged, in whatever
    form."""
    if not READY:
        return  # no mock was asked
    ready = READY[-1].credentials
    secrets = {auth.password.reveal() for auth in (ready.smtp, *ready.api.values()) if auth is not None}
    run = done.run
    for path in run.stored.folder.iterdir():
        assert found_in(path.read_bytes(), secrets) == [], path.name
    texts = [each.render(run.summary, run.answer, run.frame) for each in TEXTS]
    texts += [repr((run.summary, run.answer)).encode(), said.encode("utf-8", "backslashreplace")]
    for text in texts:
        assert found_in(text, secrets) == []


def check_whole(done: Carried, count: int) -> None:
    """What holds for every fault: the accounts balance, and nothing is taken that the record denies."""
    (case,) = done.run.summary.cases
    counts = case.counts
    assert counts.scheduled == counts.attempted + counts.dropped == count
    assert counts.attempted == counts.accepted + counts.rejected + counts.failed + counts.unknown
    if case.referee is not None:
        disputed = case.referee.false_accepted, case.referee.unaccounted, case.referee.duplicates
        assert disputed == (0, 0, 0)


@pytest.mark.parametrize("name", list(catalogue()))
def test_is_recorded_as_its_file_expects(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    if name in NOT_OVER[OVER]:
        pytest.skip(f"has another meaning with {OVER}")
    case = read_case(catalogue()[name])
    if case.form.elsewhere is not None:
        file, _, test = case.form.elsewhere.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")
        return
    overrides = overrides_of(case)
    refused = case.expected[0].refused
    if refused is not None:
        with pytest.raises(ScenarioError, match=refused):
            carry_out(name, tmp_path, monkeypatch, transport=case.transport, overrides=overrides)
        assert not (tmp_path / "results").exists()
        return
    kept = "connection" not in case.form.client and OVER != "connection=unpooled"
    evict = case.expected[0].evict if len(case.expected) == 1 and kept else None
    done = carry_out(
        name,
        tmp_path,
        monkeypatch,
        transport=case.transport,
        messages=len(case.expected) + (evict is not None),
        overrides=overrides,
    )
    rows = done.rows
    check_whole(done, len(rows))
    check_secrets(done, "".join((*capfd.readouterr(), caplog.text)))
    if evict is not None:
        same = rows.pop()["connection_id"] == rows[0]["connection_id"]
        assert same is not evict, f"{name}: the connection was {'not ' if same else ''}given up"
    assert len(rows) == len(case.expected)
    for row, expected in zip(rows, case.expected, strict=True):
        check(row, expected, name)
    taken = [expected.taken for expected in case.expected if expected.taken is not None]
    if taken and done.run.takes:
        keys = {row["key"] for row in rows}
        (found,) = done.run.takes.values()
        assert len([each for each in found if each.key in keys]) == taken[-1], name


def test_every_fault_has_a_file() -> None:
    """S01 to S74 and H01 to H36; four of these are about HTTP/2, which nothing here speaks."""
    there = {name.partition("-")[0] for name in catalogue()}
    wanted = {f"S{number:02d}" for number in range(1, 75)} | {f"H{number:02d}" for number in range(1, 37)}
    assert wanted - there == {"H26", "H27", "H28", "H29"}
    assert all(read_case(path).form.name == name for name, path in catalogue().items())
