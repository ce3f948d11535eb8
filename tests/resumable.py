"""Long tiers in parts: what is done is kept in a file, so that a run that was cut off can be gone on with."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

Found = dict[str, object]


def carry_out(
    parts: Mapping[str, Callable[[], Found]], file: Path, names: Sequence[str], *, fresh: bool = False
) -> dict[str, Found]:
    """Do the parts that are named, or those that are not done yet; what each found, how long it took and when
    (`took_s`, `at`), earlier times included."""
    state: dict[str, Found] = {}
    if file.exists() and not fresh:
        state = json.loads(file.read_text(encoding="utf-8"))
    for name in names or [name for name in parts if name not in state]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        begun = time.monotonic()
        found = parts[name]()
        took_s, at = round(time.monotonic() - begun), datetime.now(UTC).isoformat()[:16]
        state[name] = {**found, "took_s": took_s, "at": at}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(state, indent=1), encoding="utf-8")
    return state
