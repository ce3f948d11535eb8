"""Who is addressed: one file for each provider, and this register of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bench.errors import UsageError
from bench.message import KEY_PLACEHOLDER, Composer, build_parts
from bench.model import Case, TargetKind, Transport
from bench.providers.base import BatchRequest, Provider, ProviderFacts, Request
from bench.providers.generic import Generic
from bench.providers.sendgrid import SendGrid

PROVIDERS: dict[str, Provider] = {
    each.name: each
    for each in (
        SendGrid(),
        Generic(),
    )
}
"""Every provider by the name scenarios use, in the order tables show them."""


def get_provider(name: str) -> Provider:
    """The provider of that name. Raises ValueError with the names that are known."""
    try:
        return PROVIDERS[name]
    except KeyError:
        raise ValueError(f"unknown provider {name!r}; known: {', '.join(PROVIDERS)}") from None


def composer_for(
    case: Case, run_id: str, *, seed: int, date: datetime
) -> tuple[Composer, Request | BatchRequest | None]:
    """What makes the messages of a case, or its calls, and for an API the request around them.

    Raises UsageError or ValueError for what cannot be built, or the provider not carry.
    """
    provider, sandbox = provider_of(case), case.target.kind is TargetKind.SANDBOX
    if case.transport is Transport.SMTP:
        spec = case.message
        if spec.eml is None:
            spec = replace(
                spec, headers=spec.headers + provider.smtp_headers(KEY_PLACEHOLDER, sandbox=sandbox)
            )
        return Composer(spec, build_parts(spec, seed=seed, date=date).mime, run_id), None
    parts = build_parts(case.message, seed=seed, date=date)
    if case.batch is None:
        request = provider.request(parts, sandbox=sandbox)
        return Composer(case.message, request.body, run_id), request
    call = provider.batch_request(parts, sandbox=sandbox)
    size = _batch_size(case.batch, provider.facts)

    def fill(messages: Sequence[tuple[str, str]]) -> bytes:
        return call.filled(messages).body

    return Composer(case.message, b"", run_id, fill=fill, batch=size), call


def throttling_of(case: Case) -> Sequence[tuple[int, str]]:
    """(code, part of the text) of the SMTP replies that say: too much, later."""
    return provider_of(case).facts.smtp.throttling if case.transport is Transport.SMTP else ()


def _batch_size(asked: int, facts: ProviderFacts) -> int:
    most = facts.api.max_batch
    if most is None and not asked:
        raise UsageError(f"batch: {facts.title} publishes no maximum; write a number instead of max")
    if most is not None and asked > most:
        raise UsageError(f"batch: {facts.title} takes at most {most} messages in a call, not {asked}")
    return asked or most or 1


def provider_of(case: Case) -> Provider:
    """The provider of a case, in its region. Raises ValueError for one that is not known."""
    provider = get_provider(case.provider)
    regions = dict.fromkeys((*provider.facts.api.base_urls, *provider.facts.smtp.hosts))
    if case.region is not None and case.region not in regions:
        known = f"; one of {', '.join(regions)}" if regions else ""
        raise ValueError(f"region: {provider.title} has no region {case.region!r}{known}")
    return provider.configured(case.region, {})
