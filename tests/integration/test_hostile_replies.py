"""F18: five hundred hostile answers, over SMTP and HTTP, through the client into every report."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from bench.report import FORMATS
from bench.report.terminal import print_summary
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
    """What a browser makes of a page: its elements, and no attribute or declaration that does anything."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.policies: list[str | None] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name}"
            assert name not in ("src", "srcset", "action", "formaction", "srcdoc"), f"{tag} {name}"
            assert (
                not (value or "").strip().lower().startswith(("javascript:", "http", "//")) or "xmlns" in name
            )
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policies.append(dict(attrs)["content"])

    def handle_comment(self, data: str) -> None:
        self.found[f"<!--{data}"] += 1

    def handle_pi(self, data: str) -> None:
        self.found[f"<?{data}"] += 1

    def unknown_decl(self, data: str) -> None:
        self.found[f"<!{data}"] += 1


CHARTS = {"g", "path", "use", "text", "tspan", "defs", "rect"}
"""Of these, how many there are depends on how long the messages took."""


def pages_of(done: Finished) -> dict[str, str]:
    """Every format, and what the terminal shows."""
    made = {name: each.render(done.summary, done.answer, done.frame) for name, each in FORMATS.items()}
    shown = io.StringIO()
    print_summary(Console(file=shown, force_terminal=True, width=100), done.summary, done.answer)
    texts = {name: page.decode() for name, page in made.items() if name != "parquet"}
    return texts | {"terminal": shown.getvalue()}


@pytest.mark.parametrize("transport", ["smtp", "api"])
def test_no_answer_leaves_a_trace_but_text(transport: str, tmp_path: Path) -> None:
    hostile = run(transport, tmp_path / "hostile", harmless=False)
    plain = run(transport, tmp_path / "plain", harmless=True)
    assert set(hostile.frame["outcome"]) == {"rejected_perm"}
    table = hostile.stored.table().to_pylist()
    assert sum(b"script" in (row["reply"] or b"") for row in table) > 20, "they are on record as they came"
    pages, others = pages_of(hostile), pages_of(plain)
    check_html(pages["html"], others["html"])
    render = MarkdownIt("gfm-like", {"linkify": False}).render
    check_html(render(pages["md"]), render(others["md"]), policies=0)
    assert UNSHOWN.search(STEERING.sub("", pages["terminal"])) is None
    for name in ("csv", "samples"):
        rows, plain_rows = (list(csv.reader(io.StringIO(each[name]))) for each in (pages, others))
        assert [len(row) for row in rows] == [len(row) for row in plain_rows], name
        cells = [cell for row in rows for cell in row]
        assert not [cell for cell in cells if cell.startswith(FORMULA) and not NUMBER.fullmatch(cell)], name
    assert "script" in pages["samples"]
    assert len(json.loads(pages["json"])["cases"]) == 1
    suites = [list(ElementTree.fromstring(each["junit"]).iter()) for each in (pages, others)]
    assert [each.tag for each in suites[0]] == [each.tag for each in suites[1]]
    commands = [re.findall(r"(?m)^::[a-z]+ ", each.pop("github-annotations")) for each in (pages, others)]
    assert commands[0] == commands[1] != []
    for name, text in pages.items():
        assert name == "terminal" or "\x1b" not in text, name
        assert not any(line.startswith(("::", "##[")) for line in text.splitlines()), name


def check_html(page: str, harmless: str, policies: int = 1) -> None:
    found, wanted = Elements(page), Elements(harmless)
    for tag in (found.found.keys() | wanted.found.keys()) - CHARTS:
        assert found.found[tag] == wanted.found[tag], tag
    assert found.found.keys() <= wanted.found.keys() | CHARTS
    assert len(found.policies) == policies
    for policy in found.policies:
        assert policy is not None
        assert "default-src 'none'" in policy
        assert "script-src" not in policy, "there is no script"


STEERING = re.compile(r"\x1b\[[0-9;]*m")
"""Colours, which are ours."""
UNSHOWN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
