"""`python -m tests.bench [--quick] [--cases ab...]`: ddstream beside bare loops, in one table."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from examples.digits.processes import Processes
from tests.bench import exactly
from tests.bench.ground import Ground, environment
from tests.bench.kafka_images import device_on_kafka, model_on_kafka
from tests.bench.loading import loading
from tests.bench.memory import memory
from tests.bench.messages import echo, request_reply
from tests.bench.rest_images import device_on_rest, model_on_rest, one_client
from tests.bench.result import Result, table
from tests.bench.training import detection, tables, training

CASES: dict[str, Callable[[Ground], Result]] = {
    "a": model_on_kafka,
    "b": device_on_kafka,
    "c": model_on_rest,
    "d": device_on_rest,
    "e": one_client,
    "f": echo,
    "g": request_reply,
    "h": training,
    "i": exactly.device,
    "j": exactly.echo,
    "k": memory,
    "l": loading,
    "m": tables,
    "n": detection,
}


def main() -> int:
    """Run the cases; 0 unless something was lost."""
    listed = "; ".join(f"{case}: {run.__doc__}" for case, run in CASES.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=listed)
    parser.add_argument("--quick", action="store_true", help="one short round, not three")
    parser.add_argument("--cases", default="".join(CASES), help="letters of the cases to run")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="ddstream-bench-") as folder,
        Processes(Path(folder), environment(Path(folder))) as processes,
    ):
        ground = Ground(Path(folder), processes, quick=options.quick)
        for case in options.cases:
            began = time.perf_counter()
            with console.status(f"case {case}: {CASES[case].__doc__}"):
                results.append(CASES[case](ground))
            console.print(f"case {case}: {time.perf_counter() - began:.0f} s")
    console.print(table(results))
    return 1 if any(result.lost for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
