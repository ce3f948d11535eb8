"""A validated form -> Case, with every check that concerns more than one key."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.errors import RefusedError, ScenarioError
from bench.model import (
    DEFAULT_LIMITS,
    Auth,
    Case,
    Connection,
    Fault,
    Gate,
    Load,
    MessageSpec,
    Network,
    PoolOptions,
    Retry,
    Secret,
    ServiceTime,
    SmtpOptions,
    Target,
    TargetKind,
    Template,
    TlsMode,
    TlsSettings,
    Transport,
)
from bench.scenario import form, known
from bench.scenario.fault_form import STEPS_OF
from bench.scenario.faults import find_case
from bench.scenario.mail import message_spec
from bench.scenario.matrix import Point
from bench.scenario.paths import Files
from bench.scenario.problems import Problems
from bench.scenario.section import Form
from bench.scenario.target import (
    check_transport,
    default_port,
    default_transport,
    is_loopback,
    parse_served,
    parse_target,
    tls_mode,
)
from bench.scenario.tree import Node
from bench.units import parse_duration

ID_KEYS = ("provider", "transport", "connection")
MOCK_HOST = "127.0.0.1"
_KEEPING = {f"pool.{key}" for key in form.keys_of(form.PoolForm) if key != "size"}
"""Keys that are about connections being kept."""


class Converter:
    """Turns the points of one scenario into cases; what is wrong goes to `problems`."""

    def __init__(self, files: Files, problems: Problems) -> None:
        self._files, self._problems = files, problems
        self._messages: dict[int, tuple[Node, MessageSpec]] = {}

    def case(self, index: int, point: Point, values: form.CaseForm) -> Case:
        """The case of a point. Raises RefusedError for credentials that would travel in clear text."""
        tree = point.tree
        target, transport = self._target(values, tree)
        tls = self._tls(values, tree, target, transport)
        if values.server is None:
            target = replace(target, port=default_port(target, tls.mode))
        load = self._load(values, tree)
        client = self._client(values, tree, transport)
        pool = self._pool(values, point, load)
        auth = _auth(values.auth)
        if auth is not None and tls.mode is TlsMode.NONE and not is_loopback(target):
            raise RefusedError(self._clear_text(tree, target))
        varying = _meaningful(point.varying, transport, values.connection, client)
        fixed = {"provider": values.provider, "transport": transport.value, "connection": values.connection}
        alike = {key: text for key, text in varying.items() if key not in values.compare}
        return Case(
            index=index,
            id=case_id(fixed, varying),
            labels={
                **fixed,
                "client": client,
                "load": load.model,
                **varying,
                **_warnings(tls, target),
            },
            target=target,
            provider=values.provider,
            transport=transport,
            connection=Connection(values.connection),
            client=client,
            message=self._message(values, tree),
            network=self._network(values, tree, target),
            service_time=self._service_time(values, tree),
            load=load,
            tls=tls,
            auth=auth,
            pool=pool,
            smtp=SmtpOptions(values.smtp.pipelining, values.smtp.chunking),
            timeout_ns=values.timeout,
            workers=self._workers(values, tree, load, pool),
            source_address=self._source_address(values, tree, target),
            rate_limit=values.mock.rate_limit,
            batch=self._batch(values, point, transport),
            region=values.region,
            comparison=comparison(values.compare, alike),
            mock_auth=values.mock.auth,
            retry=self._retry(values, tree),
            template=self._template(values, point, target, transport),
            faults=self._faults(values, tree, target, transport),
            command=values.server,
        )

    def _target(self, values: form.CaseForm, tree: Node) -> tuple[Target, Transport]:
        try:
            target = (parse_target if values.server is None else parse_served)(values.target)
        except ValueError as error:
            self._problems.add(tree.nearest("target" if "target" in tree.entries else "server"), str(error))
            target = Target(TargetKind.MOCK)
        transport = Transport(values.transport) if values.transport else default_transport(target)
        try:
            check_transport(target, transport)
        except ValueError as error:
            self._problems.add(tree.nearest("transport"), str(error))
        return target, transport

    def _tls(self, values: form.CaseForm, tree: Node, target: Target, transport: Transport) -> TlsSettings:
        tls = values.tls if isinstance(values.tls, form.TlsForm) else form.TlsForm(mode=values.tls)
        asked = TlsMode(tls.mode) if tls.mode is not None else None
        try:
            mode = tls_mode(target, transport, asked)
        except ValueError as error:
            self._problems.add(tree.nearest("tls.mode"), str(error))
            mode = TlsMode.NONE
        return TlsSettings(mode, tls.verify, tls.resume, self._ca_file(tls.ca, tree))

    def _ca_file(self, name: str | None, tree: Node) -> str | None:
        if name is None:
            return None
        at = tree.nearest("tls.ca")
        try:
            path = self._files.inside(name, at)
            if b"-----BEGIN CERTIFICATE-----" not in self._files.content(name, at):
                raise ValueError(f"{name} holds no certificate in PEM form")
        except ValueError as error:
            self._problems.add(at, str(error))
            return None
        return str(path)

    def _client(self, values: form.CaseForm, tree: Node, transport: Transport) -> str:
        if isinstance(values.client, form.ClientForm):
            client = values.client.smtp if transport is Transport.SMTP else values.client.api
        else:
            client = values.client
        if client not in known.CLIENTS[transport]:
            text = f"{client} does not speak {transport.value}; write client: {{smtp: ..., api: ...}}"
            self._problems.add(tree.nearest("client"), text)
        return client

    def _batch(self, values: form.CaseForm, point: Point, transport: Transport) -> int | None:
        if transport is Transport.API or values.batch is None:
            return values.batch
        if "transport" not in point.varying:
            text = "SMTP sends one message at a time; remove it, or use transport: api"
            self._problems.add(point.tree.nearest("batch"), text)
        return None

    def _template(
        self, values: form.CaseForm, point: Point, target: Target, transport: Transport
    ) -> Template | None:
        given, at = values.template, point.tree.nearest("template")
        if given is None or (transport is Transport.SMTP and "transport" in point.varying):
            return None
        if values.provider != "generic":
            self._problems.add(at, "only for provider: generic; the others have calls of their own")
        elif transport is Transport.SMTP:
            self._problems.add(at, "only an API takes one; remove it, or use transport: api")
        elif target.kind is TargetKind.MOCK:
            self._problems.add(at, "the mock takes the MIME message; name an http address as the target")
        return Template(given.body, given.method, given.id)

    def _faults(
        self, values: form.CaseForm, tree: Node, target: Target, transport: Transport
    ) -> tuple[Fault, ...]:
        """Those of the scenario that befall this transport."""
        at, found = tree.nearest("faults"), list[Fault]()
        for number, each in enumerate(values.faults):
            node = at.items[number] if isinstance(at.value, list) else at
            if isinstance(each, str):
                try:
                    case = find_case(each, self._files.inside(each, node), node, self._problems)
                except (ValueError, ScenarioError) as error:
                    self._problems.add(node, str(error))
                    continue
                found += case.faults if case is not None and case.transport is transport else ()
            elif each.at in STEPS_OF[transport]:
                found.append(each.fault())
        if found and target.kind is not TargetKind.MOCK:
            self._problems.add(at, "only the mock goes wrong by script; use target: mock")
        return tuple(found)

    def _retry(self, values: form.CaseForm, tree: Node) -> Retry | None:
        given = values.retry if isinstance(values.retry, form.RetryForm) else form.RetryForm(on=values.retry)
        if given.on == "off":
            return None
        if values.batch is not None:
            self._problems.add(tree.nearest("retry"), "a call of several messages is never sent again")
        return Retry(given.on, given.attempts, given.base)

    def _message(self, values: form.CaseForm, tree: Node) -> MessageSpec:
        node = tree.entries.get("message") or Node({}, "message", tree.line, tree.column)
        if id(node) not in self._messages:  # cases that share a message share its attachments
            spec = message_spec(values.message, node, self._files, self._problems)
            self._messages[id(node)] = (node, spec)
        return self._messages[id(node)][1]

    def _network(self, values: form.CaseForm, tree: Node, target: Target) -> Network:
        network = Network(values.network.rtt, values.network.jitter, values.network.bandwidth)
        if network.jitter_ns > network.rtt_ns:
            self._problems.add(tree.nearest("network.jitter"), "must not be more than the rtt it spreads")
        if network.shaped and not is_loopback(target):
            text = "shapes loopback targets only; remove it, or use target: mock"
            self._problems.add(tree.nearest("network"), text)
        return network

    def _service_time(self, values: form.CaseForm, tree: Node) -> ServiceTime:
        planted = values.mock.service_time
        if isinstance(planted, int):
            return ServiceTime("constant", planted)
        if planted.lognormal is not None:
            return ServiceTime("lognormal", planted.lognormal.p50, sigma=planted.lognormal.sigma)
        if planted.exponential is not None:
            return ServiceTime("exponential", planted.exponential.mean)
        if planted.observed is not None:
            return self._observed(planted.observed, tree.nearest("mock.service_time.observed"))
        assert planted.uniform is not None
        if planted.uniform.low > planted.uniform.high:
            at = tree.nearest("mock.service_time.uniform")
            self._problems.add(at, "low must not be more than high")
        return ServiceTime("uniform", planted.uniform.low, high_ns=planted.uniform.high)

    def _observed(self, name: str, at: Node) -> ServiceTime:
        times: list[int] = []
        try:
            for number, line in enumerate(self._files.content(name, at).decode("utf-8").splitlines(), 1):
                try:
                    times += [parse_duration(line.strip())] if line.strip() else []
                except ValueError as error:
                    raise ValueError(f"{name}, line {number}: {error}") from None
            if not 1 <= len(times) <= known.MAX_OBSERVED:
                raise ValueError(f"{name} holds {len(times)} durations; it takes 1 to {known.MAX_OBSERVED}")
        except ValueError as error:  # among them text that is not UTF-8
            self._problems.add(at, str(error))
            return ServiceTime()
        return ServiceTime("observed", sorted(times)[(len(times) - 1) // 2], values_ns=tuple(times))

    def _load(self, values: form.CaseForm, tree: Node) -> Load:
        load = load_of(values.load)
        if (load.count or 0) > known.MAX_MESSAGES:
            text = f"makes more than {known.MAX_MESSAGES} messages"
            self._problems.add(tree.nearest("load"), text)
        return load

    def _pool(self, values: form.CaseForm, point: Point, load: Load) -> PoolOptions:
        pool = values.pool
        size = pool.size or load.concurrency or load.max_in_flight or 1
        if values.connection == Connection.UNPOOLED.value:
            if "connection" not in point.varying:
                self._refuse_keeping(point.tree)
            return PoolOptions(size)
        if pool.ping is not None and pool.idle_limit is not None and pool.ping >= pool.idle_limit:
            text = "must be less than idle_limit: by then the connection is closed"
            self._problems.add(point.tree.nearest("pool.ping"), text)
        return PoolOptions(
            size, pool.max_messages, pool.idle_limit, pool.max_age, pool.ping, pool.preconnect, pool.order
        )

    def _refuse_keeping(self, tree: Node) -> None:
        """Where a matrix varies the connection, the unpooled cases just do without."""
        pool = tree.entries.get("pool")
        for key, node in pool.entries.items() if pool is not None else ():
            if f"pool.{key}" in _KEEPING:
                text = "means nothing with connection: unpooled, which keeps none; remove it"
                self._problems.add(node, text, at_key=True)

    def _workers(self, values: form.CaseForm, tree: Node, load: Load, pool: PoolOptions) -> int:
        slots = {
            "load.concurrency": load.concurrency,
            "load.max_in_flight": load.max_in_flight,
            "pool.size": pool.size,
        }
        for key, count in slots.items():
            if count is not None and values.workers > count:
                text = f"{values.workers} workers cannot share {key} {count}: each needs at least one"
                self._problems.add(tree.nearest("workers"), text)
        return values.workers

    def _source_address(self, values: form.CaseForm, tree: Node, target: Target) -> str | None:
        """The address as it stands; it must be of the target's kind where that is known."""
        if values.source_address is None:
            return None
        source, at = ipaddress.ip_address(values.source_address), tree.nearest("source_address")
        try:
            other = ipaddress.ip_address(MOCK_HOST if target.kind is TargetKind.MOCK else target.host)
        except ValueError:
            return values.source_address  # a name: which addresses it has is found out by the run
        if source.version != other.version:
            self._problems.add(at, f"an IPv{source.version} address cannot reach the target at {other}")
        elif source.is_loopback and not other.is_loopback:
            self._problems.add(at, f"from {source} nothing but this machine can be reached, and not {other}")
        return values.source_address

    def _clear_text(self, tree: Node, target: Target) -> str:
        at = tree.nearest("auth")
        where = f"{self._problems.file}:{at.line}:{at.column}: " if at.line else ""
        text = f"refused to send credentials to {target.host} without TLS; set tls to starttls or implicit"
        return f"{where}auth: {text}"


