"""Masking comes before cutting, and the notes stay JSON."""

from __future__ import annotations

import json

import pytest

from bench.model import Auth, Secret
from bench.store import rows
from bench.store.clean import ITEM_CHARS, NOTE_CHARS, Cleaner
from tests.store.samples import make_case, make_sample, make_scenario

KEY = "canary-key-0123456789"


def cleaner(key: str = KEY) -> Cleaner:
    return Cleaner(make_scenario(make_case(auth=Auth(None, Secret(key)))))


@pytest.mark.parametrize("at", range(512 - len(KEY) - 2, 514))
def test_a_secret_across_the_cut_of_a_reply_leaves_nothing_behind(at: int) -> None:
    sample = make_sample(1)._replace(reply=b"x" * at + KEY.encode() + b"y" * 600)
    (row,) = rows.batch_of([cleaner().sample(sample)]).to_pylist()
    assert b"can" not in row["reply"]
    assert len(row["reply"]) == 512


@pytest.mark.parametrize("at", [NOTE_CHARS - len(KEY), NOTE_CHARS - 5, NOTE_CHARS - 1, 0, 1000])
def test_a_secret_across_the_cut_of_a_note_leaves_nothing_behind(at: int) -> None:
    text = "x" * at + KEY + "y" * 3000
    notes = json.dumps({"message": text, "local_port": 7, "replies": [[550, text[at - ITEM_CHARS // 2 :]]]})
    found = cleaner().sample(make_sample(1)._replace(notes=notes)).notes
    assert found is not None
    assert "can" not in found
    shape = json.loads(found)
    assert shape["local_port"] == 7
    assert len(shape["message"]) == NOTE_CHARS
    assert shape["replies"][0][0] == 550
    assert len(shape["replies"][0][1]) <= ITEM_CHARS


def test_notes_are_cut_where_there_is_no_secret_too() -> None:
    notes = json.dumps({"message": "x" * 4096, "replies": [[250, "y" * 1024]] * 2})
    for each in (cleaner(), Cleaner(make_scenario())):
        found = each.sample(make_sample(1)._replace(notes=notes)).notes
        assert found is not None
        assert json.loads(found) == {"message": "x" * NOTE_CHARS, "replies": [[250, "y" * ITEM_CHARS]] * 2}


def test_a_secret_that_looks_like_part_of_an_escape_leaves_the_notes_readable() -> None:
    notes = json.dumps({"message": "one\n1234"})
    found = cleaner("n1234").sample(make_sample(1)._replace(notes=notes)).notes
    assert found is not None
    assert json.loads(found) == {"message": "one\n1234"}


def test_short_notes_are_left_as_they_are() -> None:
    sample = make_sample(1)._replace(notes='{"local_port":7}')
    assert cleaner().sample(sample) is sample
