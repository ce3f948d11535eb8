"""Which cases of a summary may be set against each other, and what they are called in a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.model import CaseSummary, Connection, Percentile, Summary

REFERENCE_RTT_MS = 50.0
"""The round trip time that the claims in circulation are usually made about."""
LEAST_RTT_MS = 5.0
"""Below this a measured RTT may be no more than the first connect of a busy machine: no distance."""

_TRAVEL = ("transport", "connection", "client", "load")
"""Labels that say how a message travels; `load` repeats in words what `load.<key>` says."""
_EXTENSIONS = ("pipelining", "chunking")
_SANDBOX = " (sandbox)"


WAYS: Mapping[tuple[str, ...], str] = {
    ("pipelining",): "pipelined",
    ("pipelining", "chunking"): "chunked",
    ("chunking",): "chunked one by one",
}
"""What an SMTP case uses (`extensions`) -> a word for it."""
_SETTING = re.compile(r"/smtp\.(pipelining|chunking)=(\w+)")


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that differ in nothing but how a message travels."""

    title: str
    """What sets the group apart from the summary's others, such as `message.size=1MiB`."""
    rtt_ms: float | None
    cases: tuple[CaseSummary, ...]

    def find(self, transport: str, connection: str) -> CaseSummary | None:
        """The case that travels this way, if it is valid and has a median; of several the plainest."""
        return next(iter(self.ways(transport, connection)), None)

    def ways(self, transport: str, connection: str) -> list[CaseSummary]:
        """All that travel this way; those that may use more extensions (`smtp.*`) stand further back."""
        found = [
            case
            for case in self.cases
            if (case.labels.get("transport"), case.labels.get("connection")) == (transport, connection)
            and usable(case)
        ]
        return sorted(found, key=lambda case: len(extensions(case.labels)))

    @property
    def at(self) -> str:
        """`at 50 ms round trip`, with the group's title where it has one."""
        where = "here" if self.rtt_ms is None else f"at {number(self.rtt_ms)} ms round trip"
        return f"{where} ({self.title})" if self.title else where


def median(case: CaseSummary) -> Percentile | None:
    """The median service time: what a message costs once it is its turn."""
    return case.service.p50 if case.service else None


def median_ms(case: CaseSummary) -> float:
    """The same as a number; only for cases that are `usable`."""
    value = median(case)
    assert value is not None
    return value.value_ms


def usable(case: CaseSummary) -> bool:
    """Whether something may be concluded from the case."""
    return case.generator.valid and median(case) is not None


def extensions(labels: Mapping[str, str]) -> tuple[str, ...]:
    """What an SMTP case may use where its run varies that: `pipelining`, `chunking`, both or neither."""
    return tuple(name for name in _EXTENSIONS if labels.get(f"smtp.{name}", "off") != "off")


def groups_commands(case: CaseSummary) -> bool:
    """Whether its messages sent several commands in one go, whatever the settings were."""
    return "envelope" in case.phases


def comparable(summary: Summary) -> tuple[Group, ...]:
    """The groups in the order of the run; where several clients ran, one group for each of them."""
    varying = _varying(summary.cases)
    found: dict[tuple[tuple[str, str], ...], list[CaseSummary]] = {}
    for case in summary.cases:
        key = tuple(sorted((k, v) for k, v in case.labels.items() if not _is_travel(k)))
        found.setdefault(key, []).append(case)
    groups = []
    for key, cases in found.items():
        title = ", ".join(f"{k}={v}" for k, v in key if k in varying and k != "network.rtt")
        groups.extend(_by_client(title, cases))
    return tuple(groups)


def nearest_reference(groups: Iterable[Group]) -> Group | None:
    """The group whose RTT is nearest, by ratio, to the one claims are made about."""

    def distance(group: Group) -> float:
        return abs(math.log(max(group.rtt_ms or 0.0, 1e-3) / REFERENCE_RTT_MS))

    return min(groups, key=distance, default=None)


def at_reference(groups: Sequence[Group]) -> list[Group]:
    """Of groups that differ only in their RTT, the one nearest to the reference; all others stay."""
    titles = dict.fromkeys(group.title for group in groups)
    nearest = (nearest_reference(g for g in groups if g.title == title) for title in titles)
    return [group for group in nearest if group]


def lightest(groups: Sequence[Group]) -> list[Group]:
    """Of groups that differ only in their concurrency, the one with the least: nothing queues there."""
    best: dict[tuple[tuple[str, str], ...], tuple[int, Group]] = {}
    for group in groups:
        labels = dict(group.cases[0].labels)
        load = labels.pop("load.concurrency", "")
        rank = int(load) if load.isdigit() else 0
        key = (*sorted((k, v) for k, v in labels.items() if not _is_travel(k)), ("", _clients(group.cases)))
        if key not in best or rank < best[key][0]:
            best[key] = (rank, group)
    return [group for _, group in best.values()]


