"""Our SMTP mock against clients nobody here wrote: smtplib, aiosmtplib, curl, swaks."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import aiosmtplib
import pytest

from bench.mock.log import read_taken
from bench.mock.spec import MockSpec, Ready
from bench.model import Taken, TlsMode
from tests.integration.peers import require_program, wait_until
from tests.mock.running import running_mock

SENDER, RECIPIENTS = "a@b.example", ["c@d.example", "e@f.example"]


@dataclass(frozen=True, slots=True)
class Mock:
    """A running mock and what it takes to use it."""

    ready: Ready
    tls: TlsMode
    host: str
    port: int
    user: str
    password: str

    def context(self) -> ssl.SSLContext:
        """Trusts the mock and nobody else."""
        return ssl.create_default_context(cafile=self.ready.ca_file)

    def wait_for(self, keys: list[str]) -> list[Taken]:
        """The log's lines about `keys`, once they are all there, in the order of the keys."""
        assert self.ready.log is not None
        log = Path(self.ready.log)
        wait_until(lambda: {taken.key for taken in read_taken(log)} >= set(keys), f"{keys} in the log")
        lines = [taken for taken in read_taken(log) if taken.key in keys]
        assert sorted(taken.key for taken in lines) == sorted(keys)  # and none twice
        return sorted(lines, key=lambda taken: keys.index(taken.key))


@pytest.fixture(scope="module", params=list(TlsMode))
def mock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    tls: TlsMode = request.param
    log = tmp_path_factory.mktemp("mock") / "taken.jsonl"
    with running_mock(MockSpec("smtp", provider="sendgrid", tls=tls, log=str(log))) as ready:
        auth = ready.credentials.smtp
        assert ready.smtp is not None
        assert auth is not None
        assert auth.user is not None
        yield Mock(ready, tls, *ready.smtp, auth.user.reveal(), auth.password.reveal())


def mime(key: str) -> str:
    return f"From: {SENDER}\r\nX-Sendbench-Id: {key}\r\nSubject: x\r\n\r\nhello\r\n.dot\r\n..dots\r\n"


def check_order(lines: list[Taken]) -> None:
    for taken in lines:
        assert 0 < taken.received_ns <= taken.taken_ns <= taken.answered_ns
    for earlier, later in pairwise(lines):
        assert earlier.answered_ns <= later.received_ns


def test_the_user_is_the_providers(mock: Mock) -> None:
    assert mock.user == "apikey"
    assert (mock.ready.ca_file is None) == (mock.tls is TlsMode.NONE)


# ------------------------------------------------------------------------ smtplib


def connect(mock: Mock) -> smtplib.SMTP:
    if mock.tls is TlsMode.IMPLICIT:
        return smtplib.SMTP_SSL(mock.host, mock.port, "me.example", timeout=10, context=mock.context())
    client = smtplib.SMTP(mock.host, mock.port, "me.example", timeout=10)
    if mock.tls is TlsMode.STARTTLS:
        client.starttls(context=mock.context())
    return client


def log_in(client: smtplib.SMTP, mock: Mock, mechanism: str, *, ahead: bool) -> tuple[int, bytes]:
    client.ehlo_or_helo_if_needed()
    client.user, client.password = mock.user, mock.password
    methods: dict[str, Callable[[bytes | None], str | None]] = {
        "PLAIN": client.auth_plain, "LOGIN": client.auth_login,
    }  # fmt: skip
    return client.auth(mechanism, methods[mechanism], initial_response_ok=ahead)  # type: ignore[arg-type]


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_smtplib_sends_several_messages(mock: Mock, mechanism: str, ahead: bool) -> None:
    keys = [f"smtplib-{mock.tls}-{mechanism}-{ahead}-{number}" for number in range(3)]
    with connect(mock) as client:
        assert log_in(client, mock, mechanism, ahead=ahead)[0] == 235
        for key in keys:
            assert client.sendmail(SENDER, RECIPIENTS, mime(key)) == {}
    check_order(mock.wait_for(keys))


def test_smtplib_is_told_that_the_password_is_wrong(mock: Mock) -> None:
    with connect(mock) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            client.login(mock.user, mock.password[:-1])
        assert caught.value.smtp_code == 535
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.sendmail(SENDER, RECIPIENTS, mime("never"))
        assert refused.value.smtp_code == 530


def test_smtplib_goes_on_after_a_refused_recipient(mock: Mock) -> None:
    key = f"refused-{mock.tls}"
    with connect(mock) as client:
        client.login(mock.user, mock.password)
        refused = client.sendmail(SENDER, ["c@d..example", *RECIPIENTS], mime(key))
        assert {address: code for address, (code, _) in refused.items()} == {"c@d..example": 501}
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(SENDER, ["nobody"], mime("never"))
        assert client.noop()[0] == 250
    mock.wait_for([key])
    assert "never" not in {taken.key for taken in read_taken(str(mock.ready.log))}


