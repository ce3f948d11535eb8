"""What is installed elsewhere: the wheel, and the versions it is installed with."""

from __future__ import annotations

import configparser
import email.message
import email.parser
import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENT_FILES = ("base.txt", "dev.txt", "build.txt", "contract.txt", "peers.txt", "servers.txt")

# Below these a known bug or advisory makes results wrong or the tool unsafe; ours and what others pull in.
FLOORS = {
    "aiohttp": "3.14.1",
    "aiosmtpd": "1.4.6",
    "aiosmtplib": "5.1.3",
    "anyio": "4.14.2",
    "distributed": "2026.1.0",
    "h11": "0.16",
    "h2": "4.4.1",
    "httpcore2": "2.12.0",
    "httpx2": "2.12.0",
    "idna": "3.15",
    "jinja2": "3.1.6",
    "pyarrow": "26.0.0",
    "pyyaml": "5.4",
    "urllib3": "2.6.3",
}
UNWANTED = {"ray"}

# ------------------------------------------------------------------------------ wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The root of a wheel built from this tree with the pinned build backend."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("*.whl")
    assert path.name.startswith(f"sendbench-{PROJECT['version']}-py3-none-any")
    return zipfile.Path(path)


def names(wheel: zipfile.Path) -> set[str]:
    return set(wheel.root.namelist())


def info(wheel: zipfile.Path, name: str) -> str:
    """The text of a file of the wheel's `.dist-info`."""
    return (wheel / f"sendbench-{PROJECT['version']}.dist-info" / name).read_text(encoding="utf-8")


def metadata(wheel: zipfile.Path) -> email.message.Message:
    return email.parser.Parser().parsestr(info(wheel, "METADATA"))


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.Path) -> None:
    tree = {path.relative_to(ROOT) for path in (ROOT / "bench").rglob("*") if path.is_file()}
    wanted = {path.as_posix() for path in tree if "__pycache__" not in path.parts}
    assert wanted - names(wheel) == set()
    assert "bench/py.typed" in names(wheel)
    assert any(name.startswith("bench/report/templates/") for name in names(wheel))


def test_the_wheel_holds_the_scenarios(wheel: zipfile.Path) -> None:
    scenarios = {path.name: path.read_bytes() for path in (ROOT / "scenarios").glob("*.yaml")}
    assert "smoke.yaml" in scenarios
    shipped = {name for name in names(wheel) if name.startswith("bench/scenarios/")}
    assert {f"bench/scenarios/{name}" for name in scenarios} <= shipped
    for name, content in scenarios.items():
        assert (wheel / "bench" / "scenarios" / name).read_bytes() == content


def test_the_wheel_holds_nothing_else(wheel: zipfile.Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert tops == {"bench", f"sendbench-{PROJECT['version']}.dist-info"}
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in names(wheel))


def test_the_only_command_is_sendbench(wheel: zipfile.Path) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(info(wheel, "entry_points.txt"))
    assert sorted(entry_points.sections()) == ["console_scripts", "pytest11"]
    assert dict(entry_points["console_scripts"]) == {"sendbench": "bench.cli:main"}
    assert dict(entry_points["pytest11"]) == {"sendbench": "bench.pytest_plugin"}


def test_the_licence_travels_with_the_wheel(wheel: zipfile.Path) -> None:
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    assert metadata(wheel)["License-File"] == "LICENSE"
    assert info(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_metadata_is_what_an_index_needs(wheel: zipfile.Path) -> None:
    found = metadata(wheel)
    assert found["Name"] == "sendbench"
    assert found["Requires-Python"] == ">=3.11"
    assert found["Description-Content-Type"] == "text/markdown"
    wanted = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    required = [Requirement(line) for line in found.get_all("Requires-Dist", [])]
    assert {
        canonicalize_name(requirement.name)
        for requirement in required
        if requirement.marker is None or "extra" not in str(requirement.marker)
    } == wanted


# ----------------------------------------------------------------------- requirements


def entries(file: str) -> list[str]:
    """The requirements of a file, each with its continuation lines, without comments."""
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]


def pins(file: str) -> dict[str, set[Version]]:
    """The versions a file pins; a package may have one for each range of Python versions."""
    found: dict[str, set[Version]] = defaultdict(set)
    for entry in entries(file):
        requirement = Requirement(entry.partition("--hash")[0].strip())
        [specifier] = requirement.specifier
        assert specifier.operator == "=="
        found[canonicalize_name(requirement.name)].add(Version(specifier.version))
    return found


@pytest.mark.parametrize("file", REQUIREMENT_FILES)
def test_every_requirement_is_pinned_with_hashes(file: str) -> None:
    form = re.compile(r"[a-z0-9.\-\[\]]+==[0-9][^ ]*( +; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+\s*")
    assert entries(file)
    assert [entry for entry in entries(file) if form.fullmatch(entry) is None] == []


