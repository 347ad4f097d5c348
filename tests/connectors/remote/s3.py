"""An S3 service of our own on the loopback interface: moto's server, in a process beside."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

BUCKET = "claims"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; it has one bucket, and ends with the `with`."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(rb"http://127\.0\.0\.1:\d+", line):
                    break
            else:
                raise AssertionError("the server of S3 did not start")
            url = found[0].decode()
            urlopen(Request(f"{url}/{BUCKET}", method="PUT"), timeout=30).close()
            yield url
        finally:
            process.send_signal(signal.SIGKILL)


def s3_environment(url: str) -> dict[str, str]:
    """The standard variables that lead a client there."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
