"""What a client says to a server that it must not trust: the mock's byte log is the witness."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.running import carry_out

STRIPPED = ["S18", "S19-454", "S19-502", "S19-junk"]


@pytest.mark.parametrize(
    ("name", "client"),
    [*((name, client) for name in STRIPPED for client in ("wire", "smtplib")), ("S20", "wire")],
)
def test_without_tls_nothing_is_said_that_matters(
    name: str, client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = carry_out(name, tmp_path, monkeypatch, overrides=("tls=starttls", f"client={client}"))
    assert done.rows[0]["outcome"] == "failed"
    heard = done.heard().upper()
    assert heard.startswith(b"EHLO ")
    assert not any(word in heard for word in (b"AUTH", b"***", b"MAIL", b"RCPT", b"SUBJECT"))


def test_a_server_that_wants_no_login_hears_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = carry_out("S15", tmp_path, monkeypatch, overrides=("mock.auth=false",))
    assert b"***" not in done.heard()
    assert b"MAIL FROM" in done.heard()


def test_a_report_says_that_faults_were_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = carry_out("S60", tmp_path, monkeypatch)
    (case,) = done.run.summary.cases
    assert case.generator.valid
    assert case.generator.reasons == ("the mock went wrong by a script of 6 rules",)
    assert done.run.answer.sentences[0].endswith("the mock went wrong by a script of 6 rules.")


def test_the_byte_log_holds_all_but_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = carry_out("S65-enhanced", tmp_path, monkeypatch)
    heard = done.heard()
    assert b"***" in heard
    assert b"MAIL FROM:" in heard
    said = [each for each in done.said if each["from"] == "mock"]
    assert any("250 5.1.1 taken" in each["bytes"] for each in said)
    assert sorted(done.said, key=lambda each: each["at_ns"]) == done.said
