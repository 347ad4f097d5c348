"""What a failed pass means, by the errors that torch itself raises."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from ddstream.backends.torch.failures import meaning
from ddstream.data import Batch, Sample
from ddstream.errors import ParameterError
from tests.backends.conftest import MakeBackend

CPU = torch.device("cpu")
NOWHERE = torch.device("cuda", 99)
MORE_THAN_ANY_MACHINE_HAS = 1 << 55


def raised_without_memory() -> Exception:
    try:
        torch.empty(MORE_THAN_ANY_MACHINE_HAS)
    except RuntimeError as error:
        return error
    raise AssertionError("there was memory")


def raised_in_a_script() -> Exception:
    @torch.jit.script
    def much(size: int) -> torch.Tensor:
        return torch.ones([size])

    try:
        much(MORE_THAN_ANY_MACHINE_HAS)
    except Exception as error:
        return error
    raise AssertionError("there was memory")


def raised_by_numpy() -> Exception:
    try:
        np.empty(MORE_THAN_ANY_MACHINE_HAS)
    except MemoryError as error:
        return error
    raise AssertionError("there was memory")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_the_allocators_of_torch_scripts_and_numpy_are_understood() -> None:
    for error in (raised_without_memory(), raised_in_a_script(), raised_by_numpy()):
        assert meaning(error, [CPU]) == "memory"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_what_cuda_says_of_its_memory_is_understood(error: Exception) -> None:
    assert meaning(error, []) == "memory"


def test_an_error_of_the_model_is_its_sample_s() -> None:
    errors = [RuntimeError("mat1 and mat2 shapes"), ParameterError("wrong"), ValueError("bad")]
    assert {meaning(error, [CPU]) for error in errors} == {"sample"}


def test_a_device_that_answers_no_more_is_broken_whatever_was_raised() -> None:
    errors = [RuntimeError("CUDA error: device-side assert triggered"), ValueError("odd")]
    errors += [torch.OutOfMemoryError("CUDA out of memory.")]
    assert {meaning(error, [CPU, NOWHERE]) for error in errors} == {"broken"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_works_is_not_broken_by_a_refused_launch_or_full_memory() -> None:
    gpu = torch.device("cuda", 0)
    assert meaning(RuntimeError("CUDA error: invalid configuration argument"), [gpu]) == "sample"
    with pytest.raises(torch.OutOfMemoryError) as full:
        torch.empty(1 << 45, device=gpu)
    assert meaning(full.value, [gpu]) == "memory"


def test_what_a_pass_without_memory_held_is_freed_at_once() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []

    def forward() -> None:
        large = torch.zeros(1000)
        seen.append(weakref.ref(large))
        torch.empty(MORE_THAN_ANY_MACHINE_HAS)

    with pytest.raises(RuntimeError) as failed:
        forward()
    assert seen[0]() is not None
    assert meaning(failed.value, [CPU]) == "memory"
    assert seen[0]() is None


def test_a_backend_tells_what_its_pass_meant(make_backend: MakeBackend) -> None:
    backend = make_backend({"template": "resnet18", "nclasses": 2})
    call = backend.call_parameters({"template": "resnet18", "nclasses": 2})
    batch = Batch.of([Sample("a", {"image": np.zeros((8, 8, 7), np.uint8)})])
    with pytest.raises(Exception, match="channel") as failed:
        backend.forward(batch, call)
    assert backend.failure(failed.value) == "sample"
    assert backend.failure(raised_without_memory()) == "memory"
