"""Where a provider itself is, or its sandbox, and what opens it: for targets `live` and `sandbox`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from bench.errors import CredentialsError, UsageError
from bench.model import Auth, Case, Endpoint, Scenario, Secret, TargetKind, TlsMode, Transport
from bench.providers import provider_of
from bench.providers.base import EnvironmentNames, Provider, SandboxFacts
from bench.redact import secrets_of, secrets_of_case


def endpoint_of(case: Case, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The provider's own address for a case, with the credentials of the scenario or of the environment.

    Raises UsageError where there is no sandbox, no such region, no TLS, or no credentials.
    """
    provider = provider_of(case)
    sandbox = _sandbox(case, provider)
    find = _smtp if case.transport is Transport.SMTP else _api
    return find(case, provider, sandbox, environ)


REAL = (TargetKind.LIVE, TargetKind.SANDBOX)
"""Targets that are the provider itself."""


def with_credentials(scenario: Scenario, environ: Mapping[str, str] = os.environ) -> Scenario:
    """The scenario without those cases of a comparison whose provider's credentials nobody has given;
    `left_out` says so by name. What is not compared with others stays: it fails with a clear error.

    Raises UsageError for whatever else `endpoint_of` refuses, and where fewer than two are left to compare.
    """
    left_out: dict[str, str] = {}
    kept = []
    for case in scenario.cases:
        try:
            if case.comparison and case.target.kind in REAL:
                endpoint_of(case, environ)
            kept.append(case)
        except CredentialsError as error:
            left_out[case.id] = f"left out {case.id}: {str(error).removeprefix('auth: ')}"
    if not left_out:
        return scenario
    compared = Counter(case.comparison for case in kept)
    if not compared or min(compared.values()) < 2:
        names = dict.fromkeys(case.provider for case in scenario.cases if case.id in left_out)
        raise UsageError(
            f"compare: fewer than two are left to compare; no credentials for {', '.join(names)}: "
            "`sendbench providers --details` names the environment variables"
        )
    return replace(scenario, cases=tuple(kept), left_out=tuple(left_out.values()))


def secrets_in(scenario: Scenario, environ: Mapping[str, str] = os.environ) -> list[Secret]:
    """All that must not be shown of the credentials that its cases use. Raises what `endpoint_of` raises."""
    found: list[Secret] = []
    for case in scenario.cases:
        found += secrets_of_case(case)
        if case.target.kind in REAL:
            found += secrets_of(endpoint_of(case, environ).auth)
            facts = provider_of(case).facts  # SMTP credentials may be derived from what the API is shown
            for names in filter(None, (facts.smtp.environment, facts.api.environment)):
                found += [_secret(name, environ) for name in names.secret if environ.get(name)]
    return found


def caveat_of(case: Case) -> str:
    """What figures of a provider's sandbox are not; empty where no sandbox answers."""
    if case.target.kind is not TargetKind.SANDBOX:
        return ""
    provider = provider_of(case)
    facts = provider.facts.sandbox
    said = facts.caveat if facts is not None else ""
    return f"{provider.title}'s sandbox answered, not the way real mail takes. {said}".rstrip()


def _sandbox(case: Case, provider: Provider) -> SandboxFacts | None:
    if case.target.kind is not TargetKind.SANDBOX:
        return None
    facts = provider.facts.sandbox
    if facts is None or (facts.smtp if case.transport is Transport.SMTP else facts.api) is None:
        over = "" if facts is None else f" over {case.transport}"
        raise UsageError(f"target: {provider.title} has no sandbox{over}")
    return facts


def _smtp(
    case: Case, provider: Provider, sandbox: SandboxFacts | None, environ: Mapping[str, str]
) -> Endpoint:
    facts = provider.facts.smtp
    host = (sandbox and sandbox.smtp_host) or _in_region(facts.hosts, case, provider)
    ports = {TlsMode.STARTTLS: facts.starttls_ports, TlsMode.IMPLICIT: facts.tls_ports}.get(case.tls.mode)
    if not ports:
        raise UsageError(f"tls: {provider.title} is not spoken to over SMTP with tls {case.tls.mode}")
    auth = case.auth
    if auth is None:
        auth = provider.smtp_auth(_auth(facts.environment, provider, environ))
    return Endpoint(host, ports[0], case.tls, auth, server_name=host, source_address=case.source_address)


def _api(
    case: Case, provider: Provider, sandbox: SandboxFacts | None, environ: Mapping[str, str]
) -> Endpoint:
    facts = provider.facts.api
    if case.tls.mode is TlsMode.NONE:
        raise UsageError(f"tls: {provider.title}'s API is spoken to over TLS only")
    url = urlsplit((sandbox and sandbox.base_url) or _in_region(facts.base_urls, case, provider))
    auth = case.auth
    if sandbox is not None and sandbox.key is not None:
        auth = Auth(None, Secret(sandbox.key, "the sandbox's own"))
    return Endpoint(
        str(url.hostname),
        url.port or 443,
        case.tls,
        auth or _auth(facts.environment, provider, environ),
        server_name=str(url.hostname),
        path=url.path,
        source_address=case.source_address,
    )


def _in_region(places: Mapping[str, str], case: Case, provider: Provider) -> str:
    if not places:
        raise UsageError(f"provider: {provider.name} has no address of its own; name it as the target")
    if case.region is None:
        return next(iter(places.values()))
    if case.region not in places:
        text = f"region: {provider.title} has none called {case.region!r} over {case.transport}"
        raise UsageError(f"{text}; one of {', '.join(places)}")
    return places[case.region]


def _auth(names: EnvironmentNames | None, provider: Provider, environ: Mapping[str, str]) -> Auth:
    if names is None:
        raise UsageError(f"auth: {provider.title} needs credentials")
    missing = [name for name in names.secret if not environ.get(name)]
    if missing:
        asked = " and ".join(missing)
        raise CredentialsError(f"auth: {provider.title} needs credentials: set {asked}, or write auth")
    user = _secret(names.user, environ) if names.user is not None else None
    return Auth(user, _secret(names.password, environ))


def _secret(name: str, environ: Mapping[str, str]) -> Secret:
    return Secret(environ[name], f"${{env:{name}}}")
