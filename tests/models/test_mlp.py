"""The dense network: the paper's counts, and the plain matrices that it is."""

import math

import pytest
import torch
import torch.nn.functional as F

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant
from netwright.models.mlp import MLP


def test_each_layer_has_its_parameters() -> None:
    sizes = [parameter.numel() for parameter in create_model("mlp", in_channels=1).parameters()]
    assert sizes == [784 * 300, 300, 300 * 100, 100, 100 * 10, 10]
    assert sum(sizes) == variant("mlp").params


def test_it_is_three_matrices() -> None:
    torch.manual_seed(0)
    model = MLP().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    w1, b1, w2, b2, w3, b3 = model.parameters()
    x = torch.rand(2, 1, 28, 28)
    hidden = torch.relu(w2 @ torch.relu(w1 @ x.view(2, 784).T + b1[:, None]) + b2[:, None])
    assert torch.allclose(model(x), (w3 @ hidden + b3[:, None]).T, rtol=1e-4, atol=1e-4)
    [map_] = model.stages(x)
    assert torch.allclose(map_, hidden.T[:, :, None, None], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("side", "widths"), [(28, (30, 20)), (8, (5,)), (8, (7, 6, 5, 4))])
def test_layers_have_the_widths_asked_for(side: int, widths: tuple[int, ...]) -> None:
    model = create_model(f"mlp(image_size={side}, widths={widths})", classes=4, in_channels=3)
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    inputs = [3 * side * side, *widths]
    assert shapes == list(zip([*widths, 4], inputs, strict=True))


def test_without_hidden_layers_it_is_linear() -> None:
    torch.manual_seed(0)
    model = create_model("mlp(widths=())", in_channels=1)
    one, other = torch.rand(2, 1, 1, 28, 28)
    zero = model(torch.zeros(1, 1, 28, 28))
    assert torch.allclose(
        model(2 * one - 3 * other) - zero, 2 * (model(one) - zero) - 3 * (model(other) - zero), atol=1e-4
    )


def test_images_of_another_size_are_averaged() -> None:
    torch.manual_seed(0)
    model = MLP().eval()
    x = torch.rand(2, 1, 56, 56)
    assert torch.allclose(model(x), model(F.avg_pool2d(x, 2)), atol=1e-6)


def test_every_hidden_layer_is_dropped_from() -> None:
    layers = list(MLP(widths=(5, 4, 3), dropout=0.3).hidden)
    assert [getattr(layer, "p", None) for layer in layers] == [None, None, 0.3] * 3


@pytest.mark.parametrize("widths", ["(300, 0)", "(2.5,)", "300"])
def test_widths_that_are_none_are_refused(widths: str) -> None:
    with pytest.raises(NetwrightError, match="widths cannot be"):
        create_model(f"mlp(widths={widths})")


def test_weights_start_with_the_spread_that_keeps_relus_signal() -> None:
    torch.manual_seed(0)
    model = MLP()
    weights, biases = [[p for p in model.parameters() if p.ndim == n] for n in (2, 1)]
    for weight in weights:
        assert weight.std().item() == pytest.approx(math.sqrt(2 / weight.shape[1]), rel=0.1)
    assert not any(bias.any() for bias in biases)
