"""The Torch backend: from parameters to outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from ddstream.backends import BACKENDS
from ddstream.backends.torch.backend import TorchBackend
from ddstream.data import OUTPUT, Array, Batch, Normalise, Sample
from ddstream.errors import DDError, InputError, ParameterError
from ddstream.repository import Repository
from ddstream.tasks.features import Features
from tests.backends.conftest import MakeBackend, MakeSetup
from tests.tasks.tallies import tallied

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
UNIT = Normalise(scale=1 / 255)
TWO: dict[str, Any] = {"template": "resnet18", "nclasses": 2}


def batch_of(pixels: Array = PIXELS, normalise: Normalise = UNIT) -> Batch:
    return Batch.of([Sample(str(i), {"image": p}, None, normalise) for i, p in enumerate(pixels)])


def outputs(backend: TorchBackend, batch: Batch | None = None, **call: Any) -> Array:
    parameters = backend.call_parameters({**backend.parameters.model_dump(), **call})
    return backend.forward(batch or batch_of(), parameters)[OUTPUT]


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    """A state dict as the public makes it, whose batch norms are not the identity."""
    torch.manual_seed(5)
    model = resnet18(weights=None, num_classes=2)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
    return dict(model.state_dict())


@pytest.fixture
def loaded(
    repository: Repository, make_backend: MakeBackend, public: dict[str, torch.Tensor]
) -> TorchBackend:
    """A resnet18 with those weights."""
    torch.save(public, repository.path / "public.npt")
    return make_backend(TWO)


def eager(public: dict[str, torch.Tensor], numbers: torch.Tensor) -> Array:
    model = resnet18(weights=None, num_classes=2).eval()
    model.load_state_dict(public)
    with torch.inference_mode():
        found: Array = model(numbers).numpy()
    return found


def as_numbers(pixels: Array = PIXELS) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255)


@pytest.mark.promise("services.torch.nclasses", "services.torch.template", "services.mllib")
def test_a_template_with_classes_is_a_classifier(make_backend: MakeBackend) -> None:
    backend = make_backend(TWO)
    assert isinstance(backend, BACKENDS.load("torch"))  # type: ignore[arg-type]
    assert outputs(backend).shape == (3, 2)
    assert backend.mltype == "classification"
    assert backend.stats().to_json() == {"params": 11_177_538}
    assert not backend.trained


@pytest.mark.promise("services.torch.ntargets")
def test_targets_without_classes_make_a_regression(make_backend: MakeBackend) -> None:
    backend = make_backend({"template": "resnet18", "ntargets": 3})
    assert outputs(backend).shape == (3, 3)
    assert backend.mltype == "regression"
    assert make_backend({**TWO, "ntargets": 3}).mltype == "classification"


@pytest.mark.promise("services.torch.template_params")
def test_template_params_reach_the_template(make_backend: MakeBackend) -> None:
    backend = make_backend({"template": "resnet18", "template_params": {"nclasses": 4}})
    assert outputs(backend).shape == (3, 4)
    with pytest.raises(ParameterError, match="unknown template_params: depth"):
        make_backend({**TWO, "template_params": {"depth": 3}})


def test_a_folded_model_gives_what_the_model_gives(
    loaded: TorchBackend, public: dict[str, torch.Tensor]
) -> None:
    assert loaded.trained
    np.testing.assert_allclose(outputs(loaded), eager(public, as_numbers()), rtol=1e-4, atol=1e-4)


def test_pixels_are_scaled_shifted_and_divided_inside_the_model(
    loaded: TorchBackend, public: dict[str, torch.Tensor]
) -> None:
    normalise = Normalise(scale=0.01, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    x: Array = PIXELS.astype(np.float32) * 0.01
    x = (x - np.array([0.1, 0.2, 0.3], np.float32)) / np.array([0.5, 0.6, 0.7], np.float32)
    expected = eager(public, torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    found = outputs(loaded, batch_of(normalise=normalise))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_float_pixels_are_left_as_they_were(loaded: TorchBackend) -> None:
    batch = batch_of(PIXELS.astype(np.float32))
    before = batch.inputs["image"].copy()
    first = outputs(loaded, batch)
    np.testing.assert_array_equal(batch.inputs["image"], before)
    np.testing.assert_allclose(first, outputs(loaded), rtol=1e-5, atol=1e-5)


def test_grey_images_are_repeated_for_a_model_of_three_channels(loaded: TorchBackend) -> None:
    grey = PIXELS[..., :1]
    found = outputs(loaded, batch_of(grey))
    repeated = outputs(loaded, batch_of(np.repeat(grey, 3, axis=3)))
    np.testing.assert_allclose(found, repeated, rtol=1e-5, atol=1e-5)


def test_images_that_do_not_fit_are_an_input_error(loaded: TorchBackend) -> None:
    with pytest.raises(InputError, match="the image has 4 channels, the model takes 3"):
        outputs(loaded, batch_of(np.zeros((1, 32, 32, 4), np.uint8)))
    with pytest.raises(InputError, match="mean has 2 values"):
        outputs(loaded, batch_of(normalise=Normalise(mean=(1.0, 2.0))))


@pytest.mark.promise("services.torch.datatype", "predict.torch.datatype")
def test_the_datatype_is_the_arithmetic_of_predictions(
    loaded: TorchBackend, make_backend: MakeBackend, public: dict[str, torch.Tensor]
) -> None:
    single = outputs(loaded)
    half = outputs(loaded, datatype="bf16")
    assert half.dtype == np.float32
    assert 0 < np.abs(half - single).max() < 0.1 * np.abs(single).max()
    double = outputs(make_backend({**TWO, "datatype": "fp64"}))
    assert double.dtype == np.float64
    exact = resnet18(weights=None, num_classes=2).eval().double()
    exact.load_state_dict(public)
    numbers = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2) * (1 / 255))
    with torch.inference_mode():
        np.testing.assert_allclose(double, exact(numbers).numpy(), rtol=1e-9)


@pytest.mark.promise("errors.code.1006")
def test_a_datatype_that_cannot_be_is_refused(make_backend: MakeBackend) -> None:
    with pytest.raises(ParameterError, match="fp16 inference can be done only on GPU") as refused:
        make_backend({**TWO, "datatype": "fp16"})
    assert refused.value.status()["dd_code"] == 1006
    with pytest.raises(ParameterError, match="unknown datatype fp8"):
        make_backend({**TWO, "datatype": "fp8"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
@pytest.mark.promise("services.torch.gpu", "predict.torch.gpu")
def test_a_gpu_that_is_missing_is_refused(make_backend: MakeBackend) -> None:
    with pytest.raises(ParameterError, match="GPU is not available, service could not be created"):
        make_backend({**TWO, "gpu": True})


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
@pytest.mark.promise("predict.torch.gpu")
def test_calls_and_trainings_that_ask_for_a_missing_gpu_run_on_the_cpu_and_say_so(
    make_backend: MakeBackend,
) -> None:
    backend = make_backend({**TWO, "gpu": False, "gpuid": [0, 1]})
    np.testing.assert_array_equal(outputs(backend, gpu=True), outputs(backend))
    said = ["m.gpu was ignored: GPU is not available, the CPU computes"]
    asked = {**TWO, "gpu": True, "solver": {"iterations": 1}}
    assert backend.call_parameters(asked).unknown("m") == said
    assert TorchBackend.training_parameters(asked).unknown("m") == said
    with pytest.raises(ParameterError, match="fp16 inference can be done only on GPU"):
        outputs(backend, gpu=True, datatype="fp16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.promise("services.torch.gpuid", "predict.torch.gpuid")
def test_a_gpu_gives_what_the_cpu_gives(loaded: TorchBackend) -> None:
    expected = outputs(loaded)
    for gpuid in (0, -1, [0]):
        np.testing.assert_allclose(outputs(loaded, gpu=True, gpuid=gpuid), expected, atol=1e-3)
    with pytest.raises(ParameterError, match="gpuid 64 does not exist"):
        outputs(loaded, gpu=True, gpuid=64)


@pytest.mark.promise("predict.torch.extract_layer")
def test_any_layer_can_be_extracted(loaded: TorchBackend, public: dict[str, torch.Tensor]) -> None:
    model = resnet18(weights=None, num_classes=2).eval()
    model.load_state_dict(public)
    with torch.inference_mode():
        expected = model.bn1(model.conv1(as_numbers())).numpy()
    # What follows works in place on this layer's values.
    found = outputs(loaded, extract_layer="bn1")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    call = loaded.call_parameters({**TWO, "extract_layer": "bn1"})
    assert isinstance(loaded.task(call), Features)
    assert loaded.task(loaded.call_parameters(TWO)).name == "classification"


def test_the_last_layer_is_the_output_itself(loaded: TorchBackend) -> None:
    np.testing.assert_array_equal(outputs(loaded, extract_layer="last"), outputs(loaded))


def test_an_unknown_layer_is_refused_with_some_that_exist(loaded: TorchBackend) -> None:
    with pytest.raises(ParameterError, match=r"unknown extract layer top; there is: last, conv1"):
        outputs(loaded, extract_layer="top")


def test_an_unsupervised_service_gives_features(make_backend: MakeBackend) -> None:
    backend = make_backend(TWO, service_type="unsupervised")
    assert backend.mltype == "features"
    assert isinstance(backend.task(backend.call_parameters(TWO)), Features)


@pytest.mark.promise("services.torch.multi_label")
def test_multi_label_is_a_matter_of_the_task(make_backend: MakeBackend) -> None:
    backend = make_backend({**TWO, "multi_label": True})
    own = backend.task(backend.parameters)
    call = backend.task(backend.call_parameters({**TWO, "multi_label": False}))
    assert own.knows("kl")
    assert not call.knows("kl")


def test_classes_have_the_repositorys_names(
    repository: Repository, make_backend: MakeBackend
) -> None:
    repository.write_classes(["cat", "dog"])
    task = make_backend(TWO).task(make_backend(TWO).parameters)
    found = tallied(task, np.eye(2), [0, 1], ["raw"])
    assert found["raw"]["truths"] == ["cat", "dog"]


def test_new_weights_come_from_their_own_seed(make_backend: MakeBackend) -> None:
    before = torch.get_rng_state()
    first, again = outputs(make_backend(TWO)), outputs(make_backend(TWO))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first, again)
    assert np.abs(outputs(make_backend({**TWO, "seed": 1})) - first).max() > 0


def test_a_call_cannot_change_what_the_model_is(make_backend: MakeBackend) -> None:
    backend = make_backend(TWO)
    with pytest.raises(ParameterError, match="nclasses cannot be changed after creation"):
        backend.call_parameters({**TWO, "nclasses": 3})


@pytest.mark.promise("errors.code.1006")
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("segmentation", True),
        ("ctc", True),
        ("self_supervised", "mask"),
        ("forward_method", "embed"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    make_backend: MakeBackend, option: str, value: object
) -> None:
    with pytest.raises(DDError, match=option) as refused:
        make_backend({**TWO, option: value})
    assert refused.value.status()["dd_code"] == 1006


def test_an_unknown_option_is_warned_of(make_backend: MakeBackend) -> None:
    found = make_backend({**TWO, "nclass": 3, "mirror": True}).parameters.unknown("mllib")
    assert found == ["mllib.nclass is unknown and was ignored"]


def test_a_closed_backend_has_freed_its_model(make_setup: MakeSetup) -> None:
    backend = TorchBackend(make_setup(TWO))
    assert backend.stats().params > 0
    backend.close()
    assert backend.stats().params == 0


def test_a_traced_model_predicts_what_it_was_traced_from(
    traced: Path, make_backend: MakeBackend
) -> None:
    backend = make_backend({})
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    reference = torch.jit.load(traced)  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        expected = reference(torch.from_numpy(pixels / np.float32(255)).permute(0, 3, 1, 2))
    found = outputs(backend, batch_of(pixels))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert backend.trained
    assert backend.mltype == "classification"
    np.testing.assert_array_equal(outputs(backend, batch_of(pixels), extract_layer="final"), found)
    with pytest.raises(ParameterError, match="unknown extract layer conv; there is: last, final"):
        outputs(backend, extract_layer="conv")
