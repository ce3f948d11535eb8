from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bench.report import markdown
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, Planted, edge


def tokens(run: Planted) -> list[Token]:
    text = markdown.render(run.summary, run.answer).decode()
    blocks = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    return [*blocks, *(child for block in blocks for child in block.children or ())]


def text_of(run: Planted) -> str:
    return " ".join(token.content for token in tokens(run) if token.type == "text")


@pytest.mark.parametrize("shape", EDGES)
def test_tables_have_rows_as_wide_as_their_head(shape: str) -> None:
    lines = markdown.render(edge(shape).summary, edge(shape).answer).decode().splitlines()
    width = 0
    for line in lines:
        if line.startswith("|"):
            width = width or line.count("|")
            assert line.count("|") == width
        else:
            width = 0


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_stays_text(payload: str) -> None:
    found = tokens(hostile_run(payload))
    types = {token.type for token in found}
    assert not types & {"link_open", "image", "code_inline", "em_open", "s_open", "fence", "code_block"}
    html = [token.content for token in found if token.type.startswith("html")]
    assert all(h.startswith(("<details><summary>", "</details>")) for h in html)
    harmless = [token.type for token in tokens(hostile_run("harmless")) if token.type.endswith("_open")]
    assert [token.type for token in found if token.type.endswith("_open")] == harmless
    lines = markdown.render(hostile_run(payload).summary, hostile_run(payload).answer).decode().splitlines()
    assert not [line for line in lines if line.lstrip().startswith(("::", "##["))]


def test_a_pipe_is_shown_as_one() -> None:
    assert "a|b|c" in text_of(hostile_run("a|b|c"))


def test_what_a_reader_finds() -> None:
    run = edge("four")
    text = text_of(run)
    assert text.startswith(run.answer.sentences[0])
    for part in ("smtp unpooled", "400/400", "does not hold", "Accepted is not delivered"):
        assert part in text


def test_a_lost_message_is_bold() -> None:
    run = edge("some-failed")
    text = markdown.render(run.summary, run.answer).decode()
    assert "**INVALID** smtp unpooled" in text
    assert "- **ERRORS** sendgrid/smtp/unpooled" in text
