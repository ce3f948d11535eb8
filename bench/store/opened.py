"""What a raw log says before the first row: which case has begun, which messages may be on their way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.model import Case, Connection


@dataclass(frozen=True, slots=True)
class OpenCase:
    """What has to be known of a case should the run not live to its end."""

    id: str
    labels: Mapping[str, str]
    warmup: int
    open: bool
    pooled: bool
    rtt_ns: int | None
    service_time_p50_ns: int | None
    server: str
    client: str
    recipients: int
    key_prefix: str
    begins: tuple[int, ...] = (0,)
    """The first message of each part of its load, with which a warm-up begins."""

    @staticmethod
    def of(case: Case, key_prefix: str) -> OpenCase:
        """The facts of a case."""
        return OpenCase(
            id=case.id,
            labels=dict(case.labels),
            warmup=case.load.warmup,
            open=case.load.open,
            pooled=case.connection is Connection.POOLED,
            rtt_ns=case.shaped_rtt_ns,
            service_time_p50_ns=case.planted_p50_ns,
            server=case.server,
            client=case.client,
            recipients=case.message.recipients_each,
            key_prefix=key_prefix,
            begins=case.load.begins,
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """`count` messages of a case may have been sent: `first` and every `step`-th after it."""

    case: str
    first: int
    count: int
    step: int = 1

    @property
    def numbers(self) -> range:
        """The messages."""
        return range(self.first, self.first + self.count * self.step, self.step)
