"""Everything a `MockSpec` asks for, started in order and ended in the opposite order."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from random import Random
from typing import Protocol

from bench.clock import Alarm
from bench.errors import RefusedError, SetupError, UsageError
from bench.mock.certificates import ThrowAwayAuthority, throw_away_authority
from bench.mock.faults import ByteLog, FaultPlan
from bench.mock.faulty_smtp import serve_faulty_smtp
from bench.mock.log import TakenLog, WireLog
from bench.mock.service import Decider, RateLimit
from bench.mock.shaper import Shaper
from bench.mock.smtp import SmtpMock, Throttle, serve_smtp
from bench.mock.spec import Credentials, MockSpec, Ready
from bench.model import Auth, TlsMode
from bench.protocol.smtp_server import ServerConfig
from bench.providers import PROVIDERS, get_provider
from bench.providers.base import SmtpFacts

FLUSH_S = 0.25
"""How long a line of a log may wait in memory."""
EARLY_NS = 150_000
"""How long before a delay ends the mock is awake: what waking up takes must not be added to a round trip."""


class Stop(Protocol):
    """An event, of asyncio or anyio."""

    async def wait(self) -> object: ...


async def serve(specs: Sequence[MockSpec], ready: Callable[[Sequence[Ready]], None], stop: Stop) -> None:
    """Be the mock of each of `specs`: call `ready` once all of them listen, with what each has to say, and
    return soon after `stop` is set.

    Raises RefusedError for an address it must not use, SetupError where it cannot listen, StorageError
    where a log cannot be written.
    """
    for spec in specs:
        _check_addresses(spec)
    async with AsyncExitStack() as stack:
        alarm = stack.enter_context(Alarm(early_ns=EARLY_NS))
        houses = [await stack.enter_async_context(_house(spec, alarm)) for spec in specs]
        ready([await _start(house, stack) for house in houses])
        await _flush_until(houses, stop)


class _House:
    """What the servers of a mock share."""

    def __init__(
        self, spec: MockSpec, alarm: Alarm, log: TakenLog, wire_log: WireLog, byte_log: ByteLog
    ) -> None:
        self.spec, self.alarm, self.log, self.wire_log = spec, alarm, log, wire_log
        self.byte_log = byte_log
        self.authority: ThrowAwayAuthority | None = None
        rng = secrets.SystemRandom()
        self.auths: Mapping[str, Auth] = {
            name: provider.mock_credentials(rng) for name, provider in PROVIDERS.items()
        }
        """provider -> what this process lets in; new each time, whatever the seed."""

    def context(self, *alpn: str) -> ssl.SSLContext | None:
        """A server's side of TLS, where there is any."""
        return self.authority.server_context(resume=self.spec.resume, alpn=alpn) if self.authority else None


@asynccontextmanager
async def _house(spec: MockSpec, alarm: Alarm) -> AsyncIterator[_House]:
    with (
        TakenLog(spec.log) as log,
        WireLog(spec.wire_log) as wire_log,
        ByteLog(spec.byte_log) as byte_log,
    ):
        house = _House(spec, alarm, log, wire_log, byte_log)
        if spec.kind == "relay" or spec.tls is TlsMode.NONE:
            yield house
            return
        flaw = next((fault.text.decode() for fault in spec.faults if fault.do == "certificate"), "")
        hosts = [] if _is_any(spec.host) else [spec.host]
        with throw_away_authority(hosts, flaw) as house.authority:
            yield house


async def _flush_until(houses: Sequence[_House], stop: Stop) -> None:
    while True:
        try:
            async with asyncio.timeout(FLUSH_S):
                await stop.wait()
                return
        except TimeoutError:
            for house in houses:
                house.log.flush()
                house.wire_log.flush()
                house.byte_log.flush()


async def _start(house: _House, stack: AsyncExitStack) -> Ready:
    spec = house.spec
    smtp: tuple[str, int] | None = None
    api: Mapping[str, str] = {}
    smtp_auth, api_auths = None, {}
    if spec.upstream is not None:
        smtp = await _shaped(house, stack, spec.upstream, "relay")
    if spec.kind in ("smtp", "all"):
        smtp, smtp_auth = await _start_smtp(house, stack)
    if spec.kind in ("api", "all"):
        api, api_auths = await _start_api(house, stack), dict(house.auths)
    return Ready(
        smtp=smtp,
        api=api,
        credentials=Credentials(smtp_auth, api_auths),
        ca_file=str(house.authority.ca_file) if house.authority else None,
        log=spec.log,
        pid=os.getpid(),
    )


async def _shaped(
    house: _House, stack: AsyncExitStack, server: tuple[str, int], name: str
) -> tuple[str, int]:
    """Where clients have to go to reach `server`."""
    spec = house.spec
    if spec.kind != "relay" and not spec.network.shaped:
        return server
    seed = spec.seed + sum(name.encode())  # one series for each of several shapers
    return await stack.enter_async_context(
        Shaper(server, spec.network, house.alarm, seed, house.wire_log.add)
    )


