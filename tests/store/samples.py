"""Scenarios and samples for the tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bench.model import (
    Auth,
    Case,
    CaseRun,
    Connection,
    Load,
    MessageSpec,
    Network,
    Outcome,
    PoolOptions,
    Sample,
    Scenario,
    ServiceTime,
    SmtpOptions,
    Target,
    TargetKind,
    Threshold,
    TlsSettings,
    Transport,
)
from bench.store import RunWriter, create_run

STARTED_AT = datetime(2026, 11, 23, 18, 26, 5, tzinfo=UTC)
SOURCE = b"version: 1\nname: probe\n# as it was given \xe2\x9c\x93\n"


def make_case(
    index: int = 0, *, messages: int | None = 400, warmup: int = 2, auth: Auth | None = None
) -> Case:
    connection = Connection.POOLED if index % 2 == 0 else Connection.UNPOOLED
    name = f"generic/smtp/{connection.value}/{index}"
    return Case(
        index=index,
        id=name,
        labels={"provider": "generic", "transport": "smtp", "connection": connection.value},
        target=Target(TargetKind.MOCK),
        provider="generic",
        transport=Transport.SMTP,
        connection=connection,
        client="aiosmtplib",
        message=MessageSpec(recipients=("a@x.example", "b@x.example")),
        network=Network(rtt_ns=50_000_000),
        service_time=ServiceTime(p50_ns=5_000_000),
        load=Load(model="closed", messages=messages, warmup=warmup, concurrency=4),
        tls=TlsSettings(),
        auth=auth,
        pool=PoolOptions(4),
        smtp=SmtpOptions(),
        timeout_ns=10**10,
    )


def make_scenario(*cases: Case) -> Scenario:
    return Scenario(
        name="probe",
        description="what a test needs",
        tags={"team": "tests"},
        file="probe.yaml",
        source=SOURCE,
        cases=cases or (make_case(0), make_case(1)),
        thresholds=(
            Threshold("p95(service) < 800ms", "p95", "service", "<", 8e8, (("connection", "pooled"),), 7),
        ),
    )


def start(results: Path, scenario: Scenario | None = None) -> RunWriter:
    return create_run(
        results,
        scenario or make_scenario(),
        seed=7,
        facts={"machine": "a machine", "python": "3.11"},
        clock_offset_ns=123_456_789,
        started_at=STARTED_AT,
    )


def make_sample(seq: int, case: Case | None = None, run: str = "run") -> Sample:
    """A row with a value in most columns."""
    case = case or make_case()
    return Sample(
        case=case.id,
        key=f"{run}-{case.index}-{seq}",
        seq=seq,
        attempt=1,
        worker=seq % 4,
        warmup=seq < case.load.warmup,
        cold=seq < 4,
        due_ns=None,
        ready_ns=seq * 1_000_000,
        start_ns=seq * 1_000_000 + 10,
        end_ns=seq * 1_000_000 + 205_000_010,
        phases={
            "mail": 51_000_000,
            "rcpt": 51_000_000,
            "data": 51_000_000,
            "body": 2_000,
            "reply": 51_998_000,
        },
        outcome=Outcome.ACCEPTED,
        round_trips=4,
        connection_id=seq % 4,
        connection_use=seq // 4 + 1,
        client=case.client,
        tls_version="TLSv1.3",
        code=250,
        enhanced_code="2.0.0",
        reply=b"250 2.0.0 queued as \xff%d" % seq,
        notes='{"local_port": 40000}',
        replies=b"250 250 354 250",
        tcp_rtt_ns=50_000_000,
        retransmits=0,
        recipients=2,
        recipients_accepted=2,
        bytes_sent=10_240,
        message_id=f"m{seq}",
    )


def make_dropped(seq: int, case: Case, run: str = "run") -> Sample:
    return Sample(
        case=case.id,
        key=f"{run}-{case.index}-{seq}",
        seq=seq,
        attempt=0,
        worker=0,
        warmup=False,
        cold=False,
        due_ns=seq,
        ready_ns=None,
        start_ns=None,
        end_ns=None,
        phases={},
        outcome=Outcome.DROPPED,
    )


def fill(writer: RunWriter, case: Case, count: int) -> list[Sample]:
    """Reserve and append the first `count` messages of a case."""
    samples = []
    for seq in range(count):
        if seq % 100 == 0:
            writer.reserve(seq, case.id)
        sample = make_sample(seq, case)._replace(key=f"{writer.key_prefix(case)}-{seq}")
        writer.append(sample)
        samples.append(sample)
    return samples


def make_case_run(case: Case, scheduled: int = 400) -> CaseRun:
    return CaseRun(
        id=case.id,
        labels=dict(case.labels),
        scheduled=scheduled,
        warmup=case.load.warmup,
        started_ns=2_000_000,
        ended_ns=900_000_000,
        cpu_ns=40_000_000,
        open=False,
        pooled=case.connection is Connection.POOLED,
        rtt_ns=50_000_000,
        service_time_p50_ns=5_000_000,
        server="mock",
    )
