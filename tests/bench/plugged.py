"""`ddstream` with one more library: `python -m tests.bench.plugged worker ...` knows `device`."""

from __future__ import annotations

from ddstream.backends import BACKENDS
from ddstream.cli import main

if __name__ == "__main__":
    BACKENDS.add("device", "tests.bench.device:DeviceBackend")
    main()