async def _start_smtp(house: _House, stack: AsyncExitStack) -> tuple[tuple[str, int], Auth | None]:
    spec = house.spec
    try:
        provider = get_provider(spec.provider)
    except ValueError as error:
        raise UsageError(str(error)) from error
    config = _smtp_config(spec, provider.facts.smtp, provider.smtp_auth(house.auths[spec.provider]))
    decider = Decider(spec.service_time, spec.seed)
    throttle = None if spec.rate_limit is None else Throttle(RateLimit(spec.rate_limit), *_throttling(spec))
    mock = SmtpMock(config, spec.tls, house.context(), decider, house.alarm, house.log, throttle)
    listener = _listen(spec.host, spec.port)
    if spec.faults:
        plan = FaultPlan(spec.faults, spec.seed)
        await stack.enter_async_context(serve_faulty_smtp(mock, listener, plan, house.byte_log))
    else:
        await stack.enter_async_context(serve_smtp(mock, listener))
    address = await _shaped(house, stack, _address(listener), "smtp")
    return address, config.auth


def _smtp_config(spec: MockSpec, facts: SmtpFacts, auth: Auth) -> ServerConfig:
    """A server that says and bears what the provider's does, as far as that is documented."""
    config = ServerConfig(
        starttls=spec.tls is TlsMode.STARTTLS,
        auth=auth if spec.auth_mechanisms else None,
        mechanisms=spec.auth_mechanisms,
        max_message_bytes=min(spec.max_message_bytes, facts.max_message_bytes or spec.max_message_bytes),
        max_recipients=min(spec.max_recipients, facts.max_recipients or spec.max_recipients),
        max_connections=facts.max_connections,
    )
    return config if facts.accepted is None else replace(config, accepted=("", facts.accepted))


_TOO_FAST = (451, "Rate limit exceeded, try again later")


def _throttling(spec: MockSpec) -> tuple[int, str]:
    """What the provider says to a message too many; 421 and 535 are for connections."""
    known = get_provider(spec.provider).facts.smtp.throttling
    return next((each for each in known if each[0] not in (421, 535)), _TOO_FAST)


async def _start_api(house: _House, stack: AsyncExitStack) -> Mapping[str, str]:
    import anyio  # here, with uvicorn, as nothing else needs them

    from bench.mock.api import serve_api

    spec = house.spec
    listener = _listen(spec.host, spec.port if spec.kind == "api" else 0)
    if spec.faults:
        await _start_faulty_api(house, stack, listener)
        return await _api_addresses(house, stack, listener)
    group = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(group.cancel_scope.cancel)
    await group.start(
        partial(
            serve_api,
            [listener],
            ssl_context=house.context("http/1.1"),
            providers=PROVIDERS,
            credentials=house.auths,
            decider=Decider(spec.service_time, spec.seed),
            taken_log=house.log,
            alarm=house.alarm,
            seed=spec.seed,
            any_host=not _is_loopback(spec.host),
            at_root=spec.provider if spec.at_root else None,
            rate_limit=spec.rate_limit,
        )
    )
    return await _api_addresses(house, stack, listener)


async def _start_faulty_api(house: _House, stack: AsyncExitStack, listener: socket.socket) -> None:
    from bench.mock.api import Application
    from bench.mock.faulty_http import FaultyHttp, serve_faulty_http

    spec = house.spec
    decider = Decider(spec.service_time, spec.seed)
    app = Application(
        PROVIDERS, house.auths, decider, house.log, house.alarm, Random(spec.seed), any_host=False,
        at_root=spec.provider if spec.at_root else None, rate_limit=spec.rate_limit,
    )  # fmt: skip
    server = FaultyHttp(
        decide=app.answer,
        service_ns=decider.next_ns,
        context=house.context("http/1.1"),
        plan=FaultPlan(spec.faults, spec.seed),
        alarm=house.alarm,
        log=house.log,
        byte_log=house.byte_log,
    )
    await stack.enter_async_context(serve_faulty_http(server, listener))


async def _api_addresses(house: _House, stack: AsyncExitStack, listener: socket.socket) -> Mapping[str, str]:
    from bench.mock.api import base_path

    spec = house.spec
    host, port = await _shaped(house, stack, _address(listener), "api")
    scheme = "http" if house.authority is None else "https"
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if spec.at_root:
        return {spec.provider: f"{scheme}://{netloc}{base_path(PROVIDERS[spec.provider])}"}
    return {name: f"{scheme}://{netloc}/{name}" for name in PROVIDERS}


# ------------------------------------------------------------------------ addresses


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _check_addresses(spec: MockSpec) -> None:
    """The safety rules: a mock serves this machine alone unless told otherwise, and relays to it only."""
    if spec.upstream is not None and not _is_loopback(spec.upstream[0]):
        raise RefusedError(f"{spec.upstream[0]}: a relay stands in front of loopback addresses only")
    if _is_loopback(spec.host):
        return
    if spec.faults:
        raise RefusedError(f"{spec.host}: a mock with faults serves this machine alone")
    if not spec.listen_any:
        raise RefusedError(f"{spec.host}: a mock serves this machine alone; --listen-any lifts that")
    if spec.network.shaped:
        raise UsageError(
            f"{spec.host}: a shaped mock serves this machine alone; leave out the round trip time"
        )
    if spec.kind in ("smtp", "all") and not spec.auth_mechanisms:
        raise RefusedError(f"{spec.host}: a mock that others can reach must demand AUTH")
    sys.stderr.write(f"warning: the mock can be reached by other machines at {spec.host}\n")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise SetupError(f"the mock cannot listen on {host}:{port}: {error.strerror or error}") from error


def _address(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return host, port
