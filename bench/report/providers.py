"""What is known about the providers, on a terminal: a table of all, or all that is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from bench.providers.base import ApiFacts, ProviderFacts, SandboxFacts, SmtpFacts

MISSING = "-"
_UNPUBLISHED = "not published"


def table(providers: Sequence[ProviderFacts], width: int) -> str:
    """One row for each provider; names stand as scenarios write them."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("provider", "SMTP", "STARTTLS / TLS", "API", "batch", "sandbox"):
        shown.add_column(name, justify="right" if name == "batch" else "left", overflow="fold")
    for facts in providers:
        shown.add_row(
            facts.name,
            _first(facts.smtp.hosts),
            f"{_ports(facts.smtp.starttls_ports)} / {_ports(facts.smtp.tls_ports)}",
            _first(facts.api.base_urls).removeprefix("https://"),
            MISSING if facts.api.max_batch is None else str(facts.api.max_batch),
            _ways(facts.sandbox),
        )
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(shown)
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def details(facts: ProviderFacts) -> str:
    """Everything, and what of it no source of the vendor's states."""
    lines = [f"{facts.title} (provider: {facts.name})"]
    for heading, part in (("SMTP", facts.smtp), ("API", facts.api), ("sandbox", facts.sandbox)):
        lines.append(f"  {heading}")
        lines += [f"    {name:<28}{value}" for name, value in _facts(part)]
    lines += [f"  unconfirmed: {each}" for each in facts.unconfirmed]
    return "\n".join(lines)


def _facts(part: SmtpFacts | ApiFacts | SandboxFacts | None) -> Iterator[tuple[str, str]]:
    if part is None:
        yield "none", ""
        return
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name == "environment":
            if value is not None:
                names = (value.user, value.password, *value.settings)
                yield "environment", ", ".join(name for name in names if name)
        elif value not in ((), {}) and not (value is None and isinstance(part, SandboxFacts)):
            yield field.name.replace("_", " "), _UNPUBLISHED if value is None else _text(value)


def _text(value: object) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{name}: {each}" for name, each in value.items()) or MISSING
        case tuple():
            return ", ".join(_text(each) if isinstance(each, str) else _pair(each) for each in value)
    return str(value)


def _pair(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _first(regions: Mapping[str, str]) -> str:
    """The default region's, and how many others there are."""
    values = list(regions.values())
    more = f" (+{len(values) - 1})" if len(values) > 1 else ""
    return f"{values[0]}{more}" if values else MISSING


def _ports(ports: Sequence[int]) -> str:
    return " ".join(map(str, ports)) or MISSING


def _ways(sandbox: SandboxFacts | None) -> str:
    if sandbox is None:
        return "none"
    ways = [name for name, way in (("API", sandbox.api), ("SMTP", sandbox.smtp)) if way]
    return " and ".join(ways)
