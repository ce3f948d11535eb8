"""Where a provider itself is, or its sandbox, and what opens it: for targets `live` and `sandbox`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from bench.errors import UsageError
from bench.model import Auth, Case, Endpoint, Secret, TargetKind, TlsMode, Transport
from bench.providers import provider_of
from bench.providers.base import EnvironmentNames, Provider, SandboxFacts


def endpoint_of(case: Case, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The provider's own address for a case, with the credentials of the scenario or of the environment.

    Raises UsageError where there is no sandbox, no such region, no TLS, or no credentials.
    """
    provider = provider_of(case)
    sandbox = _sandbox(case, provider)
    find = _smtp if case.transport is Transport.SMTP else _api
    return find(case, provider, sandbox, environ)


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
    wanted = [name for name in (names.user, names.password) if name is not None]
    missing = [name for name in wanted if not environ.get(name)]
    if missing:
        asked = " and ".join(missing)
        raise UsageError(f"auth: {provider.title} needs credentials: set {asked}, or write auth")
    user = Secret(environ[names.user], names.user) if names.user is not None else None
    return Auth(user, Secret(environ[names.password], names.password))
