from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import Outcome
from bench.providers import get_provider
from bench.providers.base import Headers, Response

SENDGRID = get_provider("sendgrid")
ID = (("x-message-id", "14c5d75ce93.dfd.64b469"),)
PAGE = b"<html><title>Please log in</title></html>"


@pytest.mark.parametrize(
    ("status", "headers", "body", "anomaly"),
    [
        (202, (), b"", "no_id"),  # H13
        (202, (("x-message-id", ""),), b"", "no_id"),
        (202, (("x-message-id", "two words"),), b"", "no_id"),
        (202, (("x-message-id", "x" * 10_000),), b"", "no_id"),
        (202, (("x-message-id", "\x1b[2J"),), b"", "no_id"),
        (202, (("x-message-id", "a"), ("x-message-id", "b")), b"", "dup_id"),
        (202, ID, PAGE, "body"),  # H10
        (202, ID, b"{}", "body"),
        (200, (), PAGE, "status"),
        (200, ID, b"", "status"),  # the sandbox's answer to a message that was none of it
        (201, ID, b"", "status"),
        (204, ID, b"", "status"),
        (207, ID, b"", "status"),  # H11
    ],
)
def test_a_success_that_is_not_the_contracts_leaves_it_open(
    status: int, headers: Headers, body: bytes, anomaly: str
) -> None:
    judged = SENDGRID.judge(Response(status, headers, body))
    assert (judged.outcome, judged.error, judged.anomaly) == (Outcome.UNKNOWN, "protocol", anomaly)
    assert judged.message_id is None


def test_success() -> None:
    judged = SENDGRID.judge(Response(202, ID, b""))
    assert (judged.outcome, judged.error, judged.anomaly) == (Outcome.ACCEPTED, None, None)
    assert judged.message_ids == ("14c5d75ce93.dfd.64b469",)


def test_the_same_id_twice_is_one_id() -> None:
    assert SENDGRID.judge(Response(202, (*ID, *ID), b"")).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, Outcome.ACCEPTED), (202, Outcome.UNKNOWN), (400, Outcome.REJECTED_PERM)]
)
def test_in_the_sandbox_200_is_the_success(status: int, outcome: Outcome) -> None:
    assert SENDGRID.judge(Response(status, ID, b""), sandbox=True).outcome is outcome


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (400, Outcome.REJECTED_PERM, "invalid"),
        (401, Outcome.REJECTED_PERM, "auth"),
        (403, Outcome.REJECTED_PERM, "auth"),
        (404, Outcome.REJECTED_PERM, "config"),
        (413, Outcome.REJECTED_PERM, "size"),
        (429, Outcome.REJECTED_TEMP, "throttle"),
        (503, Outcome.REJECTED_TEMP, "unavailable"),
        (408, Outcome.UNKNOWN, "server"),
        (500, Outcome.UNKNOWN, "server"),
        (502, Outcome.UNKNOWN, "server"),
        (504, Outcome.UNKNOWN, "server"),
        (302, Outcome.REJECTED_PERM, "redirect"),
    ],
)
@pytest.mark.parametrize("body", [b"", PAGE, b'{"errors": [{"message": "m", "field": "f", "help": null}]}'])
def test_refusals_are_told_by_their_status_whatever_the_body_is(
    status: int, outcome: Outcome, error: str, body: bytes
) -> None:
    judged = SENDGRID.judge(Response(status, ID, body))
    assert (judged.outcome, judged.error, judged.message_id) == (outcome, error, None)
    assert judged.notes == ({"message": "m", "field": "f"} if b"errors" in body else {})


@pytest.mark.parametrize(
    ("shape", "notes"),
    [
        ({"errors": []}, {}),
        ({"errors": "x"}, {}),
        ({"errors": [7]}, {}),
        ({"errors": [{"message": 7}]}, {}),
        ({"errors": [{"message": "m"}]}, {"message": "m"}),
        ({"errors": [{"message": "m", "field": None}]}, {"message": "m"}),
        ({"errors": [{"message": "m", "field": 7}]}, {"message": "m"}),
        ({"errors": [{"message": "m"}, {"message": "n"}], "id": "e"}, {"message": "m"}),
        ({"errors": [{"message": "x" * 5000}]}, {"message": "x" * 4096}),
        (["errors"], {}),
        (None, {}),
    ],
)
def test_the_first_error_is_read_where_there_is_one(shape: object, notes: dict[str, str]) -> None:
    assert SENDGRID.judge(Response(400, (), json.dumps(shape).encode())).notes == notes


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"errors":' * 100_000,
        b'{"errors": NaN}',
        b"\xef\xbb\xbf{}",
        b'{"errors": [], "errors": []}',
        '{"errors": []}'.encode("utf-16"),
        b"\xff" * 1_000_000,
        b"9" * 1_000_000,
    ],
)
@pytest.mark.parametrize("status", [200, 202, 400, 500])
def test_hostile_bodies_do_no_harm(status: int, body: bytes) -> None:
    assert SENDGRID.judge(Response(status, ID, body)).outcome is not Outcome.ACCEPTED


_NAMES = st.sampled_from(["x-message-id", "retry-after", "location", "content-type"]) | st.text()


@given(
    st.sampled_from([200, 202, 302, 400, 429, 500]) | st.integers(),
    st.lists(st.tuples(_NAMES, st.text())),
    st.binary() | st.sampled_from([b"", b'{"errors": [{"message": "m"}]}']),
    st.booleans(),
)
def test_judging_never_raises(
    status: int, headers: list[tuple[str, str]], body: bytes, sandbox: bool
) -> None:
    judged = SENDGRID.judge(Response(status, tuple(headers), body), sandbox=sandbox)
    if judged.outcome is Outcome.ACCEPTED:
        assert (status, body) == (200 if sandbox else 202, b"")
        assert sandbox or len(judged.message_ids) == 1
    else:
        assert judged.error
        assert judged.message_id is None
