"""X13 and X14: text is text whatever it looks like, and no path in a scenario leads out of its folder."""

from __future__ import annotations

import ast
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.errors import ScenarioError, UsageError
from bench.providers import composer_for
from bench.scenario import load_scenario

PACKAGE = Path(__file__).parents[2] / "bench"
BASE = "version: 1\nname: {name}\nload: {{model: closed, concurrency: 1, messages: 1}}\n"


def scenario(folder: Path, lines: str, name: str = "x") -> Path:
    path = folder / "scenario.yaml"
    path.write_text(BASE.format(name=json.dumps(name)) + lines, encoding="utf-8")
    return path


# ----------------------------------------------------------------- X13: what looks like a template

INJECTIONS = (
    "{{ 7*7 }}", "{% import os %}{{ os.system('id') }}", "{self.__class__.__mro__}",
    "{0.__init__.__globals__}", "{message.sender.__class__}", "%(password)s", "%s%n%x", "$HOME",
    "$(id)", "`id`", "{HOME}x", "#{7*7}", "<%= 7*7 %>", "__import__('os').system('id')",
    "!!python/object/apply:os.system [id]", "{!r}", "{:>9999999}", "\\u0024{env:HOME}", "$ {env:HOME}",
    "{env:HOME}", "file:///etc/passwd", "|id", ";id", "&& id",
)  # fmt: skip
REFERENCES = (
    "${7*7}", "${env:}", "${file:}", "${ENV:HOME}", "${env}", "${os.system}", "${name}", "${}",
    "${cmd:id}", "${env HOME}", "${password}",
)  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_what_looks_like_a_template_travels_as_it_is(tmp_path: Path, text: str) -> None:
    shown = json.dumps(text)
    lines = f"message: {{subject: {shown}, text: {shown}, headers: {{X-Odd: {shown}}}}}\n"
    lines += f"description: {shown}\ntags: {{odd: {shown}}}\n"
    found = load_scenario(scenario(tmp_path, lines), environ={"HOME": "/home/canary"})
    assert (found.description, found.tags["odd"]) == (text, text)
    (case,) = found.cases
    payload = composer_for(case, "run", seed=1, date=datetime(2026, 1, 1, tzinfo=UTC))[0].compose(0).payload
    assert payload.replace(b"\r\n ", b" ").count(text.encode()) == 3
    assert b"canary" not in payload


@pytest.mark.parametrize("text", REFERENCES)
def test_a_reference_of_no_known_kind_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ScenarioError, match="unknown reference"):
        load_scenario(scenario(tmp_path, f"description: {json.dumps(text)}\n"), environ={"HOME": "/h"})


def test_what_a_variable_holds_is_not_looked_at_again(tmp_path: Path) -> None:
    environ = {"A": "${env:B} ${file:/etc/passwd} {{7*7}}", "B": "canary"}
    found = load_scenario(scenario(tmp_path, 'description: "${env:A}"\n'), environ=environ)
    assert found.description == environ["A"]


FORMATS = {"report/figures.py", "report/html.py"}
"""Where `str.format` fills sentences of our own."""


@pytest.mark.parametrize(
    "text", ["{from.__class__}", "{0}", "{secret}", "{key!r}", "{env}", "{ key }", "{{key}}"]
)
def test_a_template_of_a_call_has_a_fixed_set_of_placeholders(tmp_path: Path, text: str) -> None:
    body = json.dumps('{"to": {to}, "x": "' + text + '"}')
    lines = f"target: http://127.0.0.1:1/x\nprovider: generic\ntransport: api\ntemplate: {{body: {body}}}\n"
    (case,) = load_scenario(scenario(tmp_path, lines), environ={}).cases
    try:
        composer = composer_for(case, "run", seed=1, date=datetime(2026, 1, 1, tzinfo=UTC))[0]
    except (UsageError, ValueError) as refused:
        assert "template" in str(refused)  # noqa: PT017 (or it is no placeholder, and stays as it is)
        return
    assert json.loads(composer.compose(0).payload)["x"] == text


def test_nothing_evaluates_text_or_loads_objects() -> None:
    """No eval, exec, compile, Template, pickle and the like; templates are the report's own files alone."""
    calls = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "dill", "joblib", "torch", "code", "codeop"}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=called)):
                    assert called not in calls, name
                case ast.Call(func=ast.Attribute(attr="format" | "format_map")):
                    assert name in FORMATS
                case ast.Import(names=names):
                    found = {each.name.partition(".")[0] for each in names}
                    assert not found & modules, name
                    assert "jinja2" not in found or name == "report/html.py"
                case ast.ImportFrom(module=module, names=names):
                    assert str(module).partition(".")[0] not in modules | {"jinja2"}, name
                    assert module != "string" or "Template" not in {each.name for each in names}, name
                case ast.keyword(arg="allow_pickle"):
                    raise AssertionError(name)


# ------------------------------------------------------------------------- X14: paths and names

KEYS = {
    "message.file": "message: {{file: {path}}}",
    "message.recipients": "message: {{recipients: {path}}}",
    "message.attachments": "message: {{attachments: [{{file: {path}}}]}}",
    "tls.ca": "tls: {{ca: {path}}}",
    "faults": "faults: {path}",
    "a reference in text": "description: {reference}",
    "the matrix": "matrix: {{message.file: [{path}]}}",
}
PATHS = (
    "../outside/{file}", "inside/../../outside/{file}", "{root}/outside/{file}", "link/{file}",
    "link-to-{file}", "./../outside/{file}", "inside/../link/{file}", "//{root}/outside/{file}",
    "../home/../outside/{file}",
)  # fmt: skip
FILES = {
    "message.recipients": ("people.txt", "ann@example.org\n"),
    "tls.ca": ("ca.pem", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
    "faults": (
        "fault.yaml",
        "name: x\nproto: smtp\nscript: [{at: dot, do: rst}]\nexpect: {outcome: failed}\n",
    ),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", KEYS)
def test_no_path_leads_out_of_the_scenarios_folder(tmp_path: Path, key: str, path: str) -> None:
    """What lies there would do, so that nothing else refuses it."""
    name, content = FILES.get(key, ("mail.eml", "Subject: canary\n\nx\n"))
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "inside").mkdir(parents=True)
    outside.mkdir()
    (outside / name).write_text(content)
    (home / "link").symlink_to(outside)
    (home / f"link-to-{name}").symlink_to(outside / name)
    shown = path.format(file=name, root=tmp_path)
    lines = KEYS[key].format(path=json.dumps(shown), reference=json.dumps(f"${{file:{shown}}}"))
    with pytest.raises(ScenarioError, match="leads out of") as refused:
        load_scenario(scenario(home, lines + "\n"), environ={})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "/proc/self/environ", "fifo", "a\0b", ".", ""])
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ScenarioError):
        load_scenario(scenario(tmp_path, f"message: {{file: {json.dumps(path)}}}\n"), environ={})


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/x",
        "x/y",
        "..",
        ".",
        "",
        "-x",
        "_x",
        "X",
        "x y",
        "x\ny",
        "x\0",
        "é",
        "x" * 65,
        "$x",
        "x;id",
        "~",
    ],
)
def test_a_name_that_becomes_part_of_a_folder_is_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScenarioError):
        load_scenario(scenario(tmp_path, "", name=name), environ={})