def family(case: CaseSummary, key: str) -> str:
    """The case's id without one of its settings: the same for all cases that differ only in that."""
    return case.id.replace(f"/{key}={case.labels[key]}", "") if key in case.labels else case.id


def names(summary: Summary) -> Mapping[str, str]:
    """Case id -> what to call it: the provider is only named where there are several, a sandbox always."""
    several = len({case.labels.get("provider") for case in summary.cases}) > 1
    return {case.id: spoken(case.id if several else _short(case)) + _sandbox(case) for case in summary.cases}


def differing(called: Mapping[str, str]) -> Mapping[str, str]:
    """The same cases by what not all of their names have: `21ms` of `smtp/mock.service_time=21ms`.

    By their whole names where that would leave nothing of one, or two alike.
    """
    parts = {case: name.removesuffix(_SANDBOX).split("/") for case, name in called.items()}
    shared = set.intersection(*map(set, parts.values()))
    left = {case: [part for part in own if part not in shared] for case, own in parts.items()}
    if len({part.rpartition("=")[0] for own in left.values() for part in own}) == 1:
        left = {case: [part.rpartition("=")[2] for part in own] for case, own in left.items()}
    short = {case: "/".join(own) for case, own in left.items()}
    if not all(short.values()) or len(set(short.values())) < len(short):
        return called
    return {case: text + _SANDBOX * called[case].endswith(_SANDBOX) for case, text in short.items()}


def _sandbox(case: CaseSummary) -> str:
    return _SANDBOX if case.labels.get("target") == "sandbox" else ""


def shorten(name: str, summary: Summary) -> str:
    """The same for what is left of an id."""
    providers = {case.labels.get("provider", "") for case in summary.cases}
    return spoken(name.removeprefix(f"{next(iter(providers))}/") if len(providers) == 1 else name)


def spoken(name: str) -> str:
    """A case's id with a word for what it uses of SMTP's extensions: `smtp/pooled/pipelined`."""
    settings = dict(_SETTING.findall(name))
    word = WAYS.get(tuple(each for each in _EXTENSIONS if settings.get(each, "off") != "off"), "")
    parts = _SETTING.sub("", name).split("/")
    at = next((number for number, part in enumerate(parts, 1) if part in tuple(Connection)), len(parts))
    return "/".join((*parts[:at], *([word] if settings and word else []), *parts[at:]))


def number(value: float) -> str:
    """Three significant digits without trailing zeros: `568`, `53.2`, `50`, `0.051`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    text = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def trips(count: float) -> str:
    """`1 round trip`, `11 round trips`."""
    return f"{number(count)} round trip{'' if count == 1 else 's'}"


def listed(parts: Iterable[str], limit: int = 4) -> str:
    """`a, b and c`; beyond the limit the rest is counted."""
    items = list(parts)
    if len(items) > limit:
        items = [*items[: limit - 1], f"{len(items) - limit + 1} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def _short(case: CaseSummary) -> str:
    return case.id.removeprefix(f"{case.labels.get('provider', '')}/")


def _is_travel(key: str) -> bool:
    return key in _TRAVEL or key.startswith(("client.", "smtp."))


def _varying(cases: Iterable[CaseSummary]) -> set[str]:
    values: dict[str, set[str]] = {}
    for case in cases:
        for key, value in case.labels.items():
            values.setdefault(key, set()).add(value)
    return {key for key, found in values.items() if len(found) > 1}


def _by_client(title: str, cases: list[CaseSummary]) -> list[Group]:
    """One group a client; a client that speaks one transport only is paired with one of the other."""
    clients: dict[str, list[str]] = {"smtp": [], "api": []}
    for case in cases:
        known = clients.setdefault(case.labels.get("transport", ""), [])
        if (client := case.labels.get("client", "")) not in known:
            known.append(client)
    if all(len(known) <= 1 for known in clients.values()):
        return [_group(title, cases)]
    groups: dict[frozenset[str], Group] = {}
    for lead in dict.fromkeys(client for known in clients.values() for client in known):
        pair = {t: lead if lead in known else _partner(known, clients) for t, known in clients.items()}
        chosen = [c for c in cases if pair[c.labels.get("transport", "")] == c.labels.get("client", "")]
        named = f"client {_clients(chosen)}"
        groups.setdefault(
            frozenset(case.id for case in chosen), _group(f"{title}, {named}" if title else named, chosen)
        )
    return list(groups.values())


def _clients(cases: Iterable[CaseSummary]) -> str:
    return " and ".join(dict.fromkeys(case.labels.get("client", "") for case in cases))


def _partner(known: list[str], clients: Mapping[str, list[str]]) -> str | None:
    """Who stands beside a client that does not speak this transport: one that speaks nothing else."""
    both = set(clients["smtp"]) & set(clients["api"])
    return next((client for client in known if client not in both), known[0] if known else None)


def _group(title: str, cases: list[CaseSummary]) -> Group:
    rtts = [case.rtt_ms for case in cases if case.rtt_ms is not None]
    return Group(title, min(rtts) if rtts else None, tuple(cases))
