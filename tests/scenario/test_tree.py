from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import ScenarioError
from bench.scenario.references import looks_secret
from bench.scenario.tree import Scalar, compose, decode, resolve_scalar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"), ("off", "off"), ("yes", "yes"), ("y", "y"), ("22:22", "22:22"), ("1_000", "1_000"),
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("-3", -3), ("+3", 3), ("1e3", 1000.0), (".5", 0.5),
        ("2026-11-23", "2026-11-23"), (".inf", ".inf"), (".nan", ".nan"), ("NaN", "NaN"), ("1.", 1.0),
        (".", "."), ("true", True), ("True", True), ("tRue", "tRue"), ("~", None), ("null", None),
        ("", None), ("=", "="),
        ("1" * 40, "1" * 40),
    ],
)  # fmt: skip
def test_core_schema(text: str, expected: Scalar) -> None:
    assert resolve_scalar(text) == expected
    assert type(resolve_scalar(text)) is type(expected)


def test_places_paths_and_text() -> None:
    tree = compose("a: 1\nb:\n  - {c: '07'}\n  - x\n", "f.yaml")
    node = tree.entries["b"].items[0].entries["c"]
    assert (node.value, node.text, node.path) == ("07", "07", "b[0].c")
    assert (node.line, node.column, node.key_line, node.key_column) == (3, 9, 3, 6)
    assert tree.plain() == {"a": 1, "b": [{"c": "07"}, "x"]}
    assert tree.get("a") is tree.entries["a"]
    assert tree.get("b.c") is None
    assert tree.nearest("a.x.y") is tree.entries["a"]
    assert tree.entries["b"].compact() == "[{c:07},x]"


def test_command_line_values_have_no_line() -> None:
    node = compose("{a: [1, 2]}", "", prefix="--set k").entries["a"].items[1]
    assert node.from_command_line
    assert node.path == "--set k.a[1]"
    assert compose("", "", prefix="--set k").value is None


def error_of(data: bytes) -> str | None:
    try:
        list(compose(decode(data, "f.yaml"), "f.yaml").walk())
    except ScenarioError as error:
        return str(error)
    return None


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_tree_or_one_error(text: str) -> None:
    error = error_of(text.encode("utf-8", "surrogatepass"))
    assert error is None or error.startswith("f.yaml:")
    assert "\n" not in (error or "")


@given(st.text(alphabet="ab: {}[],-#&*!|>'\"%@`\n ?~<", max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_punctuation_is_a_tree_or_one_error(text: str) -> None:
    assert "\n" not in (error_of(text.encode()) or "")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("password", True), ("Password", True), ("smtp_password", True), ("apiKey", True), ("api-key", True),
        ("X-Auth-Token", True), ("key", True), ("client_secret", True), ("Authorization", True),
        ("tokens", True), ("monkey", False), ("keyboard", False), ("tokenizer", False), ("user", False),
        ("passenger", False),
    ],
)  # fmt: skip
def test_keys_that_look_like_secrets(key: str, expected: bool) -> None:
    assert looks_secret(key) is expected
