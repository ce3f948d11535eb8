from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import CaseRun, Manifest, Outcome, Secret, Taken, Threshold
from bench.store.codec import Json, decode, dump_line, encode, load

TEXT = st.text(max_size=12)
MAPPING = st.dictionaries(TEXT, TEXT, max_size=3)
INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)

MANIFESTS = st.builds(
    Manifest,
    id=TEXT,
    scenario=TEXT,
    description=TEXT,
    tags=MAPPING,
    state=TEXT,
    reason=st.none() | TEXT,
    started_at=TEXT,
    clock_offset_ns=INT64,
    seed=INT64,
    tool_version=TEXT,
    facts=MAPPING,
    thresholds=st.lists(
        st.builds(Threshold, TEXT, TEXT, TEXT, TEXT, NUMBER, st.just((("a", "b"),)), INT64), max_size=2
    ).map(tuple),
    cases=st.lists(
        st.builds(CaseRun, id=TEXT, labels=MAPPING, rtt_ns=st.none() | INT64, error=st.none() | TEXT),
        max_size=2,
    ).map(tuple),
    rows=st.none() | INT64,
    log_sha256=st.none() | TEXT,
)


@dataclass(frozen=True)
class Mixed:
    outcome: Outcome
    pair: tuple[str, int]
    table: dict[str, float]
    flag: bool = False


@settings(deadline=None)
@given(MANIFESTS)
def test_a_manifest_comes_back_exactly(manifest: Manifest) -> None:
    assert decode(Manifest, load(json.dumps(encode(manifest)).encode())) == manifest


def test_enums_pairs_and_defaults() -> None:
    mixed = Mixed(Outcome.ACCEPTED, ("a", 1), {"x": 2.5})
    assert dump_line(mixed) == b'{"outcome":"accepted","pair":["a",1],"table":{"x":2.5},"flag":false}'
    assert decode(Mixed, load(dump_line(mixed))) == mixed
    assert decode(Mixed, {"outcome": "unknown", "pair": ["b", 2], "table": {"y": 1}}) == Mixed(
        Outcome.UNKNOWN, ("b", 2), {"y": 1.0}
    )


TAKEN: dict[str, Json] = {"key": "k", "received_ns": 1, "taken_ns": 2, "answered_ns": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": None}, "key: null is not text"),
        ({"taken_ns": "2"}, 'taken_ns: "2" is not a whole number'),
        ({"taken_ns": 2.0}, "taken_ns: 2.0 is not a whole number"),
        ({"taken_ns": True}, "taken_ns: true is not a whole number"),
        ({"taken_ns": [2]}, r"taken_ns: \[2\] is not"),
    ],
)
def test_wrong_types_are_named(change: dict[str, Json], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(Taken, TAKEN | change)


def test_errors_name_the_place() -> None:
    with pytest.raises(ValueError, match=r"answered_ns: missing"):
        decode(Taken, {name: TAKEN[name] for name in list(TAKEN)[:3]})
    with pytest.raises(ValueError, match="the whole: not an object"):
        decode(Taken, [1])
    whole = {"outcome": "accepted", "pair": ["a", 1], "table": {}}
    for change, message in (
        ({"outcome": "eaten"}, "outcome: 'eaten' is none of accepted"),
        ({"pair": ["a"]}, "pair: 1 items instead of 2"),
        ({"pair": "ab"}, "pair: not a list"),
        ({"pair": ["a", None]}, r"pair\[1\]: null"),
        ({"table": {"k": "v"}}, r"table\.k: "),
        ({"table": []}, "table: not an object"),
    ):
        with pytest.raises(ValueError, match=message):
            decode(Mixed, load(json.dumps(whole | change).encode()))


@dataclass(frozen=True)
class Packed:
    content: bytes | None


@given(st.none() | st.binary(max_size=40))
def test_bytes_come_back_exactly(content: bytes | None) -> None:
    assert decode(Packed, load(dump_line(Packed(content)))) == Packed(content)


@pytest.mark.parametrize("text", ["a", "YQ==!", "\u00e9"])
def test_bytes_are_base64_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="content: not base64"):
        decode(Packed, {"content": text})


def test_what_has_no_json_form_is_refused() -> None:
    for value in (Secret("hunter22"), bytearray(b"bytes"), {1: "x"}, object(), Mixed):
        with pytest.raises(TypeError):
            encode({"inside": [value]} if not isinstance(value, dict) else value)


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|nested|Expecting|decode"):
        load(text)


def test_unknown_keys_of_a_later_minor_version_are_passed_over() -> None:
    assert decode(Taken, TAKEN | {"colour": "red"}) == Taken("k", 1, 2, 3)
