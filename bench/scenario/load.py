"""A scenario file -> Scenario: one pass of small steps, each adding to what is known to be wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from bench.errors import ScenarioError
from bench.model import Case, Scenario, TargetKind, Threshold
from bench.scenario import form, matrix
from bench.scenario.convert import Converter, gate_of
from bench.scenario.gates import divided, usual_processes, why_not_divided
from bench.scenario.mail import Check, note_unsendable
from bench.scenario.matrix import Point
from bench.scenario.overlay import apply_override, choose_profile, merge, parse_override
from bench.scenario.paths import Files
from bench.scenario.problems import Problems, suggest
from bench.scenario.references import Resolver, refuse_literals
from bench.scenario.thresholds import parse_threshold
from bench.scenario.tree import MAX_BYTES, Node, compose, decode
from bench.scenario.wording import note_errors

_LONG_FORM = ("check", "abort")
_OPEN_ONLY = ("latency", "lag")


def load_file(
    path: Path,
    overrides: Sequence[str],
    profile: str | None,
    environ: Mapping[str, str] | None,
    check: Check | None = None,
) -> Scenario:
    """Read, check and expand a scenario file. Raises ScenarioError, RefusedError."""
    source = _read(path)
    loader = _Loader(str(path), path.parent, os.environ if environ is None else environ, check)
    return loader.load(source, overrides, profile)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from None


class _Loader:
    def __init__(self, file: str, directory: Path, environ: Mapping[str, str], check: Check | None) -> None:
        self._file, self._environ, self._check = file, environ, check
        self._files = Files(directory)
        self._problems = Problems(file)

    def load(self, source: bytes, overrides: Sequence[str], profile: str | None) -> Scenario:
        written = self._compose(source)
        self._check_values(written)
        self._check_profiles(written, profile)
        base = choose_profile(written, profile, self._file) if profile is not None else written
        tree = base
        for text in overrides:
            key, value = parse_override(text)
            tree = apply_override(tree, key, value)
        self._check_values(tree)
        tree = tree.without("profiles")
        tree = Resolver(self._environ, self._files, self._problems).resolve(tree)
        points, forms = self._points(tree, base.entries.get("matrix"))
        thresholds = self._thresholds(tree)
        self._problems.raise_first()
        cases, points = self._cases(points, forms)
        self._check_where(thresholds, cases, points, tree, lenient=bool(overrides))
        gate = gate_of(
            forms[0].gate,
            given="gate" in forms[0].model_fields_set,
            processes=usual_processes(cases, thresholds),
        )
        self._check_compared(forms[0].compare, cases, points, tree)
        if gate is not None:
            cases = divided(cases, gate)
            for key, text in why_not_divided(gate, cases, thresholds):
                self._problems.add(tree.nearest(f"gate.{key}"), text)
        self._problems.raise_first()
        self._check_messages(cases, points)
        self._problems.raise_first()
        first = forms[0]
        return Scenario(
            name=first.name,
            description=first.description,
            tags={key: node.text for key, node in tree.nearest("tags").entries.items()} if first.tags else {},
            file=self._file,
            source=source,
            cases=cases,
            thresholds=thresholds,
            compare=first.compare,
            gate=gate,
        )

    def _compose(self, source: bytes) -> Node:
        tree = compose(decode(source, self._file), self._file)
        if tree.value is None:
            raise ScenarioError("the file is empty", file=self._file, line=1, column=1)
        if not isinstance(tree.value, dict):
            what = "must be a mapping of keys to values, beginning with version: 1"
            raise ScenarioError(f"a scenario {what}", file=self._file, line=tree.line, column=tree.column)
        return tree

    def _check_values(self, tree: Node) -> None:
        """Refuse what no key may have: a literal secret, nothing at all."""
        refuse_literals(tree, self._problems)
        for node in tree.walk():
            if node.value is None:
                self._problems.add(node, "has no value; give it one or remove the line")

    def _points(self, tree: Node, declared: Node | None) -> tuple[list[Point], list[form.CaseForm]]:
        """The points of the matrix and their validated forms; fewer forms where some are wrong."""
        found = Problems(self._file)
        points = matrix.expand(tree.without("thresholds"), found, declared=declared)
        if not points:  # show what is wrong elsewhere, too
            self._validate(tree.without("thresholds", "matrix"), partial=True)
        self._problems.update(found)
        forms = [self._validate(point.tree) for point in points]
        return points, [values for values in forms if values is not None]

    def _validate(self, tree: Node, *, partial: bool = False) -> form.CaseForm | None:
        try:
            return form.CaseForm.model_validate(tree.plain())
        except ValidationError as error:
            note_errors(error, tree, self._problems, without_missing=partial)
            return None

    def _check_profiles(self, written: Node, chosen: str | None) -> None:
        """Check the profiles that were not chosen, too, as far as the environment lets us."""
        profiles = written.entries.get("profiles")
        if profiles is None:
            return
        if not isinstance(profiles.value, dict):
            self._problems.add(profiles, "must be a mapping from names to scenario keys")
            return
        for name, node in profiles.entries.items():
            if not isinstance(node.value, dict):
                self._problems.add(node, "must be a mapping of scenario keys")
                continue
            for key in ("version", "name", "profiles"):
                if key in node.entries:
                    self._problems.add(node.entries[key], "cannot differ in a profile", at_key=True)
            if name != chosen and not self._problems:
                self._check_profile(written, node)

    def _check_profile(self, written: Node, profile: Node) -> None:
        unseen = Problems(self._file)
        resolver = Resolver(self._environ, self._files, unseen)
        merged = merge(written.without("profiles"), profile)
        tree = resolver.resolve(merged)
        if resolver.missing:
            return
        self._points(tree, merged.entries.get("matrix"))
        self._thresholds(tree)

    def _thresholds(self, tree: Node) -> tuple[Threshold, ...]:
        node = tree.entries.get("thresholds")
        if node is None:
            return ()
        if not isinstance(node.value, list):
            self._problems.add(node, 'must be a list of lines such as "p95(service) < 800ms"')
            return ()
        parsed = []
        for each in node.items:
            line, abort = self._parts(each)
            try:
                if not isinstance(line.value, str):
                    raise ValueError('must be a line such as "p95(service) < 800ms"')
                parsed.append(parse_threshold(line.value, line.line, abort=abort))
            except ValueError as error:
                self._problems.add(line, str(error))
        return tuple(parsed)

    def _parts(self, node: Node) -> tuple[Node, bool]:
        """The line of a threshold in either form, and whether it may end the run."""
        if not isinstance(node.value, dict) or "check" not in node.entries:
            return node, False
        for key, child in node.entries.items():
            if key not in _LONG_FORM:
                self._problems.add(child, f"unknown key{suggest(key, _LONG_FORM)}", at_key=True)
        abort = node.entries.get("abort")
        if abort is not None and not isinstance(abort.value, bool):
            self._problems.add(abort, "must be true or false")
        return node.entries["check"], abort is not None and abort.value is True

    def _cases(self, points: list[Point], forms: list[form.CaseForm]) -> tuple[tuple[Case, ...], list[Point]]:
        """The cases, each with its point; of points that differ in nothing that means anything, the first."""
        converter = Converter(self._files, self._problems)
        found: dict[str, tuple[Case, Point]] = {}
        for point, values in zip(points, forms, strict=True):
            case = converter.case(len(found), point, values)
            found.setdefault(case.id, (case, point))
        return tuple(case for case, _ in found.values()), [point for _, point in found.values()]

    def _check_compared(
        self, keys: Sequence[str], cases: tuple[Case, ...], points: list[Point], tree: Node
    ) -> None:
        """Each key must vary, and what runs interleaved must share one load and one process."""
        node = tree.nearest("compare")
        if len({case.target.kind is TargetKind.SANDBOX for case in cases}) > 1:
            at = tree.get("matrix.target") or tree.nearest("matrix")
            self._problems.add(at, "a sandbox is no real server: what it takes is not compared with others")
        varying = set(points[0].varying)
        for key in keys:
            if key not in varying:
                self._problems.add(node, f"{key} does not vary in the matrix{suggest(key, varying)}")
                return
        groups: dict[str, list[Case]] = {}
        for case in cases:
            groups.setdefault(case.comparison, []).append(case)
        self._check_gate(keys, groups, tree)
        for first, *others in groups.values() if keys else ():
            if not others:
                text = f"there is nothing to compare {first.id} with; name other keys, or exclude it"
                self._problems.add(node, text)
            elif any(case.load != first.load for case in others):
                self._problems.add(node, f"{first.id} and what it is compared with differ in their load")
            elif any(case.workers > 1 for case in (first, *others)):
                self._problems.add(node, "cases that are compared run in one process; remove workers")

    def _check_gate(self, keys: Sequence[str], groups: Mapping[str, list[Case]], tree: Node) -> None:
        """A verdict is on the second of two variants."""
        gate = tree.entries.get("gate")
        if gate is None:
            return
        if not keys:
            self._problems.add(gate, "judges what is compared; add compare: with a key of the matrix")
        for name, cases in groups.items():
            if keys and len(cases) != 2:
                text = f"judges the second of two variants, and {name} has {len(cases)}"
                self._problems.add(gate, text)
                return

    def _check_messages(self, cases: tuple[Case, ...], points: list[Point]) -> None:
        """Have each message built once for each way it travels; cases of a matrix share theirs."""
        if self._check is None:
            return
        seen = set()
        for case, point in zip(cases, points, strict=True):
            way = (case.message, case.transport, case.provider, case.batch, case.region, case.template)
            if way not in seen:
                seen.add(way)
                note_unsendable(case, point.tree, self._check, self._problems)

    def _check_where(
        self,
        thresholds: tuple[Threshold, ...],
        cases: tuple[Case, ...],
        points: list[Point],
        tree: Node,
        *,
        lenient: bool,
    ) -> None:
        keys = {key for case in cases for key in case.labels} | {key for p in points for key in p.varying}
        for threshold, node in zip(thresholds, tree.nearest("thresholds").items, strict=False):
            chosen = list(cases)
            for key, text in threshold.where:
                if key not in keys:
                    self._problems.add(node, f"no case has the label {key!r}{suggest(key, keys)}")
                    break
                values = {case.labels[key] for case in cases if key in case.labels}
                if text not in values and not lenient:
                    known = ", ".join(sorted(values))
                    self._problems.add(
                        node, f"no case has {key}={text}; there are {known}{suggest(text, values)}"
                    )
                    break
                chosen = [case for case in chosen if case.labels.get(key) == text]
            else:
                self._check_subject(threshold, chosen, node, lenient)
                if threshold.abort:
                    self._check_abort(chosen, node)

    def _check_subject(self, threshold: Threshold, chosen: list[Case], node: Node, lenient: bool) -> None:
        if not chosen and not lenient:
            self._problems.add(node, "matches no case")
        if threshold.subject in _OPEN_ONLY and chosen and not any(case.load.open for case in chosen):
            text = f"a closed load has no schedule and so no {threshold.subject}; use service"
            self._problems.add(node, text)

    def _check_abort(self, chosen: list[Case], node: Node) -> None:
        """To know that a threshold cannot pass takes the number of messages, and one who counts them."""
        text = ""
        if any(case.load.messages is None for case in chosen):
            text = "abort needs a number of messages; give load.messages in place of load.duration"
        elif any(case.workers > 1 for case in chosen):
            text = "abort counts in one process; remove workers"
        elif any(case.retry is not None for case in chosen):
            text = "abort and retry exclude each other: what is sent again is not lost yet"
        if text:
            self._problems.add(node.get("abort") or node, text)
