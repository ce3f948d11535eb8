"""F18: five hundred hostile answers, over SMTP and HTTP, through the client into every report."""

from __future__ import annotations

import json
import random
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.report import FORMATS
from tests.report.hostile import PAYLOADS
from tests.runs import Finished, run_text

COUNT = 500
SCENARIO = """\
version: 1
name: hostile
target: mock
provider: sendgrid
tls: none
transport: {transport}
load: {{model: closed, concurrency: 4, messages: 500}}
faults: {faults}
"""


def payloads(harmless: bool) -> list[str]:
    """Pieces of what hurts, put together at random; what no line of a reply can hold is left out."""
    rng = random.Random(18)
    pieces = [each.encode("latin-1", "ignore").decode("latin-1") for each in PAYLOADS]
    made = ["".join(rng.choices(pieces, k=rng.randint(1, 3))) for _ in range(COUNT)]
    lines = [each.replace("\r", " ").replace("\n", " ")[:900] for each in made]
    return ["x" * len(each) for each in lines] if harmless else lines


def run(transport: str, folder: Path, *, harmless: bool) -> Finished:
    rules = []
    for number, text in enumerate(payloads(harmless), 1):
        if transport == "smtp":
            rules.append({"at": "dot", "do": "reply", "text": f"554 5.6.0 {text}", "nth": number})
            continue
        body = json.dumps({"errors": [{"message": text, "field": text[:50]}]})
        reply = f"HTTP/1.1 400 x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        rules.append({"at": "status", "do": "reply", "text": reply, "raw": True, "nth": number})
    folder.mkdir()
    return run_text(SCENARIO.format(transport=transport, faults=json.dumps(rules)), folder)


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name}"
            assert not (value or "").strip().lower().startswith("javascript:")


@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_no_answer_leaves_a_trace_but_text(transport: str, tmp_path: Path) -> None:
    hostile = run(transport, tmp_path / "hostile", harmless=False)
    plain = run(transport, tmp_path / "plain", harmless=True)
    assert set(hostile.frame["outcome"]) == {"rejected_perm"}
    table = hostile.stored.table().to_pylist()
    assert sum(b"script" in (row["reply"] or b"") for row in table) > 20, "they are on record as they came"
    pages = [
        {name: each.render(done.summary, done.answer, done.frame) for name, each in FORMATS.items()}
        for done in (hostile, plain)
    ]
    tags = [Elements(each["html"].decode()).found for each in pages]
    for tag in ("script", "img", "iframe", "a", "b", "style", "form", "input", "object", "link"):
        assert tags[0][tag] == tags[1][tag], tag
    for name, page in pages[0].items():
        text = page.decode("utf-8", "replace")
        assert "\x1b" not in text, name
        assert not any(line.startswith(("::", "##[")) for line in text.splitlines()), name
