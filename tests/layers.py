"""Reads the imports of `bench/` and holds them to the layers of the design.

Imports point one way only, from a higher tier to a lower one; inside one tier only the pairs of
`SIDEWAYS` are allowed. Some libraries have one home. Imports inside functions and under
`TYPE_CHECKING` count like all others: they are dependencies too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = "bench"

TIERS = (
    ("__main__",),
    ("cli", "pytest_plugin"),
    ("python",),
    ("baselines", "gating", "planning"),
    ("api", "display"),
    ("ask", "worker"),
    ("engine", "report", "mock", "servers", "store", "cluster"),
    ("transports", "providers", "analysis"),
    ("scenario", "pacing", "interleave", "stopping", "message", "protocol", "guard", "permit", "redact"),
    ("model", "errors", "clock", "units", "hiccup", "limits"),
    ("",),  # bench/__init__.py, which every import of a part runs
)
TIER = {part: number for number, parts in enumerate(TIERS) for part in parts}

SIDEWAYS = {
    ("engine", "store"),
    ("cluster", "engine"),
    ("cluster", "store"),
    ("transports", "providers"),
    ("", "python"),  # what `bench.run` and `bench.gate` are, imported when somebody asks for them
}

HOMES = {
    "httpx": ("transports/",),
    "httpx2": ("transports/",),
    "httpcore": ("transports/",),
    "httpcore2": ("transports/",),
    "aiosmtplib": ("transports/",),
    "matplotlib": ("report/charts.py",),
    "pandas": ("analysis/", "report/"),
    "pyarrow": ("store/",),
    "time": ("clock.py", "hiccup/sleeper.py"),
    "uvicorn": ("mock/",),
    "trustme": ("mock/",),
}


@dataclass(frozen=True, slots=True)
class Import:
    """One name that one line of one module imports."""

    path: Path
    line: int
    module: str


def violations(package: Path) -> list[str]:
    """One line for each import under `package` (the folder `bench`) that breaks a rule."""
    found = []
    for path in sorted(package.rglob("*.py")):
        source = part_of(_dotted(path, package))
        if source not in TIER:
            found.append(f"{path.relative_to(package.parent)}: {source} has no tier in the layer map")
            continue
        for item in imports_of(path, package):
            complaint = _complaint(item, source, package)
            if complaint is not None:
                found.append(f"{path.relative_to(package.parent)}:{item.line}: {complaint}")
    return found


def part_of(module: str) -> str:
    """`bench.mock.smtp` -> `mock`; `bench` -> the empty part, its `__init__`."""
    return [*module.split("."), ""][1]


def imports_of(path: Path, package: Path) -> Iterator[Import]:
    """Every import in a file, wherever it stands, with relative names resolved."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        for module in _modules(node, path, package):
            yield Import(path, getattr(node, "lineno", 0), module)


def _modules(node: ast.AST, path: Path, package: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _base(node, path, package)
        return [_imported(base, alias.name, package) for alias in node.names]
    if isinstance(node, ast.Call) and _is_import_call(node.func) and node.args:
        name = node.args[0]
        known = isinstance(name, ast.Constant) and isinstance(name.value, str)
        return [str(name.value) if known and isinstance(name, ast.Constant) else "?"]
    return []


def _base(node: ast.ImportFrom, path: Path, package: Path) -> str:
    if node.level == 0:
        return node.module or ""
    here = _dotted(path, package).split(".")
    folder = here if path.name == "__init__.py" else here[:-1]
    parents = folder[: len(folder) - (node.level - 1)]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _imported(base: str, name: str, package: Path) -> str:
    """`from bench import engine` imports the module; `from bench import __version__` only the package."""
    if base != ROOT:
        return base
    is_module = (package / f"{name}.py").exists() or (package / name).is_dir()
    return f"{base}.{name}" if is_module else base


def _dotted(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def _complaint(item: Import, source: str, package: Path) -> str | None:
    if item.module == "?":
        return "imports a module whose name cannot be read from the code"
    top = item.module.split(".")[0]
    if top == ROOT:
        return _layer_complaint(source, part_of(item.module))
    homes = HOMES.get(top)
    place = item.path.relative_to(package).as_posix()
    if homes is not None and not place.startswith(homes):
        return f"{top} may only be imported in {' and '.join(homes)}"
    return None


def _layer_complaint(source: str, target: str) -> str | None:
    if target not in TIER:
        return f"imports {target}, which has no tier in the layer map"
    if source == target or TIER[source] < TIER[target] or (source, target) in SIDEWAYS:
        return None
    direction = "inside one tier" if TIER[source] == TIER[target] else "upwards"
    return f"{source or 'bench'} imports {target} {direction}"
