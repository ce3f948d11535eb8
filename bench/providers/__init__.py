"""Who is addressed: one file for each provider, and this register of them."""

from __future__ import annotations

from bench.providers.base import Provider
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
