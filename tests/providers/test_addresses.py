from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import CredentialsError, UsageError
from bench.model import Case, Endpoint, Scenario
from bench.providers import PROVIDERS
from bench.providers.addresses import caveat_of, endpoint_of, with_credentials
from bench.scenario import load_scenario

SCENARIO = """\
version: 1
name: real
target: {target}
provider: {provider}
transport: {transport}
connection: pooled
load: {{model: closed, concurrency: 1, messages: 1}}
"""
NINE = [name for name in PROVIDERS if name != "generic"]


class Everything(Mapping[str, str]):
    """An environment in which every variable is set, to its own name."""

    def __getitem__(self, name: str) -> str:
        return f"value-of-{name}"

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(())

    def __len__(self) -> int:
        return 0


def case(folder: Path, provider: str, transport: str, *overrides: str, target: str = "live") -> Case:
    file = folder / "real.yaml"
    text = SCENARIO.format(target=target, provider=provider, transport=transport)
    file.write_text(text, encoding="utf-8")
    (found,) = load_scenario(file, overrides=list(overrides)).cases
    return found


def secrets(endpoint: Endpoint) -> tuple[str | None, str]:
    assert endpoint.auth is not None
    user = endpoint.auth.user
    return user.reveal() if user else None, endpoint.auth.password.reveal()


@pytest.mark.parametrize("provider", NINE)
@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_each_has_an_address_and_credentials(provider: str, transport: str, tmp_path: Path) -> None:
    facts = PROVIDERS[provider].facts
    endpoint = endpoint_of(case(tmp_path, provider, transport), Everything())
    places = facts.smtp.hosts if transport == "smtp" else facts.api.base_urls
    assert endpoint.host in next(iter(places.values()))
    assert endpoint.port == (443 if transport == "api" else facts.smtp.starttls_ports[0])
    assert secrets(endpoint)[1]


def test_a_region_has_hosts_of_its_own(tmp_path: Path) -> None:
    assert (
        endpoint_of(case(tmp_path, "mailgun", "api", "region=eu"), Everything()).host == "api.eu.mailgun.net"
    )
    with pytest.raises(UsageError, match="region: Mailjet has none called 'us' over smtp"):
        endpoint_of(case(tmp_path, "mailjet", "smtp", "region=us"), Everything())


def test_conventions_of_users(tmp_path: Path) -> None:
    assert secrets(endpoint_of(case(tmp_path, "sendgrid", "smtp"), Everything())) == (
        "apikey",
        "value-of-SENDGRID_API_KEY",
    )
    user, password = secrets(endpoint_of(case(tmp_path, "ses", "smtp"), Everything()))
    assert user == "value-of-AWS_ACCESS_KEY_ID"
    assert password.startswith("B")  # derived, as the first byte is 4


def test_implicit_tls_has_its_port_and_none_is_refused(tmp_path: Path) -> None:
    assert endpoint_of(case(tmp_path, "sendgrid", "smtp", "tls=implicit"), Everything()).port == 465
    with pytest.raises(UsageError, match="tls: Postmark"):
        endpoint_of(case(tmp_path, "postmark", "smtp", "tls=implicit"), Everything())
    with pytest.raises(UsageError, match="over TLS only"):
        endpoint_of(case(tmp_path, "postmark", "api", "tls=none"), Everything())


def test_missing_credentials_name_the_variable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set MAILJET_API_KEY and MAILJET_SECRET_KEY"):
        endpoint_of(case(tmp_path, "mailjet", "api"), {})


def test_sandboxes(tmp_path: Path) -> None:
    endpoint = endpoint_of(case(tmp_path, "mailtrap", "smtp", target="sandbox"), Everything())
    assert endpoint.host == "sandbox.smtp.mailtrap.io"
    endpoint = endpoint_of(case(tmp_path, "mailtrap", "api", target="sandbox"), Everything())
    assert endpoint.host == "sandbox.api.mailtrap.io"
    endpoint = endpoint_of(case(tmp_path, "postmark", "api", target="sandbox"), {})
    assert secrets(endpoint)[1] == "POSTMARK_API_TEST"
    with pytest.raises(UsageError, match=r"SMTP\.com has no sandbox"):
        endpoint_of(case(tmp_path, "smtpcom", "api", target="sandbox"), Everything())
    with pytest.raises(UsageError, match="SendGrid has no sandbox over smtp"):
        endpoint_of(case(tmp_path, "sendgrid", "smtp", target="sandbox"), Everything())


def test_a_server_of_one_s_own_is_no_provider(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name it as the target"):
        endpoint_of(case(tmp_path, "generic", "smtp"), Everything())


def compared(folder: Path, *, target: str = "live") -> Scenario:
    file = folder / "compared.yaml"
    file.write_text(
        f"version: 1\nname: real\ntarget: {target}\ncompare: provider\n"
        "load: {model: closed, messages: 1}\n"
        "matrix: {transport: [smtp, api], provider: [sendgrid, resend, mailjet]}\n",
        encoding="utf-8",
    )
    return load_scenario(file)


def test_who_has_no_credentials_is_left_out_by_name(tmp_path: Path) -> None:
    environ = {"SENDGRID_API_KEY": "one", "RESEND_API_KEY": "two"}
    scenario = with_credentials(compared(tmp_path), environ)
    assert [case.provider for case in scenario.cases] == ["sendgrid", "resend"] * 2
    assert scenario.left_out == tuple(
        f"left out mailjet/{transport}/pooled: Mailjet needs credentials: set MAILJET_API_KEY and "
        "MAILJET_SECRET_KEY, or write auth"
        for transport in ("smtp", "api")
    )
    assert [len(group) for group in scenario.groups] == [2, 2]
    assert with_credentials(scenario, environ) is scenario


def test_one_alone_is_no_comparison(tmp_path: Path) -> None:
    for environ in ({"SENDGRID_API_KEY": "one"}, dict[str, str]()):
        with pytest.raises(UsageError, match=r"fewer than two .* no credentials for .*resend, mailjet: "):
            with_credentials(compared(tmp_path), environ)


def test_the_mock_needs_no_credentials_of_the_user_s(tmp_path: Path) -> None:
    scenario = compared(tmp_path, target="mock")
    assert with_credentials(scenario, {}) is scenario


def test_a_case_that_is_not_compared_is_not_left_out(tmp_path: Path) -> None:
    alone = replace(compared(tmp_path), cases=(case(tmp_path, "mailjet", "api"),))
    assert with_credentials(alone, {}) is alone
    with pytest.raises(CredentialsError):
        endpoint_of(alone.cases[0], {})


@pytest.mark.parametrize("provider", NINE)
def test_a_sandbox_s_figures_say_what_they_are_not(provider: str, tmp_path: Path) -> None:
    facts = PROVIDERS[provider].facts
    if facts.sandbox is None or facts.sandbox.api is None:
        return
    boxed = case(tmp_path, provider, "api", target="sandbox")
    assert f"{facts.title}'s sandbox answered" in caveat_of(boxed)
    assert facts.sandbox.caveat in caveat_of(boxed)
    assert boxed.labels["target"] == "sandbox"
    assert caveat_of(case(tmp_path, provider, "api")) == ""
