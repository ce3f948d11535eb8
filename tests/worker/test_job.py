"""What a run and its workers say to each other comes over the pipe as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import Auth, Case, CaseRun, Endpoint, Secret, TlsSettings
from bench.pacing import Share
from bench.scenario import load_scenario, shipped_scenarios
from bench.worker.job import Job, Order, Word, dump, parse

PASSWORD = "canary-7f3a9c-password"
CASES = [
    replace(case, auth=None)
    for name, path in shipped_scenarios().items()
    for case in load_scenario(path, environ={}).cases[:2]
]


def job_of(case: Case) -> Job:
    return Job(
        case=case,
        endpoint=Endpoint("127.0.0.1", 2525, TlsSettings(ca_file="ca.pem"), None, "localhost"),
        user="user",
        password=PASSWORD,
        secrets=(PASSWORD,),
        lab=("10.0.0.0/8",),
        folder="results/x",
        key_prefix="x-0",
        seed=5,
        started_at="2026-11-23T18:26:05+00:00",
        clock_offset_ns=2**62,
        grace_s=30.0,
        switch_interval_s=0.0001,
        uvloop=True,
        number=1,
        of=3,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_a_job_comes_over_whole_and_in_one_line(case: Case) -> None:
    line = dump(job_of(case))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse(Job, line) == job_of(case)


def test_messages_with_files_come_over_byte_for_byte() -> None:
    own = bytes(range(256)) + b"\r\n.\r\n"
    case = replace(CASES[0], message=replace(CASES[0].message, eml=own))
    assert parse(Job, dump(job_of(case))).case.message.eml == own


def test_credentials_are_in_the_line_and_in_no_repr() -> None:
    job = job_of(CASES[0])
    assert job.auth == Auth(Secret("user"), Secret(PASSWORD))
    assert PASSWORD not in repr(job)
    assert replace(job, user=None).auth == Auth(None, Secret(PASSWORD))
    assert replace(job, password=None).auth is None


def test_credentials_cannot_slip_in_with_the_case() -> None:
    case = replace(CASES[0], auth=Auth(None, Secret(PASSWORD)))
    with pytest.raises(TypeError, match="Secret"):
        dump(job_of(case))


def test_a_job_names_its_share() -> None:
    assert job_of(CASES[0]).share == Share(1, 3)


WORDS = st.builds(
    Word,
    ready=st.booleans(),
    done=st.integers(0, 2**63),
    run=st.none() | st.builds(CaseRun, labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5))),
    error=st.none() | st.text(max_size=20),
)


@given(WORDS)
def test_words_come_over_as_they_were(word: Word) -> None:
    assert parse(Word, dump(word)) == word


@given(st.builds(Order, go_ns=st.none() | st.integers(0, 2**63), stop=st.booleans(), cut=st.booleans()))
def test_orders_come_over_as_they_were(order: Order) -> None:
    assert parse(Order, dump(order)) == order


@pytest.mark.parametrize("line", [b"", b"Traceback (most recent call last):", b"[]", b'{"ready": 1}'])
def test_anything_else_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|object|ready"):
        parse(Word, line)