def _warnings(tls: TlsSettings, target: Target) -> dict[str, str]:
    """Labels that let no report keep silent about certificates that nobody checked, or pass a sandbox's
    figures off as the real path's."""
    unchecked = not tls.verify and tls.mode is not TlsMode.NONE
    return {
        **({"tls.verify": "false"} if unchecked else {}),
        **({"target": "sandbox"} if target.kind is TargetKind.SANDBOX else {}),
    }


def _meaningful(
    varying: Mapping[str, str], transport: Transport, connection: str, client: str
) -> dict[str, str]:
    """What varies and makes a difference to a case: only that is part of its labels and its id."""
    idle = {"client.api", "batch"} if transport is Transport.SMTP else {"client.smtp"}
    if connection == Connection.UNPOOLED.value:
        idle |= _KEEPING
    if client not in known.GROUPING_CLIENTS or transport is Transport.API:
        idle |= {"smtp", "smtp.pipelining", "smtp.chunking"}
    return {key: text for key, text in varying.items() if key not in idle}


def case_id(fixed: Mapping[str, str], varying: Mapping[str, str]) -> str:
    """`provider/transport/connection` plus every other varying key as `/key=value`, sorted."""
    others = sorted(f"{key}={text}" for key, text in varying.items() if key not in ID_KEYS)
    return "/".join((*(fixed[key] for key in ID_KEYS), *others))


