from __future__ import annotations

import random

import pyarrow as pa
import pytest

from bench.model import PHASES, Outcome, Sample
from bench.store import rows
from tests.store.samples import make_case, make_dropped, make_sample

# The list of the design, word for word; `quit_ns` is the phase after the end.
COLUMNS = [
    "case", "key", "seq", "attempt", "worker", "warmup", "cold", "due_ns", "ready_ns", "start_ns", "end_ns",
    "dns_ns", "tcp_ns", "tls_ns", "banner_ns", "ehlo_ns", "starttls_ns", "auth_ns", "mail_ns", "rcpt_ns",
    "data_ns", "body_ns", "reply_ns", "envelope_ns", "send_ns", "server_ns", "receive_ns", "quit_ns",
    "round_trips", "connection_id", "connection_use", "client", "http_version", "tls_version", "outcome",
    "phase_at_end", "code", "enhanced_code", "reply", "error", "errno", "anomaly", "notes", "replies",
    "tcp_rtt_ns", "retransmits", "recipients", "recipients_accepted", "bytes_sent", "message_id", "batch_id",
    "batch_index",
]  # fmt: skip


def as_row(sample: Sample) -> dict[str, object]:
    """The slow, obvious version of a row."""
    row: dict[str, object] = {}
    for name, value in sample._asdict().items():
        if name == "phases":
            row |= {f"{phase}_ns": sample.phases.get(phase) for phase in PHASES}
        else:
            row[name] = value
    return {name: row[name] for name in COLUMNS}


def test_the_columns_are_those_of_the_design() -> None:
    assert list(rows.COLUMNS) == COLUMNS
    times = [field for field in rows.SCHEMA if field.name.endswith("_ns")]
    assert all(field.type == pa.int64() and field.nullable for field in times)
    assert [field.name for field in rows.SCHEMA if not field.nullable] == [
        "case", "key", "seq", "attempt", "worker", "warmup", "cold", "client", "outcome", "recipients",
    ]  # fmt: skip


def test_rows_come_back_as_they_were() -> None:
    case = make_case()
    samples = [make_sample(1), make_dropped(2, case), make_sample(3), make_sample(4)._replace(reply=None)]
    batch = rows.decode(rows.encode(samples))
    assert batch.to_pylist() == [as_row(sample) for sample in samples]
    assert batch.schema.equals(rows.SCHEMA)


def test_text_that_is_no_utf8_is_escaped_not_lost() -> None:
    sample = make_sample(1)._replace(notes="a\udcffb", message_id="\ud800", anomaly="fine ✓ \0")
    (row,) = rows.batch_of([sample]).to_pylist()
    assert (row["notes"], row["message_id"], row["anomaly"]) == ("a\\udcffb", "\\ud800", "fine ✓ \0")


def test_replies_are_kept_as_bytes_and_cut() -> None:
    hostile = bytes(range(256)) * 4
    (row,) = rows.batch_of([make_sample(1)._replace(reply=hostile)]).to_pylist()
    assert row["reply"] == hostile[:512]


@pytest.mark.parametrize(
    "change",
    [{"phases": {"nap": 1}}, {"code": 2**40}, {"seq": None}, {"end_ns": "late"}, {"end_ns": 2**70}],
)
def test_a_sample_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        rows.decode(rows.encode([make_sample(1)._replace(**change)]))  # type: ignore[arg-type]  # on purpose


def test_the_schema_frame() -> None:
    assert rows.is_schema(rows.encode_schema())
    assert not rows.is_schema(pa.schema([("case", pa.string())]).serialize().to_pybytes())
    assert not rows.is_schema(b"")


def test_order_is_by_case_then_number_then_attempt() -> None:
    cases = [make_case(index) for index in (2, 0, 1)]
    samples = [
        make_sample(seq, case)._replace(attempt=attempt)
        for case in cases for seq in (0, 1, 9, 10) for attempt in (1, 2)
    ]  # fmt: skip
    shuffled = random.Random(3).sample(samples, len(samples))
    table = rows.in_order(rows.table_of([rows.batch_of(shuffled)]), [case.id for case in cases])
    assert table.to_pylist() == [as_row(sample) for sample in samples]


def test_duplicates_are_counted_by_case_seq_and_attempt() -> None:
    first = make_sample(1)
    samples = [
        first,
        first._replace(attempt=2),
        first._replace(case="another"),
        make_sample(2),
        first,
        first._replace(outcome=Outcome.UNKNOWN),
    ]
    table = rows.table_of([rows.batch_of(samples)])
    assert rows.duplicates(rows.in_order(table, [first.case, "another"])) == 2
    assert rows.duplicates(rows.in_order(table.slice(0, 4), [first.case, "another"])) == 0
    assert rows.duplicates(table.slice(0, 1)) == 0
    assert rows.duplicates(rows.table_of([])) == 0
