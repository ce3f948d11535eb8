"""What pipelining and chunking save, in the same chain of sentences as pooling and the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.analysis import explain

if TYPE_CHECKING:
    from tests.analysis.conftest import Planted

SMTP_NEW, SMTP_KEPT = "generic/smtp/unpooled", "generic/smtp/pooled"
API_NEW, API_KEPT = "generic/api/unpooled", "generic/api/pooled"
OFF = "/smtp.chunking=off/smtp.pipelining=off"
PIPELINED = "/smtp.chunking=off/smtp.pipelining=auto"
CHUNKED = "/smtp.chunking=auto/smtp.pipelining=off"
BOTH_ON = "/smtp.chunking=auto/smtp.pipelining=auto"


def test_what_pipelining_and_chunking_change_is_said_step_by_step(planted: Planted) -> None:
    summary = planted.summary(
        planted.case(SMTP_KEPT + BOTH_ON, 54.0, 1.0), planted.case(API_KEPT, 54.1, 1.0),
        planted.case(SMTP_NEW + OFF, 568.0, 11.0), planted.case(SMTP_KEPT + PIPELINED, 104.0, 2.0),
        planted.case(API_NEW, 157.0, 3.0), planted.case(SMTP_KEPT + OFF, 205.0, 4.0),
    )  # fmt: skip
    headline, second = explain(summary).sentences[:2]
    assert headline == (
        "At 50 ms round trip, pooling saves 7 of 11 round trips and 363 of 568 ms a message; "
        "pipelining saves 2 more (101 ms); chunking saves 1 more (50 ms); "
        "the API on a kept-alive connection makes no measurable difference to that."
    )
    assert second.endswith("takes 157 ms where SMTP takes 568 ms (3 round trips against 11).")


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ([(OFF, 205, 4), (BOTH_ON, 54, 1)],
         "pipelining with chunking saves 3 of 4 round trips and 151 of 205 ms a message."),
        ([(BOTH_ON, 54, 1), (PIPELINED, 104, 2)],
         "chunking saves 1 of 2 round trips and 50 of 104 ms a message."),
        ([(OFF, 205, 4), (PIPELINED, 104, 2), (CHUNKED, 155, 3), (BOTH_ON, 54, 1)],
         "pipelining saves 2 of 4 round trips and 101 of 205 ms a message; chunking saves 1 more (50 ms)."),
    ],
)  # fmt: skip
def test_only_what_adds_an_extension_is_a_step(
    planted: Planted, ways: list[tuple[str, float, float]], expected: str
) -> None:
    summary = planted.summary(*(planted.case(SMTP_KEPT + how, ms, count) for how, ms, count in ways))
    assert explain(summary).sentences[0] == f"At 50 ms round trip, {expected}"
