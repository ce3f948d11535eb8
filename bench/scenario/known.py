"""The words a scenario may use, and those that are reserved for what is not built yet."""

from __future__ import annotations

from bench.model import Transport

PROVIDERS = (
    "generic", "sendgrid", "mailgun", "postmark", "resend", "ses", "mailjet", "brevo", "smtpcom", "mailtrap",
)  # fmt: skip
"""Providers that can be addressed; the same names as the registry of `bench.providers`."""

CLIENTS: dict[Transport, tuple[str, ...]] = {
    Transport.SMTP: ("wire", "aiosmtplib", "smtplib"),
    Transport.API: ("wire", "httpx", "httpx2"),
}
"""Clients for each transport, the default first; the same names as the registry of `bench.transports`."""
DEFAULT_CLIENT = {transport.value: names[0] for transport, names in CLIENTS.items()}
GROUPING_CLIENTS = frozenset({"wire"})
"""SMTP clients that use PIPELINING and CHUNKING; the others say one command at a time whatever is offered."""

NOT_BUILT = "not built yet in this version of sendbench"

DEFAULT_PROVIDER = "generic"
DEFAULT_SIZE = 10 * 1024
"""Bytes of a message whose scenario names neither size nor content."""
DEFAULT_TIMEOUT_NS = 60 * 10**9
DEFAULT_MAX_IN_FLIGHT = 100
DEFAULT_CONCURRENCY = 1
MAX_WORKERS = 64
"""Most processes that may share the load of a case."""
MAX_OBSERVED = 10_000
"""Durations that a file of service times may hold."""
MAX_CASES = 1000
MAX_BATCH = 10_000
"""More messages than any provider takes in a call; what one takes is the provider's affair."""
MAX_MESSAGES = 10_000_000
"""Most messages a case may send, warm-up included."""
