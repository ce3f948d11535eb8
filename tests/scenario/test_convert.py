"""What concerns several keys of a case at once: the pool, the workers, which keys mean something."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ScenarioError
from bench.model import Case, PoolOptions, Scenario, TlsMode, TlsSettings
from bench.scenario import load_scenario

SMALL = "version: 1\nname: small\nload: {model: closed, messages: 10}\n"
OPEN = "version: 1\nname: x\nload: {model: constant, rate: 50/s, messages: 10, max_in_flight: 7}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> Scenario:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return load_scenario(path, overrides=overrides, environ={})


def only(scenario: Scenario) -> Case:
    assert len(scenario.cases) == 1
    return scenario.cases[0]


def test_how_long_connections_are_kept(tmp_path: Path) -> None:
    kept = "size: 3, max_messages: 100, idle_limit: 30s, max_age: 5m, ping: 10s"
    case = only(load(tmp_path, f"{SMALL}pool: {{{kept}, preconnect: true, order: fifo}}\n"))
    assert case.pool == PoolOptions(
        size=3,
        max_messages=100,
        idle_ns=30 * 10**9,
        max_age_ns=300 * 10**9,
        ping_ns=10 * 10**9,
        preconnect=True,
        order="fifo",
    )
    assert only(load(tmp_path, SMALL)).pool == PoolOptions(size=1)


def test_where_a_matrix_varies_the_connection_the_unpooled_case_does_without_the_pool_s_rules(
    tmp_path: Path,
) -> None:
    text = SMALL + (
        "pool: {size: 2, ping: 1s, preconnect: true}\n"
        "matrix: {connection: [unpooled, pooled], pool.order: [lifo, fifo]}\n"
    )
    cases = load(tmp_path, text).cases
    assert [(case.index, case.id) for case in cases] == [
        (0, "generic/smtp/unpooled"),
        (1, "generic/smtp/pooled/pool.order=lifo"),
        (2, "generic/smtp/pooled/pool.order=fifo"),
    ]
    assert cases[0].pool == PoolOptions(2)
    assert "pool.order" not in cases[0].labels
    assert cases[2].pool == PoolOptions(2, ping_ns=10**9, preconnect=True, order="fifo")
    assert only(load(tmp_path, text, "connection=unpooled")).id == "generic/smtp/unpooled"


def test_a_size_of_the_pool_means_something_for_unpooled_cases_too(tmp_path: Path) -> None:
    cases = load(tmp_path, SMALL + "connection: unpooled\nmatrix: {pool.size: [1, 2]}\n").cases
    assert [(case.pool.size, case.labels["pool.size"]) for case in cases] == [(1, "1"), (2, "2")]


def test_a_client_of_the_other_transport_makes_no_case_of_its_own(tmp_path: Path) -> None:
    text = (
        SMALL + "matrix: {transport: [smtp, api], client.smtp: [aiosmtplib], smtp.pipelining: [auto, off]}\n"
    )
    smtp, api = load(tmp_path, text).cases
    assert smtp.id == "generic/smtp/pooled/client.smtp=aiosmtplib"  # which never pipelines
    assert api.id == "generic/api/pooled"
    assert set(api.labels) == {"provider", "transport", "connection", "client", "load"}


def test_a_threshold_may_be_about_a_key_that_not_every_case_has(tmp_path: Path) -> None:
    text = SMALL + (
        "matrix: {connection: [unpooled, pooled], pool.order: [lifo, fifo]}\n"
        "thresholds: [p95(service) < 5ms where pool.order=fifo]\n"
    )
    (threshold,) = load(tmp_path, text).thresholds
    assert threshold.where == (("pool.order", "fifo"),)
    load(tmp_path, text, "connection=unpooled")
    with pytest.raises(ScenarioError, match=r"no case has pool\.order=fido; there are fifo, lifo"):
        load(tmp_path, text.replace("=fifo", "=fido"))
    with pytest.raises(ScenarioError, match=r"no case has the label 'pool\.ordre'"):
        load(tmp_path, text.replace("pool.order=", "pool.ordre="))


@pytest.mark.parametrize("text", [SMALL.replace("closed", "closed, concurrency: 4"), OPEN])
def test_workers_share_the_load(tmp_path: Path, text: str) -> None:
    cases = load(tmp_path, text + "matrix: {workers: [1, 4]}\n").cases
    assert [(case.workers, case.id) for case in cases] == [
        (1, "generic/smtp/pooled/workers=1"),
        (4, "generic/smtp/pooled/workers=4"),
    ]
    assert only(load(tmp_path, text)).workers == 1


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("mock", "127.0.0.2"),
        ("smtp://[::1]:25", "::1"),
        ("smtp://192.0.2.1:25", "192.0.2.7"),
        ("smtp://localhost:25", "::1"),
        ("smtp://mail.example.org", "192.0.2.7"),
    ],
)
def test_source_addresses(tmp_path: Path, target: str, address: str) -> None:
    text = f'{SMALL}tls: none\ntarget: "{target}"\nsource_address: "{address}"\n'
    assert only(load(tmp_path, text)).source_address == address
    assert only(load(tmp_path, SMALL)).source_address is None


def test_tls_sessions_may_be_resumed(tmp_path: Path) -> None:
    cases = load(tmp_path, SMALL + "matrix: {tls.resume: [false, true]}\n").cases
    assert [case.tls for case in cases] == [
        TlsSettings(TlsMode.STARTTLS),
        TlsSettings(TlsMode.STARTTLS, resume=True),
    ]
