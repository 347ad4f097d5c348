"""The transformer for series: sizes by formula, what each parameter does, what masks hide."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ddstream.data import Dimensions
from ddstream.errors import InputError, ParameterError
from ddstream.templates import TEMPLATES
from ddstream.templates.embedding import Sine, numbers, waves
from ddstream.templates.protocol import Unbuilt

STEPS, HORIZON, COLUMNS = 12, 5, 3


def built(*, labels: bool = False, **params: Any) -> nn.Module:
    """A forecast of 5 steps after 12 of 3 columns, or 2 labels at each of 12 steps."""
    torch.manual_seed(0)
    sizes = Dimensions(
        outputs=2 if labels else COLUMNS,
        columns=COLUMNS,
        steps=STEPS,
        horizon=STEPS if labels else HORIZON,
        follows=not labels,
    )
    return TEMPLATES.load("ttransformer")(sizes, params).eval()


def plain(**params: Any) -> dict[str, Any]:
    """Parameters without any dropout."""
    names = ("embed", "positional_encoding", "encoder", "decoder")
    return {**params, **{name: {**params.get(name, {}), "dropout": 0.0} for name in names}}


def series() -> torch.Tensor:
    return torch.randn(4, STEPS, COLUMNS, generator=torch.Generator().manual_seed(1))


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def linear(given: int, made: int) -> int:
    return given * made + made


def mlp(*widths: int) -> int:
    return sum(linear(*pair) for pair in pairwise(widths))


def attention(dim: int) -> int:
    return 4 * linear(dim, dim)


def encoder(dim: int, hidden: int, layers: int = 1) -> int:
    return layers * (attention(dim) + mlp(dim, hidden, dim) + 4 * dim)


def decoder(dim: int, hidden: int, layers: int = 1) -> int:
    return layers * (2 * attention(dim) + mlp(dim, hidden, dim) + 6 * dim)


EMBED, ENCODER = mlp(3, 32, 32, 32), encoder(32, 3 * 32)
SIMPLE = linear(12 * 32, 5 * 3)


@pytest.mark.promise(
    "templates.ttransformer",
    "templates.ttransformer.embed.layers",
    "templates.ttransformer.embed.dim",
    "templates.ttransformer.embed.type",
    "templates.ttransformer.encoder.layers",
    "templates.ttransformer.encoder.hidden_dim",
    "templates.ttransformer.positional_encoding.learn",
    "templates.ttransformer.decoder.layers",
    "templates.ttransformer.decoder.type",
)
@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, EMBED + ENCODER + SIMPLE),
        ({"embed": {"layers": 1}}, mlp(3, 32) + ENCODER + SIMPLE),
        (
            {"embed": {"dim": 16}},
            mlp(3, 16, 16, 16) + encoder(16, 3 * 16) + linear(12 * 16, 5 * 3),
        ),
        (
            {"embed": {"type": "serie", "layers": 2}},
            3 * mlp(12, 12 * 32, 12 * 32) + ENCODER + SIMPLE,
        ),
        ({"embed": {"type": "all", "layers": 1}}, mlp(36, 12 * 32) + ENCODER + SIMPLE),
        ({"positional_encoding": {"learn": True}}, EMBED + ENCODER + SIMPLE + 12 * 32),
        (
            {"positional_encoding": {"agg": "cat"}},
            EMBED + encoder(64, 3 * 32) + linear(12 * 64, 5 * 3),
        ),
        ({"encoder": {"layers": 2, "hidden_dim": 7}}, EMBED + encoder(32, 7, 2) + SIMPLE),
        ({"decoder": {"layers": 2}}, EMBED + ENCODER + mlp(12 * 32, 5 * 32, 5 * 3)),
        ({"decoder": {"layers": 2, "hidden_dim": 9}}, EMBED + ENCODER + mlp(12 * 32, 9, 5 * 3)),
        (
            {"decoder": {"type": "transformer", "layers": 2}},
            EMBED + ENCODER + decoder(32, 5 * 32, 2) + 5 * 32 + linear(32, 3),
        ),
        ({"decoder": {"heads": 4}}, EMBED + ENCODER + decoder(32, 160) + 5 * 32 + linear(32, 3)),
        ({"autoreg": True}, EMBED + ENCODER + linear(32, 3)),
        (
            {"autoreg": True, "decoder": {"type": "transformer"}},
            EMBED + ENCODER + decoder(32, 160) + 32 + linear(3, 32) + linear(32, 3),
        ),
    ],
)
def test_a_model_has_the_size_of_its_parts(params: dict[str, Any], expected: int) -> None:
    model = built(**params)
    assert size(model) == expected
    assert model(series()).shape == (4, HORIZON, COLUMNS)


@pytest.mark.parametrize("autoreg", [False, True])
@pytest.mark.parametrize("kind", ["simple", "transformer"])
def test_labels_are_told_at_all_steps(autoreg: bool, kind: str) -> None:
    model = built(labels=True, autoreg=autoreg, decoder={"type": kind})
    assert model(series()).shape == (4, STEPS, 2)
    # A longer series window after window.
    longer = torch.cat([series(), series()[:, :3] + 1], dim=1)
    told = model(longer)
    assert told.shape == (4, STEPS + 3, 2)
    assert torch.allclose(told[:, :STEPS], model(series()), atol=1e-5)
    assert torch.allclose(told[:, STEPS:], model(longer[:, 3:])[:, STEPS - 3 :], atol=1e-5)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("kind", ["simple", "transformer"])
@pytest.mark.parametrize("autoreg", [False, True])
def test_all_weights_learn(labels: bool, kind: str, autoreg: bool) -> None:
    params = {"decoder": {"type": kind}, "positional_encoding": {"learn": True}}
    model = built(labels=labels, autoreg=autoreg, **params).train()
    came = torch.randn(4, STEPS if labels else HORIZON, 2 if labels else COLUMNS)
    given = (series(), came) if autoreg else (series(),)
    model(*given).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.promise("templates.ttransformer.autoreg")
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("kind", ["simple", "transformer"])
@torch.inference_mode()
def test_one_after_the_other_a_step_is_told_from_those_before_it_alone(
    labels: bool, kind: str
) -> None:
    model = built(labels=labels, autoreg=True, **plain(decoder={"type": kind}))
    told = model(series())
    # Taught with what it tells itself, it tells the same, all at once.
    assert torch.allclose(model(series(), told), told, atol=1e-5)
    for step in range(told.shape[1]):
        came = told.clone()
        came[:, step] += 1
        changed = (model(series(), came) - told).abs().amax((0, 2)) > 1e-6
        assert not changed[: step + 1].any()
        assert changed[step + 1 :].all()


@torch.inference_mode()
def test_one_after_the_other_labels_of_a_lone_encoder_know_no_later_inputs() -> None:
    model = built(labels=True, autoreg=True, **plain())
    given = series()
    told = model(given)
    given[:, 6] += 1
    changed = (model(given) - told).abs().amax((0, 2)) > 1e-6
    assert not changed[:6].any()
    assert changed[6:].all()


@pytest.mark.promise(
    "templates.ttransformer.embed.dropout",
    "templates.ttransformer.positional_encoding.dropout",
    "templates.ttransformer.encoder.dropout",
    "templates.ttransformer.decoder.dropout",
)
@pytest.mark.parametrize("part", ["embed", "positional_encoding", "encoder", "decoder"])
@pytest.mark.parametrize("kind", ["simple", "transformer"])
def test_each_part_drops_by_its_own_share(part: str, kind: str) -> None:
    still = plain(decoder={"type": kind})
    model = built(**still).train()
    assert torch.equal(model(series()), model(series()))
    model = built(**{**still, part: {**still[part], "dropout": 0.5}}).train()
    assert not torch.equal(model(series()), model(series()))
    # A tenth is the default of each.
    left_out = {name: value for name, value in still[part].items() if name != "dropout"}
    model = built(**{**still, part: left_out}).train()
    shares = {each.p for each in model.modules() if isinstance(each, nn.Dropout) and each.p}
    assert shares == {0.1}


@pytest.mark.promise(
    "templates.ttransformer.embed.activation",
    "templates.ttransformer.encoder.activation",
)
def test_activations_are_as_asked_and_relu_by_default() -> None:
    def kinds(**params: Any) -> set[str]:
        return {type(each).__name__ for each in built(**params).modules()}

    def told(**params: Any) -> torch.Tensor:
        model = built(**plain(**params))
        found: torch.Tensor = model(series())
        return found

    assert "ReLU" in kinds()
    assert {"GELU"} == kinds(embed={"activation": "gelu"}) - kinds()
    assert {"Sine"} == kinds(embed={"activation": "siren"}) - kinds()
    assert torch.equal(told(), told(encoder={"activation": "relu"}))
    assert not torch.equal(told(), told(encoder={"activation": "gelu"}))
    assert Sine()(torch.tensor([0.1])).item() == pytest.approx(np.sin(3.0))
    # First layers of SIREN spread over 1/n, later ones over sqrt(6/n)/30.
    weights = [
        p
        for name, p in built(embed={"activation": "siren"}).named_parameters()
        if name.startswith("encoder.embed") and p.dim() == 2
    ]
    assert 0.25 < weights[0].abs().max() <= 1 / 3
    assert all(w.abs().max() <= np.sqrt(6 / 32) / 30 for w in weights[1:])


@pytest.mark.promise("templates.ttransformer.positional_encoding.type")
@torch.inference_mode()
def test_places_are_waves_numbers_or_nothing() -> None:
    made = waves(7, 6)
    for step in range(7):
        for pair in range(3):
            angle = step / 10000 ** (2 * pair / 6)
            assert made[step, 2 * pair] == pytest.approx(np.sin(angle), abs=1e-6)
            assert made[step, 2 * pair + 1] == pytest.approx(np.cos(angle), abs=1e-6)
    assert waves(3, 5).shape == (3, 5)
    assert numbers(4, 2).tolist() == [[0, 0], [0.25, 0.25], [0.5, 0.5], [0.75, 0.75]]
    blind = built(**plain(positional_encoding={"type": "none"}))
    swapped = series().flip(1)
    # Without places the order of the steps is nothing to the encoder.
    vectors = blind.encoder(series())  # type: ignore[operator]
    assert torch.allclose(blind.encoder(swapped).flip(1), vectors, atol=1e-5)  # type: ignore[operator]
    for kind in ("sincos", "naive"):
        seeing = built(**plain(positional_encoding={"type": kind}))
        vectors = seeing.encoder(series())  # type: ignore[operator]
        other = seeing.encoder(swapped).flip(1)  # type: ignore[operator]
        assert not torch.allclose(other, vectors, atol=1e-3)


@pytest.mark.promise("templates.ttransformer.encoder.heads", "templates.ttransformer.decoder.heads")
def test_heads_are_as_asked() -> None:
    model = built(encoder={"heads": 4}, decoder={"heads": 2})
    heads = [each.num_heads for each in model.modules() if isinstance(each, nn.MultiheadAttention)]
    assert heads == [4, 2, 2]
    model = built(decoder={"type": "transformer"})
    heads = [each.num_heads for each in model.modules() if isinstance(each, nn.MultiheadAttention)]
    assert heads == [8, 8, 8]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"embed": {"type": "word"}}, "unknown embed type: word"),
        ({"embed": {"activation": "tanh"}}, "unknown embed activation: tanh"),
        ({"embed": {"dim": 0}}, "embed.dim"),
        ({"embed": {"dim": 12}}, "embed_dim must be divisible by encoder_nheads"),
        ({"decoder": {"heads": 5}}, "embed_dim must be divisible by decoder_nheads"),
        ({"encoder": {"activation": "siren"}}, "unsupported encoder activation: siren"),
        ({"decoder": {"activation": "siren"}}, "unsupported decoder activation: siren"),
        ({"decoder": {"type": "mlp"}}, "unknow decoder style: mlp"),
        ({"decoder": {"type": "simple", "heads": 4}}, "a decoder of type simple has none"),
        ({"positional_encoding": {"type": "x"}}, "unknow positional encoding type: x"),
        ({"positional_encoding": {"agg": "x"}}, "unknow positional encoding aggregation: x"),
        ({"positional_encoding": {"type": "none", "learn": True}}, "nothing to learn"),
        ({"encoder": {"dropout": 1.0}}, "encoder.dropout"),
        ({"autoreg": True, "embed": {"type": "all"}}, "embed.type all looks at all steps"),
        ({"encoder": {"depth": 1}}, "unknown template_params: encoder.depth"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        TEMPLATES.load("ttransformer")(Dimensions(), params)


def test_series_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match="series of 13 steps of 3 columns: the model takes 12"):
        built()(torch.zeros(1, 13, 3))
    with pytest.raises(Unbuilt, match="the columns of the series are not known"):
        TEMPLATES.load("ttransformer")(Dimensions(steps=4, horizon=4), {})
