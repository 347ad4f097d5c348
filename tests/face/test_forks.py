"""A face does not live in a process that was forked: it says so, and harms nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os
from contextlib import asynccontextmanager
from ddstream.face.face import Face

class Desk:
    async def info(self, *, status=False):
        from ddstream.api.envelope import Answer
        return Answer(200, {"pid": os.getpid()})

@asynccontextmanager
async def opening():
    yield Desk()

face = Face(opening)
assert face.info() == {"pid": os.getpid()}
child = os.fork()
if not child:
    try:
        face.info()
    except RuntimeError as error:
        face.close()
        print("child:", error, flush=True)
        os._exit(7)
    os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7
print("parent:", face.info() == {"pid": os.getpid()})
face.close()
"""


@pytest.mark.promise("python.inprocess")
def test_a_forked_process_is_told_to_make_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    child, parent = done.stdout.splitlines()
    assert child == "child: it was made before a fork: make another one in this process"
    assert parent == "parent: True"
