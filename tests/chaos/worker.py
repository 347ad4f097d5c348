"""`ddstream` with the plugs of the chaos runs: `python -m tests.chaos.worker worker ...`.

It is the product's own worker, engine, lane and pipeline; only the model is a trivial one, since
a real network would take the better part of an hour for the records of one run.
"""

from __future__ import annotations

from ddstream.backends import BACKENDS
from ddstream.cli import main
from ddstream.connectors import CONNECTORS

if __name__ == "__main__":
    BACKENDS.add("rules", "tests.chaos.model:RulesBackend")
    CONNECTORS.add("record", "tests.chaos.model:RecordConnector")
    main()
