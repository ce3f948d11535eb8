"""What the SMTP mock says and bears in the place of a provider, as far as the provider documents it."""

from __future__ import annotations

import re
import smtplib
from contextlib import ExitStack

import pytest

from bench.mock.spec import MockSpec, Ready
from bench.model import TlsMode
from tests.mock.running import running_mock

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


def client(ready: Ready, *, log_in: bool = True) -> smtplib.SMTP:
    assert ready.smtp is not None
    found = smtplib.SMTP(*ready.smtp, timeout=10)
    if log_in:
        found.login(*pair(ready))
    return found


def pair(ready: Ready) -> tuple[str, str]:
    auth = ready.credentials.smtp
    assert auth is not None
    assert auth.user is not None
    return auth.user.reveal(), auth.password.reveal()


def spec(provider: str) -> MockSpec:
    return MockSpec(kind="smtp", provider=provider, tls=TlsMode.NONE)


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("sendgrid", rb"Ok: queued as [0-9a-f]{20}"),
        ("ses", rb"Ok [0-9a-f]{20}"),
        ("mailgun", rb"2\.0\.0 Ok: queued as [0-9a-f]{20}"),
    ],
)
def test_a_message_is_taken_in_the_provider_s_words(provider: str, words: bytes) -> None:
    with running_mock(spec(provider)) as ready, client(ready) as smtp:
        smtp.mail("a@x.example")
        smtp.rcpt("b@y.example")
        code, said = smtp.data(MESSAGE)
    assert code == 250
    assert re.fullmatch(words, said)


def test_mailtrap_takes_ten_connections_and_says_so_to_the_next() -> None:
    with running_mock(spec("mailtrap")) as ready, ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(client(ready))
        crowded = stack.enter_context(client(ready, log_in=False))
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            crowded.login(*pair(ready))
    assert (refused.value.smtp_code, refused.value.smtp_error) == (
        535,
        b"5.7.8 Too many connections per account",
    )


def test_documented_limits_of_size_and_recipients_are_kept() -> None:
    with running_mock(spec("mailtrap")) as ready, client(ready) as smtp:
        assert int(smtp.esmtp_features["size"]) == 10 * 2**20
    with running_mock(spec("ses")) as ready, client(ready) as smtp:
        smtp.mail("a@x.example")
        codes = [smtp.rcpt(f"b{n}@y.example")[0] for n in range(51)]
        assert codes == [250] * 50 + [452]
