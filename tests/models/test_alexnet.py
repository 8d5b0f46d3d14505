"""AlexNet: its table of shapes and counts, and the paper's response normalisation."""

import math

import pytest
import torch
from torch import nn

from netwright.models import create_model, variant
from netwright.models._family import Family
from netwright.models.alexnet import make_response_norm
from netwright.nn.conv import conv_layers
from netwright.nn.maps import maps_of

TABLE = {
    "features.0": 23_296,
    "features.3": 307_392,
    "features.6": 663_936,
    "features.8": 884_992,
    "features.10": 590_080,
    "classifier.1": 37_752_832,
    "classifier.4": 16_781_312,
    "classifier.6": 4_097_000,
}


def meta(spec: str = "alexnet") -> Family:
    with torch.device("meta"):
        return create_model(spec, classes=1000)


def test_each_layer_has_its_published_parameters() -> None:
    model = meta()
    counts = {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in TABLE}
    assert counts == TABLE
    assert sum(counts.values()) == variant("alexnet").params


@pytest.mark.parametrize(("side", "sides"), [(224, [55, 27, 13, 6]), (63, [15, 7, 3, 1])])
def test_the_maps_have_the_papers_sizes(side: int, sides: list[int]) -> None:
    maps = meta().stages(torch.rand(1, 3, side, side, device="meta"))
    assert [map_.shape[1:] for map_ in maps] == [(c, s, s) for c, s in zip([64, 192, 256, 256], sides, strict=True)]


def test_no_smaller_image_would_do() -> None:
    with pytest.raises(RuntimeError, match="too small"):
        meta().maps(torch.rand(1, 3, 62, 62, device="meta"))


def test_response_norm_divides_by_the_strength_of_five_neighbours() -> None:
    torch.manual_seed(0)
    x = 50 * torch.randn(2, 8, 3, 3)
    y = make_response_norm()(x)
    for channel in range(8):
        near = x[:, max(0, channel - 2) : channel + 3]
        wanted = x[:, channel] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
        assert torch.allclose(y[:, channel], wanted, rtol=1e-4)


def test_response_norm_stands_between_activation_and_pooling() -> None:
    kinds = [type(layer) for layer in meta("alexnet(response_norm=True)").get_submodule("features").children()]
    first = [nn.Conv2d, nn.ReLU, nn.LocalResponseNorm, nn.MaxPool2d]
    assert kinds[:8] == first * 2
    assert kinds.count(nn.LocalResponseNorm) == 2
    assert nn.LocalResponseNorm not in [type(layer) for layer in meta().modules()]


def test_dropout_precedes_each_hidden_dense_layer() -> None:
    layers = list(meta("alexnet(dropout=0.3)").get_submodule("classifier").children())
    places = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Dropout) and layer.p == 0.3]
    assert places == [0, 3]


def test_weights_start_in_torchvisions_bounds() -> None:
    torch.manual_seed(0)
    model = create_model("alexnet", classes=10)
    for name in TABLE:
        layer = model.get_submodule(name)
        bound = 1 / math.sqrt(layer.weight[0].numel())
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound, name
        assert 0 < layer.bias.abs().max().item() <= bound, name


def test_a_norm_takes_the_bias_away_and_no_norm_takes_no_place() -> None:
    plain = conv_layers(3, 4, 3, norm="none", activation="relu")
    normed = conv_layers(3, 4, 3, norm="batch", activation="relu")
    assert [type(layer) for layer in plain] == [nn.Conv2d, nn.ReLU]
    assert [type(layer) for layer in normed] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [layers[0].bias is None for layers in (plain, normed)] == [False, True]


def test_maps_are_what_shrinking_layers_are_given_and_the_end() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3, 1, 1), nn.ReLU())
    x = torch.rand(1, 1, 16, 16)
    first, last = maps_of(layers, x)
    assert torch.equal(first, layers[1](layers[0](x)))
    assert torch.equal(last, layers(x))
