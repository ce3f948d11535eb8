"""Scenarios by the thousand against all that stands before real mail, and what would have been sent.

Nothing is sent: what the permit lets pass is looked at instead, by rules that know nothing of the permit's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.api import RunOptions, permitted
from bench.errors import RefusedError, UsageError
from bench.message import Composer
from bench.model import Case, Message, Scenario, Target, TargetKind, TlsMode
from bench.permit import AllowList, Permission, Permit, plan_hash
from bench.providers import PROVIDERS, addressed, composer_for, simulators
from bench.scenario import load_scenario
from bench.store.ledger import Ledger

FRIENDS = ("ann@example.org", "a@mine.example", "b@mine.example")
STRANGERS = ("stranger@other.example", "stranger@sub.mine.example", "Stranger@example.org")
ALLOWED = AllowList(["ann@example.org", "@mine.example"])
DAY = 400
"""Scenarios that share a ledger."""
TEXT = """\
version: 1
name: fuzzed
target: live
provider: {provider}
transport: {transport}
message: {{size: 4KiB}}
load: {{model: constant, rate: 1/s, messages: 4}}
"""
DATE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Fuzzed:
    """What became of so many scenarios."""

    done: int = 0
    permitted: int = 0
    sent: int = 0
    """Deliveries."""
    stopped: int = 0
    """Messages that the permit held back on their way."""
    wrong: list[str] = field(default_factory=list)


def fuzz_scenarios(count: int, folder: Path, seed: int = 1) -> Fuzzed:
    """F17: so many scenarios with any recipients, budgets and words of the person's; `wrong` names each that
    sent to an address off the list, above the budget, or without the confirmation of that very plan."""
    rng, found = random.Random(seed), Fuzzed()
    scenarios = list(_scenarios(folder))
    bases, whole = [scenario.cases[0] for scenario in scenarios], scenarios[0]
    while found.done < count:
        if found.done % DAY == 0:
            file, spent = folder / f"ledger-{found.done}.sqlite", 0
            ledger = Ledger(file)
        found.done += 1
        cases = [_fuzzed(rng.choice(bases), rng) for _ in range(rng.choice((1, 1, 1, 2)))]
        scenario = replace(whole, cases=tuple(replace(case, index=n) for n, case in enumerate(cases)))
        said, sent = _said(cases, rng), 0
        try:
            with permitted(scenario, RunOptions(permission=said, ledger=file)) as permit:
                assert permit is not None
                found.permitted += 1
                makers = [composer_for(case, "run", seed=1, date=DATE)[0] for case in cases]
                pairs = zip(cases, makers, strict=True)
                sent = sum(_send(case, composer, permit, rng, found) for case, composer in pairs)
        except RefusedError:
            continue
        except UsageError:  # a few cannot be built
            pass
        spent += sent
        found.sent += sent
        if spent > said.budget or ledger.spent_today() != spent:
            found.wrong.append(f"{spent} sent with a budget of {said.budget}, {ledger.spent_today()} noted")
        if said.confirm != plan_hash([addressed(case) for case in cases]):
            found.wrong.append("nobody has confirmed this plan")
        if not said.live and any(case.target.kind is TargetKind.LIVE for case in cases):
            found.wrong.append("without --live")
    return found


def _scenarios(folder: Path) -> Iterator[Scenario]:
    for provider in PROVIDERS:
        for transport in ("smtp", "api"):
            if provider != "generic":
                file = folder / "base.yaml"
                file.write_text(TEXT.format(provider=provider, transport=transport), encoding="utf-8")
                yield load_scenario(file)


def _fuzzed(case: Case, rng: random.Random) -> Case:
    people = rng.choices((*FRIENDS, *STRANGERS), weights=(8, 8, 8, 1, 1, 1), k=rng.choice((1, 2, 3, 11)))
    headers = (("X-SMTPAPI", f'{{"to": ["{rng.choice([*people, STRANGERS[0]])}"]}}'),)
    message = replace(
        case.message,
        recipients=tuple(people),
        rotate_recipients=rng.random() < 0.5,
        headers=headers if case.transport == "smtp" and rng.random() < 0.2 else (),
    )
    load = replace(
        case.load,
        messages=rng.choice((1, 3, 9, None)) if rng.random() < 0.1 else rng.randint(1, 6),
        warmup=rng.choice((0, 0, 2)),
        rates_per_s=(rng.choice((1.0, 50.0, 50.0, 51.0)),),
    )
    boxed = PROVIDERS[case.provider].facts.sandbox is not None and rng.random() < 0.1
    return replace(
        case,
        message=message,
        load=load,
        target=Target(TargetKind.SANDBOX) if boxed else case.target,
        tls=replace(case.tls, mode=TlsMode.NONE) if rng.random() < 0.02 else case.tls,
        workers=rng.choice((1,) * 30 + (2,)),
        batch=rng.choice((None, 2, 3)) if case.transport == "api" and message.rotate_recipients else None,
    )


def _said(cases: list[Case], rng: random.Random) -> Permission:
    right = plan_hash([addressed(case) for case in cases])
    return Permission(
        live=rng.random() < 0.95,
        budget=rng.choice((0, 5, 40, 400, 4000)),
        confirm=rng.choice((right,) * 15 + ("", "0123456789ab")),
        allow=ALLOWED,
    )


def _send(case: Case, composer: Composer, permit: Permit, rng: random.Random, found: Fuzzed) -> int:
    """What a generator does with a case, up to the wire; the deliveries."""
    sent, end = 0, (case.load.messages or 0) + case.load.warmup
    for first in range(0, end, composer.batch):
        seqs = range(first, min(end, first + composer.batch))
        message = composer.compose(first) if composer.batch == 1 else composer.compose_call(seqs)
        for _ in range(rng.choice((1, 1, 1, 1, 2))):  # now and then a second attempt
            tampered = _tampered(message, rng)
            if permit.refusal(tampered, case.transport) is not None:
                found.stopped += 1
                continue
            sent += len(_people(tampered))
            _look_at(tampered, case, found)
    return sent


def _tampered(message: Message, rng: random.Random) -> Message:
    """Now and then what a bug between the guard and the wire might make of it."""
    if rng.random() > 0.05:
        return message
    friend = FRIENDS[0].encode()
    if rng.random() < 0.5:
        payload = message.payload.replace(FRIENDS[1].encode(), STRANGERS[0].encode()).replace(
            friend, STRANGERS[1].encode()
        )
        return message._replace(head=payload, tail=b"")
    return message._replace(recipients=(*message.recipients, STRANGERS[0]), members=())


def _people(message: Message) -> list[str]:
    return [one for each in message.members or (message,) for one in each.recipients]


def _look_at(message: Message, case: Case, found: Fuzzed) -> None:
    """The referee: an exact list, and not a trace of a stranger in all that travels."""
    exact = {*FRIENDS, *simulators(case)}
    strange = [one for one in _people(message) if one not in exact]
    if strange or b"stranger" in message.payload.lower():
        found.wrong.append(f"{case.id}: {strange or message.payload[:200]!r}")