def comparison(keys: Sequence[str], alike: Mapping[str, str]) -> str:
    """`provider at transport=smtp`: what is compared, and what its cases have in common of what varies."""
    if not keys:
        return ""
    where = ", ".join(f"{key}={text}" for key, text in sorted(alike.items()))
    return f"{' and '.join(keys)} at {where}" if where else " and ".join(keys)


def gate_of(values: form.GateForm | float | None, *, given: bool, processes: int) -> Gate | None:
    """The verdict that is asked for, from so many processes where it does not say; None where the scenario
    has no key `gate`."""
    if not given:
        return None
    whole = values if isinstance(values, form.GateForm) else form.GateForm(limit=values)
    if isinstance(whole.limit, form.LimitsForm):
        own = {name: share for name, share in whole.limit if share is not None}
    else:
        own = dict.fromkeys(DEFAULT_LIMITS.limit, whole.limit) if whole.limit is not None else {}
    return Gate(DEFAULT_LIMITS.within(own), whole.stages, whole.processes or processes)


def load_of(values: Form) -> Load:
    """The load model; open ones get the number of messages that fall due before their end."""
    if isinstance(values, form.ClosedForm):
        return Load("closed", values.messages, values.duration, values.warmup, concurrency=values.concurrency)
    if isinstance(values, form.ConstantForm | form.PoissonForm):
        messages = values.messages or due_before(values.rate * (values.duration or 0) / 1e9)
        duration = values.duration or round(messages * 1e9 / values.rate)
        rates: tuple[float, ...] = (values.rate,)
        step = None
    elif isinstance(values, form.RampForm):
        rates, duration, step = (values.start, values.to), values.duration, None
        messages = due_before((values.start + values.to) / 2 * duration / 1e9)
    else:
        assert isinstance(values, form.StepsForm)
        rates, step = tuple(values.rates), values.step
        duration = step * len(rates)
        messages = due_before(math.fsum(rates) * step / 1e9)
    return Load(
        values.model,
        messages,
        duration,
        values.warmup,
        rates_per_s=rates,
        step_ns=step,
        max_in_flight=values.max_in_flight,
    )


def due_before(expected: float) -> int:
    """How many of the messages 0, 1, 2, ... fall due while `expected` of them are scheduled; at least one."""
    return max(1, math.ceil(expected - 1e-6))


def _auth(values: form.AuthForm | None) -> Auth | None:
    if values is None:
        return None
    user = Secret(values.user) if isinstance(values.user, str) else values.user
    return Auth(user, values.password)
