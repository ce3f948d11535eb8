"""X16: a run folder may come from a stranger. Nothing in it is run, and nothing in it fills the memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import ResultFormatError
from bench.store import open_run, rows
from bench.store.frames import Kind, pack
from tests.store.samples import make_case, make_sample, make_scenario, start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run."""
    case = make_case()
    with start(tmp_path, make_scenario(case)) as writer:
        writer.reserve(0, case.id)
        for seq in range(30):
            writer.append(make_sample(seq))
        writer.finish("complete")
    return writer.folder


def read_elsewhere(folder: Path) -> tuple[str, int]:
    """What reading a folder says, and the most memory it took in MiB: by a process that may come to harm."""
    code = (
        "import sys, resource, pathlib\n"
        "from bench.store import open_run\n"
        "from bench.errors import BenchError\n"
        "try: open_run(pathlib.Path(sys.argv[1])).table()\n"
        "except BenchError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *said, peak = done.stdout.splitlines()
    return "\n".join(said), int(peak)


def in_manifest(folder: Path, **values: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def with_column(folder: Path, name: str, values: pa.Array, count: int, **options: object) -> None:
    """The run's table `count` rows long, all alike but for one column."""
    first = rows.batch_of([make_sample(0)])
    columns = {each: first.column(each).take(pa.array([0] * count)) for each in rows.COLUMNS}
    columns[name] = values
    table = pa.table(columns, schema=rows.SCHEMA)
    pq.write_table(table, folder / "samples.parquet", compression="zstd", **options)
    in_manifest(folder, rows=count)


def long_text_very_often(folder: Path) -> None:
    """Some kilobytes that are 64 GiB of notes."""
    file = folder / "samples.parquet"
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 65536, pa.int32()), ["a" * (1 << 20)])
    first = rows.batch_of([make_sample(0)])
    columns = {each: first.column(each).take(pa.array([0] * 65536)) for each in rows.COLUMNS}
    fields = [each.with_type(text.type) if each.name == "notes" else each for each in rows.SCHEMA]
    table = pa.table({**columns, "notes": text}, schema=pa.schema(fields))
    pq.write_table(table, file, compression="zstd", use_dictionary=True, store_schema=False)
    in_manifest(folder, rows=65536)


def many_rows_in_one_group(folder: Path) -> None:
    with_column(folder, "seq", pa.array([1] * 300_000), 300_000, row_group_size=300_000)


def packed_rows(folder: Path) -> None:
    """A frame that is compressed, which ours never are: 64 MiB of them would be terabytes."""
    batch = rows.batch_of([make_sample(seq) for seq in range(100)])
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, rows.SCHEMA, options=options) as stream:
        stream.write_batch(batch)
    reader = pa.ipc.MessageReader.open_stream(sink.getvalue())
    reader.read_next_message()
    payload = reader.read_next_message().serialize().to_pybytes()
    in_manifest(folder, rows=None)
    (folder / "samples.log").write_bytes(pack(Kind.ROWS, 0, payload))


def many_reserved(folder: Path) -> None:
    in_manifest(folder, rows=None)
    reserved = json.dumps({"case": "x", "first": 0, "count": 10**12, "step": 1}).encode()
    (folder / "samples.log").write_bytes(pack(Kind.RESERVED, 0, reserved))


def a_type_of_its_own(folder: Path) -> None:
    """What made pyarrow run code before 14.0.1 (CVE-2023-47248)."""
    metadata = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": b"cos\nsystem\n.",
    }
    schema = pa.schema([pa.field("case", pa.string(), metadata=metadata)])
    pq.write_table(pa.table({"case": ["x"]}, schema=schema), folder / "samples.parquet")


BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a long text, very often": (long_text_very_often, "more memory than any file of its size"),
    "many rows in one group": (many_rows_in_one_group, "row group is larger"),
    "compressed rows in the log": (packed_rows, "another layout"),
    "a thousand billion reserved": (many_reserved, "messages reserved at once"),
    "a type that asks for code": (a_type_of_its_own, "other columns"),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_what_would_fill_the_memory_or_run_code_is_refused(folder: Path, name: str) -> None:
    plant, message = BOMBS[name]
    plant(folder)
    before = read_elsewhere(folder / "nothing")[1]
    said, peak = read_elsewhere(folder)
    assert message in said
    assert len(said.splitlines()) == 1
    assert peak < before + 5 * 1024


def test_a_corpus_of_spoilt_files(folder: Path) -> None:
    """Each opens or is refused in one line; by a process of its own, as a crash is no Python exception."""
    code = "import sys; from tests.store.test_hostile_files import spoil; spoil(sys.argv[1])"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=root, capture_output=True, text=True, timeout=55,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    opened, refused = map(int, done.stdout.split())
    assert opened + refused == 300
    assert refused > 200


def spoil(name_of_folder: str) -> None:
    """Three hundred times bytes replaced, cut out, doubled or put in; prints how many opened, and how many
    were refused."""
    folder = Path(name_of_folder)
    rng = random.Random(16)
    whole = {name: (folder / name).read_bytes() for name in ("samples.parquet", "manifest.json")}
    opened = refused = 0
    for _ in range(300):
        name = rng.choice(["samples.parquet"] * 3 + ["manifest.json"])
        data = bytearray(whole[name])
        for _ in range(rng.choice((1, 1, 4))):
            at, end = sorted(rng.choices(range(len(data) + 1), k=2))
            end = min(end, at + 200)
            piece = bytes(data[at:end])
            data[at:end] = rng.choice((b"", piece * 2, rng.randbytes(end - at), b"\xff" * 8, bytes(end - at)))
        (folder / name).write_bytes(data)
        try:
            open_run(folder).table()
            opened += 1
        except ResultFormatError as error:
            refused += "\n" not in str(error)
        (folder / name).write_bytes(whole[name])
    print(opened, refused)
