"""What a client says to a server that it must not trust: the mock's byte log is the witness."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from bench.report import FORMATS
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


@pytest.mark.parametrize("client", ["wire", "httpx"])
def test_a_cookie_is_never_sent_back(client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H32."""
    overrides = ("provider=sendgrid", f"client={client}")
    done = carry_out("H32", tmp_path, monkeypatch, transport="api", messages=2, overrides=overrides)
    assert [row["outcome"] for row in done.rows] == ["accepted", "accepted"]
    assert b"cookie" not in done.heard().lower()


@pytest.mark.parametrize("client", ["wire", "smtplib", "aiosmtplib"])
def test_credentials_that_a_server_repeats_are_in_no_artefact(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S34: the words of the answer are those of this very login."""
    monkeypatch.setenv("FAULT_USER", "user")
    monkeypatch.setenv("FAULT_PASSWORD", "password-of-the-user")
    echo = base64.b64encode(b"\0user\0password-of-the-user").decode()
    rule = f'{{at: auth, do: reply, text: "535 5.7.8 bad AUTH PLAIN {echo} (password-of-the-user)"}}'
    (tmp_path / "echo.yaml").write_text(f"name: echo\nproto: smtp\nscript: [{rule}]\n")
    done = carry_out(
        "echo.yaml", tmp_path, monkeypatch, overrides=("tls=starttls", f"client={client}"),
        lines='auth: {user: "${env:FAULT_USER}", password: "${env:FAULT_PASSWORD}"}\n',
    )  # fmt: skip
    (row,) = done.rows
    assert (row["outcome"], row["error"], row["code"]) == ("failed", "auth", 535)
    assert b"5.7.8 bad AUTH PLAIN" in row["reply"]
    run = done.run
    pages = [each.render(run.summary, run.answer, run.frame) for each in FORMATS.values()]
    files = [path for path in run.stored.folder.iterdir() if not path.name.startswith("bytes-")]
    for kept in (*(path.read_bytes() for path in files), *pages):  # the byte log holds what the script says
        assert echo.encode() not in kept
        assert b"password-of-the-user" not in kept


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
