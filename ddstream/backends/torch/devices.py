"""Devices and number types, from the API's words, and the way back to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch

from ddstream.api.torch import TorchParameters
from ddstream.data import Outputs
from ddstream.errors import ParameterError

P = TypeVar("P", bound=TorchParameters)

DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp64": torch.float64,
}


def devices(parameters: TorchParameters) -> list[torch.device]:
    """The CPU, or the GPUs that are asked for. Raises ParameterError for one that is missing."""
    if not parameters.gpu:
        return [torch.device("cpu")]
    if not torch.cuda.is_available():
        raise ParameterError("GPU is not available, service could not be created")
    count = torch.cuda.device_count()
    numbers = list(range(count)) if -1 in parameters.gpuid else list(parameters.gpuid)
    for number in numbers:
        if not 0 <= number < count:
            raise ParameterError(f"gpuid {number} does not exist: there are {count} GPUs")
    return [torch.device("cuda", number) for number in dict.fromkeys(numbers)]


def at_hand(parameters: P) -> P:
    """The parameters of a call or of a training on this machine, whose service is there already:
    without a GPU where there is none. The documented examples ask for one everywhere."""
    return parameters if torch.cuda.is_available() else parameters.on_cpu()


def number_type(parameters: TorchParameters) -> torch.dtype:
    """The type that predictions are computed in. Raises ParameterError for fp16 on a CPU."""
    if parameters.datatype == "fp16" and not parameters.gpu:
        raise ParameterError("fp16 inference can be done only on GPU")
    return DTYPES[parameters.datatype]


def half(parameters: TorchParameters, device: torch.device) -> torch.dtype | None:
    """The type of mixed precision that a training computes in; None for fp32 throughout.

    Raises ParameterError for fp16 on a CPU.
    """
    dtype = number_type(parameters)
    if dtype is torch.float16 and device.type == "cpu":
        raise ParameterError("fp16 training can be done only on GPU")
    return dtype if dtype in (torch.float16, torch.bfloat16) else None


def numbers(results: Mapping[str, torch.Tensor]) -> Outputs:
    """Results as arrays on the CPU; half types come as float32."""
    return {
        name: (each.float() if each.dtype in (torch.float16, torch.bfloat16) else each)
        .cpu()
        .numpy()
        for name, each in results.items()
    }
