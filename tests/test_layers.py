"""The layers hold, and the checker that says so sees what it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layers import HOMES, TIER, TIERS, violations

PACKAGE = Path(__file__).parent.parent / "bench"


def test_the_layers_hold() -> None:
    assert violations(PACKAGE) == []


def plant(root: Path, file: str, code: str) -> list[str]:
    """The violations of a package with one module of every part and `code` in `file`."""
    package = root / "bench"
    for part in TIER:
        path = package / (f"{part}.py" if part else "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path = package / file
    if path.parent != package:
        package.joinpath(f"{path.parent.relative_to(package).parts[0]}.py").unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
    path.write_text(code, encoding="utf-8")
    return violations(package)


# Written out from the design, not computed from the table that is under test.
DOWNWARDS = [
    "__main__>cli",
    "cli>ask",
    "cli>model",
    "cli>api",
    "cli>display",
    "api>engine",
    "ask>engine",
    "ask>analysis",
    "engine>transports",
    "report>analysis",
    "mock>protocol",
    "mock>providers",
    "store>model",
    "cluster>transports",
    "transports>protocol",
    "transports>guard",
    "providers>message",
    "analysis>units",
    "scenario>units",
    "protocol>errors",
    "redact>model",
    "engine>store",
    "cluster>engine",
    "cluster>store",
    "transports>providers",
]
FORBIDDEN = [
    "cli>__main__",
    "api>cli",
    "api>display",
    "display>api",
    "ask>api",
    "ask>cli",
    "engine>ask",
    "store>engine",
    "engine>cluster",
    "store>cluster",
    "providers>transports",
    "engine>report",
    "report>engine",
    "engine>mock",
    "report>store",
    "store>report",
    "mock>store",
    "mock>report",
    "mock>engine",
    "transports>analysis",
    "analysis>transports",
    "analysis>providers",
    "providers>analysis",
    "providers>engine",
    "transports>store",
    "analysis>report",
    "scenario>message",
    "message>scenario",
    "pacing>scenario",
    "protocol>transports",
    "guard>redact",
    "redact>guard",
    "protocol>engine",
    "model>units",
    "errors>model",
    "clock>scenario",
    "units>cli",
    "model>store",
]


@pytest.mark.parametrize("pair", DOWNWARDS)
def test_allowed_pairs_pass(tmp_path: Path, pair: str) -> None:
    source, target = pair.split(">")
    assert plant(tmp_path, f"{source}.py", f"import bench.{target}") == []


@pytest.mark.parametrize("pair", FORBIDDEN)
def test_forbidden_pairs_are_found(tmp_path: Path, pair: str) -> None:
    source, target = pair.split(">")
    [found] = plant(tmp_path, f"{source}.py", f"import bench.{target}")
    assert f"{source} imports {target} " in found


@pytest.mark.parametrize(
    "code",
    [
        "import bench.engine",
        "import bench.engine as e",
        "import os, bench.engine",
        "from bench import engine",
        "from bench.engine import run",
        "from . import engine",
        "from .engine import run",
        "def late():\n    from bench.engine import run",
        "class A:\n    async def late(self):\n        import bench.engine",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bench.engine import run",
        "try:\n    import bench.engine\nexcept ImportError:\n    pass",
        "import importlib\nengine = importlib.import_module('bench.engine')",
        "from importlib import import_module\nengine = import_module('bench.engine')",
        "engine = __import__('bench.engine')",
    ],
)
def test_every_form_of_import_upwards_is_found(tmp_path: Path, code: str) -> None:
    [found] = plant(tmp_path, "model.py", code)
    assert found.startswith("bench/model.py:")
    assert found.endswith(": model imports engine upwards")


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("mock/smtp.py", "from ..engine import run"),
        ("mock/smtp.py", "from .. import engine"),
        ("mock/deep/smtp.py", "from ...engine import run"),
        ("mock/__init__.py", "from ..engine import run"),
    ],
)
def test_relative_imports_are_resolved(tmp_path: Path, file: str, code: str) -> None:
    [found] = plant(tmp_path, file, code)
    assert found == f"bench/{file}:1: mock imports engine inside one tier"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (
            "mock/smtp.py",
            "from .log import TakenLog\nfrom . import api\nfrom bench.mock.spec import MockSpec",
        ),
        ("mock/__init__.py", "from .smtp import serve\nfrom bench.mock import smtp"),
        ("model.py", "from bench import __version__\nimport bench\nimport os\nimport enginex"),
        ("engine.py", "from bench.store import create_run\nfrom bench.transports import Session"),
        ("cli.py", "def late():\n    from bench.report import FORMATS"),
        ("__main__.py", "from bench.cli import main"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, file: str, code: str) -> None:
    assert plant(tmp_path, file, code) == []


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("engine.py", "import httpx", "httpx may only"),
        ("providers/sendgrid.py", "from httpx import Client", "httpx may only"),
        ("mock/api.py", "import httpcore", "httpcore may only"),
        ("protocol/smtp.py", "import aiosmtplib.errors", "aiosmtplib may only"),
        ("report/html.py", "import matplotlib.pyplot as plt", "matplotlib may only"),
        ("analysis/charts.py", "import matplotlib", "matplotlib may only"),
        ("store/log.py", "import pandas as pd", "pandas may only"),
        ("analysis/summary.py", "import pyarrow", "pyarrow may only"),
        ("report/csv.py", "def late():\n    import pyarrow.parquet", "pyarrow may only"),
        ("engine.py", "import time", "time may only"),
        ("pacing.py", "from time import monotonic_ns", "time may only"),
        ("mock/clock.py", "import time as clock", "time may only"),
        ("transports/api.py", "import trustme", "trustme may only"),
        ("cli.py", "import uvicorn", "uvicorn may only"),
    ],
)
def test_a_library_outside_its_home_is_found(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    [found] = plant(tmp_path, file, code)
    assert complaint in found


@pytest.mark.parametrize(("library", "homes"), HOMES.items())
def test_a_library_at_home_passes(tmp_path: Path, library: str, homes: tuple[str, ...]) -> None:
    for number, home in enumerate(homes):
        file = home if home.endswith(".py") else f"{home}module.py"
        assert plant(tmp_path / str(number), file, f"import {library}") == []


def test_a_part_without_a_tier_is_found(tmp_path: Path) -> None:
    assert plant(tmp_path, "utils.py", "") == ["bench/utils.py: utils has no tier in the layer map"]
    assert plant(tmp_path / "again", "cli.py", "import bench.helpers") == [
        "bench/cli.py:1: imports helpers, which has no tier in the layer map"
    ]


def test_a_module_name_made_at_run_time_is_found(tmp_path: Path) -> None:
    [found] = plant(tmp_path, "cli.py", "import importlib\nm = importlib.import_module('bench.' + 'x')")
    assert "cannot be read from the code" in found


def test_the_package_itself_imports_no_part(tmp_path: Path) -> None:
    assert plant(tmp_path, "__init__.py", "from bench.model import Case") == [
        "bench/__init__.py:1: bench imports model upwards"
    ]


def test_no_part_has_two_tiers() -> None:
    assert len(TIER) == sum(len(parts) for parts in TIERS)
