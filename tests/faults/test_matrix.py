"""Every step of a conversation times everything that can happen there, first and second message; what must be
recorded is computed from the step."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.faults.running import carry_out
from tests.faults.test_catalogue import check_whole

SET_UP = ("connect", "banner", "ehlo", "starttls", "tls", "ehlo2", "auth", "challenge")
BEFORE_THE_DOT = ("mail", "rcpt1", "rcptn", "data", "body")
SMTP_STEPS = (*SET_UP, *BEFORE_THE_DOT, "dot", "rset", "quit")
SMTP_ACTS = ("rst", "fin", "halfclose", "stall", "421", "drip", "garbage")
HTTP_STEPS = ("connect", "tls", "request", "body", "end", "status", "headers", "reply", "idle")
HTTP_ACTS = ("rst", "fin", "stall", "drip", "garbage")
TIMEOUT, LONG = "150ms", "2s"
"""The long one where a good message takes its time, too: its bytes come one by one, or there are many."""
LARGE = "8MiB"
"""More than the kernels of both sides hold for a mock that reads no more: the dot stays here."""
GARBAGE = "do: flood, text: x, raw: true, size: 64KiB"


def rules(step: str, act: str, where: str) -> list[str]:
    """The script of a cell."""
    at = {"rcpt1": "rcpt", "rcptn": "rcpt"}.get(step, step)
    where += ", size: 1KiB" if step == "body" else ""
    if act == "421":
        return [
            f'{{at: {at}, do: reply, text: "421 4.3.2 bye"{where}}}',
            f"{{at: {at}, do: close{where}}}",
        ]
    if act == "garbage":
        return [f"{{at: {at}, {GARBAGE if step != 'body' else GARBAGE.replace(', size: 64KiB', '')}{where}}}"]
    if act == "drip":
        return [f"{{at: {at}, do: split{where}}}"]
    if act == "stall" and step == "body":
        return [f"{{at: {at}, do: throttle{where}}}"]
    return [f"{{at: {at}, do: {act}{where}}}"]


def smtp_expected(step: str, act: str, *, second: bool) -> str:
    if step == "rset":
        return "rejected_temp"
    if act == "drip" or step == "quit":
        return "accepted"
    if step in SET_UP:
        return "failed"
    if act == "421":
        return "rejected_temp"
    if step == "dot":
        return "unknown"
    if step == "mail" and second and act in ("rst", "fin", "halfclose"):
        return "accepted"  # nothing of it had been heard: once more, on a new connection
    return "failed"


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize(("step", "act"), list(itertools.product(SMTP_STEPS, SMTP_ACTS)))
def test_smtp(step: str, act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, second: bool) -> None:
    fresh = step in SET_UP or step == "quit"
    number = 2 if second else 1
    where = f", connection: {number}" if fresh else f", use: {number}"
    where += {"rcptn": f", nth: {2 * number}", "rcpt1": f", nth: {2 * number - 1}"}.get(step, "")
    script = rules(step, act, where)
    if step == "challenge":
        script.insert(0, '{at: ehlo2, do: reply, text: "250-mock\\r\\n250 AUTH LOGIN"}')
    if step == "rset":
        script.insert(0, f'{{at: mail, do: reply, text: "451 4.3.0 later", use: {number}}}')
    overrides = [
        "smtp.pipelining=off", "smtp.chunking=off", "message.recipients=2",
        f"connection={'unpooled' if fresh else 'pooled'}",
    ]  # fmt: skip
    if step in ("starttls", "tls", "ehlo2", "auth", "challenge"):
        overrides.append("tls=starttls")
    if step == "body":
        overrides.append(f"message.size={LARGE}")
    timeout = LONG if act == "drip" or step == "body" else TIMEOUT
    done = carry_out(
        f"[{', '.join(script)}]", tmp_path, monkeypatch,
        messages=number, overrides=tuple(overrides), timeout=timeout,
    )  # fmt: skip
    check_whole(done, number)
    row = done.rows[-1]
    notes = json.loads(row["notes"] or "{}")
    assert row["outcome"] == smtp_expected(step, act, second=second), row
    assert all(each["outcome"] == "accepted" for each in done.rows[:-1])
    if step == "mail" and second and row["outcome"] == "accepted" and act != "drip":
        assert notes["conn_retry"] == 1
    if row["outcome"] in ("failed", "unknown") and act == "garbage":
        assert row["error"] in ("protocol", "tls")
    if act == "stall" and row["outcome"] != "accepted" and step != "rset":
        assert row["error"] == "timeout"


def http_expected(step: str, act: str) -> str:
    if act == "drip" or step == "idle":
        return "accepted"
    return "failed" if step in ("connect", "tls") else "unknown"


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize(("step", "act"), list(itertools.product(HTTP_STEPS, HTTP_ACTS)))
def test_http(step: str, act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, second: bool) -> None:
    number, fresh = (2 if second else 1), step in ("connect", "tls")
    where = f", connection: {number}" if fresh else f", use: {number}"
    script = [rule.replace(", size: 1KiB", "") for rule in rules(step, act, where)]
    done = carry_out(
        f"[{', '.join(script)}]", tmp_path, monkeypatch, transport="api", provider="postmark",
        messages=number, timeout=LONG if act == "drip" else TIMEOUT,
        overrides=("connection=unpooled", "tls=implicit") if fresh else ("connection=pooled",),
    )  # fmt: skip
    check_whole(done, number)
    row = done.rows[-1]
    assert row["outcome"] == http_expected(step, act), row
    assert all(each["outcome"] == "accepted" for each in done.rows[:-1])


def test_the_matrices_are_whole() -> None:
    assert 2 * len(SMTP_STEPS) * len(SMTP_ACTS) == 224
    assert 2 * len(HTTP_STEPS) * len(HTTP_ACTS) == 90
