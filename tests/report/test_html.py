"""The page holds what it should, and nothing of what others put into it becomes part of it."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser

import pytest

from bench.model import Answer
from bench.report import html
from tests.report.hostile import PAYLOADS, hostile_run
from tests.report.planted import EDGES, Planted, edge
from tests.report.rendered import rendered

ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "p", "div",
    "table", "thead", "tbody", "tr", "th", "td", "span", "b", "strong", "small", "code", "figure", "ul", "li",
    "dl", "dt", "dd",
    "svg", "g", "path", "defs", "use", "text", "image", "clippath", "rect", "tspan",
}  # fmt: skip


class Dom(HTMLParser):
    """Elements with their attributes, and the text, of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.declared: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.declared.append(data)

    def handle_pi(self, data: str) -> None:
        self.declared.append(data)

    def unknown_decl(self, data: str) -> None:
        self.declared.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def outside_charts(self) -> Counter[str]:
        return Counter(tag for tag, _ in self.elements if tag in ALLOWED - {"g", "path", "use", "text"})


def page(run: Planted) -> bytes:
    return html.render(run.summary, run.answer, run.frame)


def assert_inert(dom: Dom) -> None:
    assert {tag for tag, _ in dom.elements} <= ALLOWED
    assert not dom.declared
    for tag, attributes in dom.elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")
        ]
        for name in ("href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith("#") or (tag == "image" and target.startswith("data:image/png;base64,"))


@pytest.mark.parametrize("shape", EDGES)
def test_the_page_loads_and_runs_nothing(shape: str) -> None:
    data = rendered(shape, "html")
    dom = Dom(data)
    assert_inert(dom)
    policy = [attributes.get("content") for tag, attributes in dom.elements if tag == "meta"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    outside = re.sub(rb"xmlns(:xlink)?=\"[^\"]*\"", b"", data)
    assert b"://" not in outside
    assert b"@import" not in outside
    assert len(data) < 1_500_000


@cache
def harmless_elements() -> Counter[str]:
    return Dom(page(hostile_run("harmless"))).outside_charts()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_adds_no_element(payload: str) -> None:
    dom = Dom(page(hostile_run(payload)))
    assert_inert(dom)
    assert dom.outside_charts() - Counter({"code": 2}) <= harmless_elements()
    assert dom.outside_charts() >= harmless_elements()


def test_a_payload_is_shown_as_text() -> None:
    dom = Dom(page(hostile_run("<script>alert(1)</script>\x1b[31m")))
    assert "<script>alert(1)</script>\\x1b[31m" in dom.text


def test_names_in_a_sentence_become_code() -> None:
    run = edge("one")
    answer = Answer(("In x, `data` takes <b>`most`</b>.", "One ` alone."), ())
    dom = Dom(html.render(run.summary, answer, run.frame))
    assert [tag for tag, _ in dom.elements].count("code") == 2 + len(run.summary.cases[0].thresholds)
    assert "In x, data takes <b> most </b>." in dom.text
    assert "One ` alone." in dom.text


def test_ids_are_unique() -> None:
    ids = Counter(attributes.get("id") for _, attributes in Dom(rendered("sixteen", "html")).elements)
    del ids[None]
    assert max(ids.values()) == 1


def test_references_within_charts_resolve() -> None:
    data = rendered("four", "html").decode()
    ids = set(re.findall(r'\bid="([^"]+)"', data))
    assert set(re.findall(r"url\(#([^)]+)\)", data)) <= ids
    assert set(re.findall(r'href="#([^"]+)"', data)) <= ids


def test_what_a_reader_finds() -> None:
    run = edge("four")
    text = Dom(page(run)).text
    assert text.index(run.answer.sentences[0]) < text.index("Service time per message")
    for title in (
        "Claims in circulation, and this run",
        "Where the time goes",
        "Every percentile",
        "Over time",
        "What round trips explain",
        "Thresholds",
        "What became of every message",
        "The generator about itself",
        "What these numbers do not mean",
        "How it was measured",
    ):
        assert title in text
    assert "Accepted is not delivered" in text
    assert "does not hold" in text
    assert "timerfd" in text


def test_fits_and_knees_are_drawn_where_there_are_any() -> None:
    assert "Service time over distance" in Dom(rendered("sixteen", "html")).text
    assert "Where more load stops helping" in Dom(rendered("rising", "html")).text
    assert "Service time over distance" not in Dom(rendered("four", "html")).text


def test_what_is_wrong_comes_before_the_figures() -> None:
    text = Dom(rendered("some-failed", "html")).text
    assert text.index("INVALID") < text.index("Service time per message")
    assert re.search(r"ERRORS sendgrid/smtp/unpooled: \d+ of 400 not accepted", text)


def test_a_run_without_cases_says_so() -> None:
    text = Dom(rendered("no-cases", "html")).text
    assert "No case was measured." in text
    assert "Run aborted." in text


def test_what_has_nothing_to_show_is_left_out() -> None:
    text = Dom(rendered("all-failed", "html")).text
    assert "Over time" in text
    for title in ("Where the time goes", "Every percentile", "What round trips explain"):
        assert title not in text


def test_many_points_become_pixels() -> None:
    many = Dom(rendered("many", "html"))
    assert [tag for tag, _ in many.elements].count("image") >= 1
    assert "image" not in {tag for tag, _ in Dom(rendered("four", "html")).elements}


def test_a_missing_percentile_says_what_it_needs() -> None:
    assert "p99 needs n >= 368" in Dom(rendered("few", "html")).text
