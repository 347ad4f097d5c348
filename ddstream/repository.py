"""A model's folder: weights, class names, checkpoints, requests, and what the connector learned."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ddstream.errors import ParameterError
from ddstream.fence import FENCE, Fence

CONFIG, REQUEST, METRICS = "config.json", "model.json", "metrics.json"
CLASSES, BEST = "corresp.txt", "best_model.txt"
MOST_CLASSES = 10_000_000
"""More names than any model has outputs: numbers are read from a file that others may write."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.(npt|pt|safetensors)$")
STORED = ".lmdb"
"""How the files of a training's samples end: `train.lmdb`, `test_0.lmdb`..."""
HEAD = ".ptw"
"""How the file of a traced model's head ends, which lies beside that model's."""
_HALF_WRITTEN = re.compile(r"\.((checkpoint|solver)-\d+\.\w+|(train|test_\d+)\.lmdb)\.\w{8}")
_PUBLISHED = re.compile(r"prototxt|\.json|\.txt|bounds\.dat|vocab\.dat")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights after `iteration`, and the solver's state beside them if it was kept."""

    iteration: int
    weights: Path
    solver: Path | None


class Repository:
    """The files of one model. Every write is atomic: a kill leaves the old file or the new one.

    With a fence, it changes nothing once another trainer has taken over: Fenced is raised.
    """

    def __init__(self, path: Path, fence: Fence | None = None) -> None:
        self.path = path
        self._fence = fence

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Repository:
        """The repository at `path`. Raises ParameterError if it cannot be written to."""
        if path.exists() and not path.is_dir():
            raise ParameterError(f"file exists with same name as repository {path}")
        refusal = f"destination model directory {path} is not writable or does not exist."
        try:
            if create:
                path.mkdir(mode=0o775, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise ParameterError(refusal) from error
        return cls(path)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file atomically and durably."""
        target = self.path / name
        number, path = self._new(name)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(number)
            with self._allowed():
                os.replace(path, target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._settle()
        return target

    @contextmanager
    def building(self, name: str) -> Iterator[Path]:
        """Where a large file is to be written and synced; once the block is left without an error
        it takes the place of `name`, and is removed otherwise."""
        number, path = self._new(name)
        os.close(number)
        try:
            yield path
            with self._allowed():
                os.replace(path, self.path / name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._settle()

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are passed over."""
        with self._allowed():
            for name in names:
                (self.path / name).unlink(missing_ok=True)

    def claimed(self, run: str, epoch: int) -> Repository:
        """The same for the trainer of one attempt at a training: it takes the repository over,
        and what a killed one left half written is gone. Raises Fenced for an old attempt."""
        fence = Fence(self.path, run, epoch)
        fence.claim()
        half = [file.name for file in self.path.iterdir() if _HALF_WRITTEN.fullmatch(file.name)]
        claimed = Repository(self.path, fence)
        claimed.remove(half)
        return claimed

    @property
    def run(self) -> str:
        """The training that it was claimed for; empty if for none."""
        return self._fence.run if self._fence else ""

    @property
    def reached(self) -> int | None:
        """The iteration from which this training goes on, 0 if anew; None if it did not begin."""
        return self._fence.reached if self._fence else None

    def reach(self, iteration: int) -> None:
        """Note that the checkpoint of an iteration is complete."""
        if self._fence:
            self._fence.reach(iteration)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically."""
        self.write(name, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")

    def read_json(self, name: str) -> Any:
        """The content of a JSON file; None if it is missing or broken."""
        try:
            return orjson.loads((self.path / name).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None

    def classes(self) -> list[str]:
        """Class names by id, from `corresp.txt`; ids without a line have their number as name.

        Raises ParameterError for one that no training can have written."""
        path = self.path / CLASSES
        try:
            # Not `splitlines`: a name may have what ends lines elsewhere.
            lines = path.read_text(encoding="utf-8").split("\n")
        except OSError:
            return []
        except UnicodeDecodeError as error:
            raise ParameterError(f"{path} is no text: {error.reason}") from error
        pairs = (line.split(" ", 1) for line in lines if " " in line)
        names = {int(number): name for number, name in pairs if _NUMBER.fullmatch(number)}
        if max(names, default=0) >= MOST_CLASSES:
            raise ParameterError(f"{path} has a class {max(names)}, above {MOST_CLASSES - 1}")
        return [names.get(i, str(i)) for i in range(max(names, default=-1) + 1)]

    def write_classes(self, names: Sequence[str]) -> None:
        """Keep class names: one `id name` a line."""
        self.write(CLASSES, class_lines(names))

    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint, oldest iteration first."""
        found = []
        for file in self.path.iterdir():
            if match := _CHECKPOINT.fullmatch(file.name):
                solver = self.path / f"solver-{match[1]}.pt"
                state = solver if solver.exists() else None
                found.append(Checkpoint(int(match[1]), file, state))
        return sorted(found, key=lambda checkpoint: checkpoint.iteration)

    def best(self) -> dict[str, float]:
        """`best_model.txt`: iteration and the measure that chose it; empty if there is none."""
        try:
            lines = (self.path / BEST).read_text().splitlines()
            return {name: float(value) for name, value in (line.split(":", 1) for line in lines)}
        except (OSError, ValueError):
            return {}

    def select(self, which: str) -> Checkpoint | None:
        """The checkpoint to load: `best`, `latest`, or by default the best one, else the latest.

        Raises ParameterError if the best one is asked for and missing."""
        checkpoints = self.checkpoints()
        iteration = self.best().get("iteration")
        best = next((c for c in checkpoints if c.iteration == iteration), None)
        if which == "best" and best is None:
            path = self.path / BEST
            raise ParameterError(
                f"could not open best model file {path}"
                if iteration is None
                else f"could not find best checkpoint for iteration {int(iteration)}"
            )
        latest = checkpoints[-1] if checkpoints else None
        return latest if which == "latest" else best or latest

    def publish(self, target: Repository, files: Iterable[Path] = ()) -> None:
        """Copy the best checkpoint and the describing files to another repository, whose
        `config.json` is that of a service there (contract 3.9)."""
        checkpoint = self.select("")
        if checkpoint is None:
            raise ParameterError(f"no model to copy in repository {self.path}")
        wanted = {checkpoint.weights, checkpoint.weights.with_suffix(HEAD), *files}
        wanted |= {file for file in self.path.iterdir() if _PUBLISHED.search(file.name)}
        for file in wanted:
            if file.is_file() and not file.name.startswith("."):
                target.write(file.name, file.read_bytes())
        if isinstance(config := target.read_json(CONFIG), dict):
            request = self.read_json(REQUEST)
            target.write_json(CONFIG, _moved(config, request, target.path))

    def clear(self, mode: str) -> None:
        """Remove files as DELETE's `clear` says: `mem` none, `lib` the training's, `full` all,
        `dir` the folder too."""
        if not self.path.is_dir():
            return
        if mode == "lib":
            for file in self.path.iterdir():
                if re.search(r"\.(json|npt|pt|ptw|safetensors)$|^best_model", file.name):
                    file.unlink(missing_ok=True)
            (self.path / FENCE).unlink(missing_ok=True)
        elif mode in ("full", "dir"):
            for entry in self.path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
            if mode == "dir":
                self.path.rmdir()

    def keep_request(self, name: str, request: Mapping[str, Any]) -> None:
        """Keep the request that made the service or the model."""
        self.write_json(name, request)

    def _allowed(self) -> AbstractContextManager[object]:
        return self._fence.held() if self._fence else nullcontext()

    def _new(self, name: str) -> tuple[int, Path]:
        """A file, open and empty, that is to become `name`; others may read it as the umask says,
        which temporary files of the library let nobody."""
        path = self.path / f".{name}.{secrets.token_hex(4)}"
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), path

    def _settle(self) -> None:
        """Make a rename durable: it lives in the folder, not in the file."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _moved(config: Mapping[str, Any], request: Any, path: Path) -> dict[str, Any]:
    """The request that makes a service of a published model: images have the size of the crops
    that it was trained on, and no data is kept."""
    parameters = _member(config, "parameters")
    images = dict(_member(parameters, "input"))
    crop = _member(_member(request, "parameters"), "mllib").get("crop_size")
    if isinstance(crop, int) and crop > 0:
        images |= {"width": crop, "height": crop}
    if "db" in images:
        images["db"] = False
    model = {**_member(config, "model"), "repository": str(path)}
    return {**config, "model": model, "parameters": {**parameters, "input": images}}


def _member(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def class_lines(names: Sequence[str]) -> bytes:
    """The content of `corresp.txt`."""
    return "".join(f"{number} {name}\n" for number, name in enumerate(names)).encode()
