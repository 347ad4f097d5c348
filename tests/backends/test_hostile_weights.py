"""Files of weights that carry code: refused, whatever they are called, and never run."""

from __future__ import annotations

import ast
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ddstream.backends.torch.network.weights import newest, read_state
from ddstream.backends.torch.training.checkpoints import read_solver
from ddstream.errors import ParameterError
from ddstream.repository import Repository
from tests.backends.conftest import MakeBackend

PACKAGE = Path(__file__).parents[2] / "ddstream"
TWO: dict[str, Any] = {"template": "resnet18", "nclasses": 2}
CODE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "np.load", "yaml.load"}
UNSAFE = {"pickle", "marshal", "dill", "cloudpickle", "joblib", "shelve"}
"""Functions and modules by which content becomes code."""


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def saved(malice: Malice) -> bytes:
    """As torch.save writes it now."""
    buffer = io.BytesIO()
    torch.save({"fc.bias": malice}, buffer)
    return buffer.getvalue()


def saved_the_old_way(malice: Malice) -> bytes:
    """As torch.save wrote it before it made archives."""
    buffer = io.BytesIO()
    torch.save({"fc.bias": malice}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def bare(malice: Malice) -> bytes:
    """A pickle, as joblib and many others leave it."""
    return pickle.dumps({"fc.bias": malice}, protocol=2)


def tar(malice: Malice) -> bytes:
    """The oldest format of torch."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(malice, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def archive(malice: Malice) -> bytes:
    """An archive whose pickle is malicious and that has code beside it, as TorchScript has."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x/data.pkl", pickle.dumps(malice, protocol=2))
        file.writestr("x/constants.pkl", pickle.dumps(malice, protocol=2))
        file.writestr("x/version", "3\n")
        file.writestr("x/code/__torch__.py", "import os\nos.system('touch pwned')\n")
    return buffer.getvalue()


FORMS = (saved, saved_the_old_way, bare, tar, archive)
NAMES = ("a.pt", "a.npt", "a.safetensors", "checkpoint-3.npt", "checkpoint-3.pt")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_weights_with_code_are_refused_and_not_run(
    repository: Repository, tmp_path: Path, form: Callable[[Malice], bytes], name: str
) -> None:
    mark = tmp_path / "pwned"
    path = repository.write(name, form(Malice(mark)))
    with pytest.raises(ParameterError, match=name) as refused:
        read_state(path)
    assert refused.value.dd_code == 1006
    assert not mark.exists()


@pytest.mark.parametrize("name", ["a.npt", "checkpoint-3.npt"])
def test_a_service_with_such_weights_is_refused(
    repository: Repository, make_backend: MakeBackend, tmp_path: Path, name: str
) -> None:
    mark = tmp_path / "pwned"
    repository.write(name, saved(Malice(mark)))
    for weights in ("", name):
        with pytest.raises(ParameterError, match=name):
            make_backend(TWO, weights=weights)
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_the_state_of_a_solver_with_code_is_refused_and_not_run(
    repository: Repository, tmp_path: Path, form: Callable[[Malice], bytes]
) -> None:
    mark = tmp_path / "pwned"
    path = repository.write("solver-3.pt", form(Malice(mark)))
    for read in (read_solver, read_state):
        with pytest.raises(ParameterError):
            read(path)
    assert not mark.exists()


def test_the_malice_of_these_tests_is_real(tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    pickle.loads(bare(Malice(mark)))
    assert mark.exists()


def test_a_newest_file_that_leads_out_of_the_repository_is_passed_over(
    repository: Repository, tmp_path: Path, traced_file: Path
) -> None:
    outside = tmp_path / "outside.pt"
    outside.write_bytes(traced_file.read_bytes())
    (repository.path / "a.pt").symlink_to(outside)
    assert newest(repository) is None
    inside = repository.write("b.pt", traced_file.read_bytes())
    (repository.path / "c.pt").symlink_to(inside)
    assert newest(repository) in (inside, repository.path / "c.pt")


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """Every call in the package: its file, itself, and its function's dotted name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def test_torch_load_reads_weights_only_and_in_one_place() -> None:
    found = [(path, node) for path, node, name in calls() if name == "torch.load"]
    assert {path.name for path, _ in found} == {"weights.py"}
    for _, node in found:
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        value = given["weights_only"]
        assert isinstance(value, ast.Constant)
        assert value.value is True


def test_torchscript_is_read_in_one_place() -> None:
    found = [path.name for path, _, name in calls() if name.startswith("torch.jit.load")]
    assert found == ["weights.py"]


def test_nothing_else_turns_content_into_code() -> None:
    for path, node, name in calls():
        shell = any(keyword.arg == "shell" for keyword in node.keywords)
        assert not shell, (path, node.lineno)
        assert name not in CODE, (path, node.lineno, name)
        assert name.partition(".")[0] not in UNSAFE, (path, node.lineno, name)
