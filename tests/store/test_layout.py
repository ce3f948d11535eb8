"""The quick way to encode rows against the slow, obvious one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import PHASES, Outcome, Sample, Secret
from bench.store import rows
from bench.store.clean import Cleaner
from tests.store.samples import make_case, make_dropped, make_sample, make_scenario

KINDS: dict[str, st.SearchStrategy[object]] = {
    "str": st.text(st.characters(codec=None), max_size=6)
    | st.sampled_from(["", "same", "é", "\ud800", "a\0b"]),
    "bytes": st.binary(max_size=6) | st.sampled_from([b"", b"same", bytes(600)]),
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1) | st.just(0),
    "int64": st.integers(-(2**63), 2**63 - 1) | st.just(0),
}
ARROW = {"string": "str", "binary": "bytes", "bool": "bool", "int32": "int32", "int64": "int64"}


def values_of(name: str) -> st.SearchStrategy[object]:
    field = rows.SCHEMA.field(name)
    values = KINDS[ARROW[str(field.type)]]
    return values if not field.nullable else st.none() | values


def columns(count: int) -> st.SearchStrategy[dict[str, list[object]]]:
    """For each field of a sample one value for all rows, as most are, or one for each."""

    def column(values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
        return values.map(lambda value: [value] * count) | st.lists(values, min_size=count, max_size=count)

    names = [name for name in Sample._fields if name not in ("phases", "outcome")]
    phases = st.dictionaries(st.sampled_from(PHASES), st.integers(0, 2**40), max_size=4)
    return st.fixed_dictionaries(
        {
            "phases": column(phases),
            "outcome": column(st.sampled_from(Outcome)),
            **{name: column(values_of(name)) for name in names},
        }
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9).flatmap(columns))
def test_both_ways_give_the_same_rows(given_columns: dict[str, list[object]]) -> None:
    names = list(given_columns)
    samples = [
        Sample(**dict(zip(names, values, strict=True)))
        for values in zip(*given_columns.values(), strict=True)
    ]
    expected = rows.batch_of(samples)
    assert rows.decode(rows.encode(samples)).equals(expected)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 63, 64, 65, 1000])
def test_every_length_is_laid_out_right(count: int) -> None:
    """Bitmaps and padding have their edges at multiples of eight."""
    same = [make_sample(1)] * count
    mixed = [make_sample(seq) if seq % 3 else make_dropped(seq, make_case()) for seq in range(count)]
    for samples in (same, mixed):
        assert rows.decode(rows.encode(samples)).equals(rows.batch_of(samples))


@pytest.mark.parametrize("name", [field.name for field in rows.SCHEMA if not field.nullable])
@pytest.mark.parametrize("which", [slice(0, 3), slice(1, 2)])
def test_a_required_value_that_is_missing_is_refused(name: str, which: slice) -> None:
    samples = [make_sample(seq) for seq in range(3)]
    samples[which] = [sample._replace(**{name: None}) for sample in samples[which]]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"no {name}"):
        rows.encode(samples)
    with pytest.raises(ValueError, match=f"no {name}"):
        rows.batch_of(samples)


SECRET = "s3cret-Passw0rd"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["reply", "replies", "notes", "anomaly", "message_id"]),
            st.sampled_from(
                [SECRET, SECRET.upper(), SECRET.encode().hex(), "czNjcmV0LVBhc3N3MHJk", "\\x73" + SECRET[1:]]
            ),
            st.sampled_from(["", "x", "=", "n" * 300]),
        ),
        max_size=4,
    )
)
def test_rows_are_cleaned_together_as_one_by_one(foreign: list[tuple[str, str, str]]) -> None:
    cleaner = Cleaner(make_scenario(make_case()))
    cleaner.learn([Secret(SECRET)])
    samples = [make_sample(seq) for seq in range(5)]
    for seq, (name, secret, around) in enumerate(foreign):
        text = around + secret + around
        value = text.encode() if name in ("reply", "replies") else text
        samples[seq] = samples[seq]._replace(**{name: value})  # type: ignore[arg-type]
    assert cleaner.samples(samples) == [cleaner.sample(sample) for sample in samples]


def test_rows_without_a_secret_are_not_copied() -> None:
    cleaner = Cleaner(make_scenario(make_case()))
    cleaner.learn([Secret(SECRET)])
    samples = [make_sample(seq) for seq in range(5)]
    assert cleaner.samples(samples) is samples