@pytest.mark.parametrize("mock", [TlsMode.STARTTLS], indirect=True)
def test_smtplib_verifies_the_certificate(mock: Mock) -> None:
    with smtplib.SMTP(mock.host, mock.port, timeout=10) as client:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls(context=ssl.create_default_context())
        client.close()


# ------------------------------------------------------------------------ aiosmtplib


@pytest.mark.anyio
async def test_aiosmtplib_sends_several_messages(mock: Mock) -> None:
    keys = [f"aiosmtplib-{mock.tls}-{number}" for number in range(3)]
    client = aiosmtplib.SMTP(
        hostname=mock.host, port=mock.port, timeout=10, use_tls=mock.tls is TlsMode.IMPLICIT,
        start_tls=mock.tls is TlsMode.STARTTLS,
        tls_context=None if mock.tls is TlsMode.NONE else mock.context(),
    )  # fmt: skip
    async with client:
        await client.login(mock.user, mock.password)
        for key in keys:
            errors, text = await client.sendmail(SENDER, RECIPIENTS, mime(key))
            assert errors == {}
            assert text.startswith("Ok: queued as ")
    check_order(mock.wait_for(keys))


@pytest.mark.anyio
async def test_aiosmtplib_is_told_that_the_password_is_wrong(mock: Mock) -> None:
    async with aiosmtplib.SMTP(
        hostname=mock.host, port=mock.port, timeout=10, use_tls=mock.tls is TlsMode.IMPLICIT,
        start_tls=mock.tls is TlsMode.STARTTLS,
        tls_context=None if mock.tls is TlsMode.NONE else mock.context(),
    ) as client:  # fmt: skip
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await client.login("someone", mock.password)


# ------------------------------------------------------------------------ curl, swaks


def run(command: list[str], text: str = "") -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, errors="replace", timeout=30, check=False
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_curl(mock: Mock, mechanism: str, tmp_path: Path) -> None:
    key = f"curl-{mock.tls}-{mechanism}"
    message = tmp_path / "message.eml"
    message.write_bytes(mime(key).encode())
    scheme = "smtps" if mock.tls is TlsMode.IMPLICIT else "smtp"
    options = [] if mock.tls is TlsMode.NONE else ["--ssl-reqd", "--cacert", str(mock.ready.ca_file)]
    run([
        require_program("curl", "curl"), "--silent", "--show-error", f"{scheme}://{mock.host}:{mock.port}/me.example",
        *options, "--mail-from", SENDER, "--mail-rcpt", RECIPIENTS[0], "--mail-rcpt", RECIPIENTS[1],
        "--user", f"{mock.user}:{mock.password}", "--login-options", f"AUTH={mechanism}",
        "--upload-file", str(message),
    ])  # fmt: skip
    check_order(mock.wait_for([key]))


@pytest.mark.parametrize("mock", [TlsMode.STARTTLS, TlsMode.IMPLICIT], indirect=True)
def test_curl_does_not_trust_a_stranger(mock: Mock) -> None:
    scheme = "smtps" if mock.tls is TlsMode.IMPLICIT else "smtp"
    command = [
        require_program("curl", "curl"),
        "--silent",
        "--ssl-reqd",
        f"{scheme}://{mock.host}:{mock.port}",
    ]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 60  # CURLE_PEER_FAILED_VERIFICATION


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(mock: Mock, mechanism: str) -> None:
    key = f"swaks-{mock.tls}-{mechanism}"
    tls = {
        TlsMode.NONE: [],
        TlsMode.STARTTLS: ["--tls", "--tls-verify", "--tls-ca-path", str(mock.ready.ca_file)],
        TlsMode.IMPLICIT: ["--tls-on-connect", "--tls-verify", "--tls-ca-path", str(mock.ready.ca_file)],
    }[mock.tls]
    transcript = run([
        require_program("swaks", "swaks"), "--server", mock.host, "--port", str(mock.port), *tls,
        "--auth", mechanism, "--auth-user", mock.user, "--auth-password", mock.password, "--from", SENDER,
        "--to", ",".join(RECIPIENTS), "--ehlo", "me.example", "--header", f"X-Sendbench-Id: {key}",
    ])  # fmt: skip
    assert "queued as" in transcript
    assert "221 2.0.0 Bye" in transcript
    check_order(mock.wait_for([key]))


@pytest.mark.parametrize("mock", [TlsMode.NONE], indirect=True)
def test_swaks_pipelines(mock: Mock) -> None:
    key = "swaks-pipelined"
    run([
        require_program("swaks", "swaks"), "--server", mock.host, "--port", str(mock.port), "--pipeline",
        "--auth", "PLAIN", "--auth-user", mock.user, "--auth-password", mock.password, "--from", SENDER,
        "--to", ",".join(RECIPIENTS), "--ehlo", "me.example", "--header", f"X-Sendbench-Id: {key}",
    ])  # fmt: skip
    mock.wait_for([key])