def test_every_file_of_requirements_is_looked_at() -> None:
    assert {path.name for path in (ROOT / "requirements").glob("*.txt")} == set(REQUIREMENT_FILES)


def small_wheel(folder: Path) -> str:
    """A wheel of an empty package in a folder; its SHA-256."""
    path, info = folder / "small-1.0-py3-none-any.whl", "small-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("small.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pinned(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Install one requirement as `make` does, from a folder."""
    file = folder / "requirements.txt"
    file.write_text(line)
    flags = re.search(r"^PINNED := \$\(INSTALL\) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert flags is not None
    target = ["--no-index", "--find-links", str(folder), "--target", str(folder / "out")]
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags[1].split(), *target, "-r", str(file)],
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_changed_hash_and_what_is_no_wheel_are_not_installed(tmp_path: Path) -> None:
    """X20: with the very options of the Makefile."""
    right = small_wheel(tmp_path)
    wrong = right.replace(right[0], "0" if right[0] != "0" else "1", 1)
    refused = pinned(f"small==1.0 --hash=sha256:{wrong}\n", tmp_path)
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert pinned("small==1.0\n", tmp_path).returncode != 0, "without a hash"
    assert not (tmp_path / "out").exists()
    done = pinned(f"small==1.0 --hash=sha256:{right}\n", tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "other-1.0.tar.gz").write_bytes(b"x")
    source = hashlib.sha256(b"x").hexdigest()
    refused = pinned(f"other==1.0 --hash=sha256:{source}\n", tmp_path)
    assert refused.returncode != 0
    assert "No matching distribution" in refused.stderr


def test_whatever_is_installed_is_a_wheel_of_a_known_hash() -> None:
    """Every line that installs anything, but for the one that installs this tree itself."""
    files = [ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "tests" / "peers" / "install.sh"]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    installing = [
        line for line in lines if re.search(r"pip install|\$\(INSTALL\)", line) and "needs uv" not in line
    ]
    ours = [line for line in installing if "INSTALL :=" in line or "--no-deps --no-build-isolation" in line]
    assert len(ours) == 2
    for line in set(installing) - set(ours):
        assert "--require-hashes --only-binary :all:" in line
    assert not [line for line in lines if re.search(r"\bnpm (install|i|add|exec)\b|\bnpx ", line)], (
        "but npm ci"
    )


@pytest.mark.parametrize("file", REQUIREMENT_FILES)
def test_no_requirement_file_names_a_place(file: str) -> None:
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    place = re.compile(r"[a-z+]+://|file:|git\+|--?[a-z-]*index|--find-links|^-[a-z]|^--[a-z]| @ ", re.M)
    assert [match[0] for match in place.finditer(text)] == []


@pytest.mark.parametrize("file", REQUIREMENT_FILES)
def test_no_pin_is_below_a_floor(file: str) -> None:
    found = pins(file)
    low = [
        f"{name} {version} < {floor}"
        for name, floor in FLOORS.items()
        for version in found.get(name, ())
        if version < Version(floor)
    ]
    assert low == []
    assert found.keys() & UNWANTED == set()


def test_the_floors_are_seen_to_apply() -> None:
    assert {"aiosmtplib", "anyio", "h11", "idna", "jinja2", "pyarrow"} <= pins("base.txt").keys()


@pytest.mark.parametrize(
    ("file", "requirements"),
    [
        ("base.txt", PROJECT["dependencies"]),
        ("dev.txt", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
        ("build.txt", tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]),
    ],
    ids=["base.txt", "dev.txt", "build.txt"],
)
def test_the_pins_are_what_the_project_asks_for(file: str, requirements: list[str]) -> None:
    found = pins(file)
    for requirement in map(Requirement, requirements):
        versions = found.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} is not in {file}"
        assert all(requirement.specifier.contains(version) for version in versions)


def test_the_project_itself_asks_for_no_less_than_the_floors() -> None:
    for requirement in map(Requirement, PROJECT["dependencies"]):
        floor = FLOORS.get(canonicalize_name(requirement.name))
        lower = [Version(item.version) for item in requirement.specifier if item.operator == ">="]
        assert len(lower) == 1, f"{requirement.name} has no lower bound"
        assert floor is None or lower[0] >= Version(floor)


@pytest.mark.parametrize("file", ["base.txt", "build.txt"])
def test_developers_use_the_versions_that_users_get(file: str) -> None:
    developers, users = pins("dev.txt"), pins(file)
    shared = developers.keys() & users.keys()
    assert {name: developers[name] for name in shared} == {name: users[name] for name in shared}
