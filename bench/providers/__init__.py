"""Who is addressed: one file for each provider, and this register of them."""

from __future__ import annotations

from bench.model import Case, Parts, Transport
from bench.providers.base import Provider, Request
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


def payload_for(case: Case, parts: Parts) -> tuple[bytes, Request | None]:
    """What travels for one message of this case, and for an API the request around it.

    The bytes carry the placeholders of `parts`; a `Composer` fills them in.
    """
    if case.transport is Transport.SMTP:
        return parts.mime, None
    request = get_provider(case.provider).request(parts)
    return request.body, request
