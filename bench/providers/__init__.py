"""Who is addressed: one file for each provider, and this register of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bench.clock import utc_now
from bench.errors import UsageError
from bench.message import KEY_PLACEHOLDER, Composer, build_parts
from bench.model import Case, TargetKind, Transport
from bench.providers.base import BatchRequest, Provider, ProviderFacts, Request
from bench.providers.brevo import Brevo
from bench.providers.generic import Generic
from bench.providers.mailgun import Mailgun
from bench.providers.mailjet import Mailjet
from bench.providers.mailtrap import Mailtrap
from bench.providers.postmark import Postmark
from bench.providers.resend import Resend
from bench.providers.sendgrid import SendGrid
from bench.providers.ses import Ses
from bench.providers.smtpcom import SmtpCom

PROVIDERS: dict[str, Provider] = {
    each.name: each
    for each in (
        SendGrid(),
        Mailgun(),
        Postmark(),
        Resend(),
        Ses(),
        Mailjet(),
        Brevo(),
        SmtpCom(),
        Mailtrap(),
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


def check_message(case: Case) -> None:
    """Build a case's message as it would travel, so that what cannot be built is found before a run.

    Raises what `composer_for` does.
    """
    composer_for(case, "check", seed=0, date=utc_now())


def composer_for(
    case: Case, run_id: str, *, seed: int, date: datetime
) -> tuple[Composer, Request | BatchRequest | None]:
    """What makes the messages of a case, or its calls, and for an API the request around them.

    Raises UsageError or ValueError for what cannot be built, or the provider not carry.
    """
    provider, sandbox = provider_of(case), case.target.kind is TargetKind.SANDBOX
    case = addressed(case)
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
    size = _batch_size(case, provider.facts)

    def fill(messages: Sequence[tuple[str, str]]) -> bytes:
        return call.filled(messages).body

    return Composer(case.message, b"", run_id, fill=fill, batch=size), call


def addressed(case: Case) -> Case:
    """The case with those to whom it really sends: the simulator's address, where that is the sandbox."""
    facts = provider_of(case).facts.sandbox
    if case.target.kind is not TargetKind.SANDBOX or facts is None or facts.recipient is None:
        return case
    return replace(
        case, message=replace(case.message, recipients=(facts.recipient,), rotate_recipients=False)
    )


def simulators(case: Case) -> frozenset[str]:
    """Addresses of the provider's that nobody reads."""
    facts = provider_of(case).facts.sandbox
    return frozenset() if facts is None or facts.recipient is None else frozenset({facts.recipient})


USUAL_THROTTLING = tuple(
    (code, words)
    for code in (421, 450, 451, 452, 454)
    for words in ("Rate limit", "rate limit", "Too many", "too many", "Throttl", "throttl")
)
"""What servers say that document no words of their own; only with codes that mean: not now."""


def throttling_of(case: Case) -> Sequence[tuple[int, str]]:
    """(code, part of the text) of the SMTP replies that say: too much, later."""
    if case.transport is not Transport.SMTP:
        return ()
    return (*provider_of(case).facts.smtp.throttling, *USUAL_THROTTLING)


def messages_in_a_call(case: Case) -> int:
    """How many travel together. Raises UsageError or ValueError for what the provider does not take."""
    if case.transport is Transport.SMTP or case.batch is None:
        return 1
    return _batch_size(case, provider_of(case).facts)


def _batch_size(case: Case, facts: ProviderFacts) -> int:
    asked, most, people = case.batch or 0, _most_in_a_call(case, facts), case.message.recipients
    if most is None and not asked:
        raise UsageError(f"batch: {facts.title} publishes no maximum; write a number instead of max")
    if most is not None and asked > most:
        each = case.message.recipients_each
        of = f" of {each} recipients" if each > 1 else ""
        raise UsageError(f"batch: {facts.title} takes at most {most} messages{of} in a call, not {asked}")
    size = asked or most or 1
    apart = len(people) // math.gcd(case.workers, len(people)) if case.message.rotate_recipients else 1
    if facts.api.batch_by_recipient and apart < size:
        raise UsageError(
            f"message.recipients: {facts.title} tells the messages of a call apart by their recipients; "
            f"name a file of at least {size} addresses, or send smaller batches"
        )
    return size


def _most_in_a_call(case: Case, facts: ProviderFacts) -> int | None:
    most, people = facts.api.max_batch, facts.api.max_batch_recipients
    if most is None or people is None:
        return most
    return min(most, people // case.message.recipients_each)


def provider_of(case: Case) -> Provider:
    """The provider of a case, in its region. Raises ValueError for one that is not known."""
    provider = get_provider(case.provider)
    regions = dict.fromkeys((*provider.facts.api.base_urls, *provider.facts.smtp.hosts))
    if case.region is not None and case.region not in regions:
        known = f"; one of {', '.join(regions)}" if regions else ""
        raise ValueError(f"region: {provider.title} has no region {case.region!r}{known}")
    if case.template is not None:
        return Generic(case.template)
    return provider.configured(case.region, _settings(case, provider.facts))


def _settings(case: Case, facts: ProviderFacts) -> dict[str, str]:
    """What else the provider must be told, from the environment; a mock is not told the user's own."""
    if case.target.kind is TargetKind.MOCK:
        return {}
    asked = [each for each in (facts.api.environment, facts.smtp.environment) if each is not None]
    names = {name for each in asked for name in each.settings}
    return {name: os.environ[name] for name in names if os.environ.get(name)}
