"""Whether a case's figures may be believed, by the mock's log and by the wire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.analysis.frame import Mask, Tabular, numbers, outcomes
from bench.analysis.quantiles import Floats
from bench.model import CaseRun, Outcome, Referee, WireConnection

_ANSWERED = (Outcome.ACCEPTED, Outcome.REJECTED_TEMP, Outcome.REJECTED_PERM)


def referee(rows: pd.DataFrame, takes: Tabular) -> Referee:
    """The client's record of a case, warm-up included, against what the mock took, by key."""
    taken = takes.to_pandas()["key"].astype("str")
    keys = pd.concat([taken, rows["key"].astype("str")], ignore_index=True)
    # Numbers in the place of keys: sets of millions of texts take a gigabyte.
    numbered, distinct = pd.factorize(keys, use_na_sentinel=False)
    times = np.bincount(numbered[: len(taken)], minlength=len(distinct))

    def ended(outcome: Outcome) -> Mask:
        found = numbered[len(taken) :][outcomes(rows, outcome)]
        return np.bincount(found, minlength=len(distinct)) > 0

    accepted, unknown = ended(Outcome.ACCEPTED), ended(Outcome.UNKNOWN)
    return Referee(
        taken=len(taken),
        false_accepted=int(np.count_nonzero(accepted & (times == 0))),
        unaccounted=int(np.count_nonzero((times > 0) & ~accepted & ~unknown)),
        duplicates=len(taken) - int(np.count_nonzero(times)),
    )


def disputes(jury: Referee) -> bool:
    """Whether client and mock disagree about any message."""
    return bool(jury.false_accepted or jury.unaccounted or jury.duplicates)


def check_round_trips(run: CaseRun, rows: pd.DataFrame, wires: Sequence[WireConnection]) -> tuple[int, int]:
    """(connections compared, of which disagree) between the client's round trips and the shaper's.

    The shaper's turn-arounds and one for the connect must equal the round trips of all rows of
    the connection, one for each RSET, and one for QUIT if it was answered. Which connection is
    which is told by the local port that its first row notes; a port that was used again is told
    apart by order. Connections on which a message stayed without an answer, or whose client does
    not count, are left out: who waited for what is then not known.
    """
    client = _client_connections(run, rows)
    wire = pd.DataFrame(
        {
            "port": [connection.client_port for connection in wires],
            "order": [connection.connection for connection in wires],
            "seen": [connection.turn_arounds + 1 for connection in wires],
        }
    ).sort_values("order")
    wire["nth"] = wire.groupby("port").cumcount()
    pairs = client.merge(wire, on=["port", "nth"])
    pairs = pairs[pairs["clean"]]
    return len(pairs), int(np.count_nonzero(pairs["counted"] != pairs["seen"]))


def _client_connections(run: CaseRun, rows: pd.DataFrame) -> pd.DataFrame:
    """One row a connection of known port: port, nth use of that port, turns counted, clean."""
    rows = rows[~(numbers(rows, "batch_index") > 0)]  # each row of a batch tells of its one call
    identity = numbers(rows, "connection_id")
    used = rows[~np.isnan(identity)]
    values, inverse = np.unique(identity[~np.isnan(identity)], return_inverse=True)
    ids = pd.Index(values)

    def total(values: Floats) -> pd.Series[float]:
        return pd.Series(np.bincount(inverse, weights=values, minlength=len(ids)), index=ids)

    trips = total(numbers(used, "round_trips"))  # NaN where any row of the connection has none
    quits = (total((~np.isnan(numbers(used, "quit_ns"))).astype(np.float64)) > 0) | ids.isin(run.quits)
    resets = total(_flagged(used, "rset").astype(np.float64))
    counted = trips + resets + quits
    unanswered = total((~outcomes(used, *_ANSWERED)).astype(np.float64))
    port = used["notes"].astype("string").str.extract(r'"local_port":\s*(\d+)', expand=False)
    first = pd.DataFrame(
        {"id": identity[~np.isnan(identity)], "start": numbers(used, "start_ns"), "port": port.to_numpy()}
    )
    first = first[first["port"].notna()].drop_duplicates("id").sort_values("start", kind="stable")
    connections = pd.DataFrame(
        {
            "port": first["port"].astype(np.int64).to_numpy(),
            "counted": counted.reindex(first["id"]).to_numpy(),
            "clean": ((unanswered.reindex(first["id"]) == 0) & trips.reindex(first["id"]).notna()).to_numpy(),
        }
    )
    connections["nth"] = connections.groupby("port").cumcount()
    return connections


def _flagged(rows: pd.DataFrame, note: str) -> Mask:
    """The rows whose notes say that this is true."""
    found = rows["notes"].astype("string").str.contains(rf'"{note}":\s*true')
    return np.asarray(found.fillna(False).to_numpy(), dtype=np.bool_)
