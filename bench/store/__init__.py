"""The run folder: the only place where a run's results are written and read.

`create_run` makes one and gives the `RunWriter` that fills it, `open_run` reads one back. pyarrow is
loaded by these two, not by importing this package.
"""

from bench.store.reader import StoredRun, open_run
from bench.store.run import RunWriter, create_run
from bench.store.share import RESERVATION, ShareWriter

__all__ = ["RESERVATION", "RunWriter", "ShareWriter", "StoredRun", "create_run", "open_run"]
