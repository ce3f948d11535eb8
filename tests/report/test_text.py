from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.text import for_csv, for_markdown, for_terminal, from_bytes, visible

ANY_TEXT = st.text(st.characters(categories=None, exclude_categories=()), max_size=60)


@given(ANY_TEXT)
def test_visible_text_has_no_control_or_format_character(text: str) -> None:
    assert all(unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029" for char in visible(text))
    visible(text).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("250 2.0.0 Ok: queued", "250 2.0.0 Ok: queued"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb\tc\0", "a\\r\\nb\\tc\\x00"),
        ("\x9b", "\\x9b"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("grün 汉字 🙂", "grün 汉字 🙂"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_bytes_that_are_not_utf8_show_as_escapes() -> None:
    assert from_bytes(b"250 \xff\xfe ok\r\n") == "250 \\xff\\xfe ok\\r\\n"


@given(ANY_TEXT)
def test_no_workflow_command_survives_on_a_terminal(text: str) -> None:
    shown = for_terminal(f"::error::{text}##[group]{text}")
    assert "::e" not in shown
    assert "##[" not in shown


def test_addresses_read_as_they_are_on_a_terminal() -> None:
    assert for_terminal("[::1]:25") == "[::1]:25"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A", "\t=1", " =1", "\r=1", "\n@x"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert not for_csv(text).lstrip().startswith(("=", "+", "-", "@"))


@given(ANY_TEXT)
def test_no_markup_survives_in_markdown(text: str) -> None:
    shown = for_markdown(text)
    assert not set("<>|`*_[]~\\@!") & set(shown)
    assert "://" not in shown
