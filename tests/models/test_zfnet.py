"""ZFNet: every size in the paper's figure 3, and the counts that follow from it."""

import pytest
import torch
from torch import nn

from netwright.models import create_model, variant
from netwright.models._family import Family
from netwright.models.zfnet import PIXEL_SPREAD, initialise

# Figure 3: maps and side after each convolution and each pooling, for an image of 224x224.
SHAPES = [(96, 110), (96, 55), (256, 26), (256, 13), (384, 13), (384, 13), (256, 13), (256, 6)]
COUNTS = {
    "conv": [
        96 * (7 * 7 * 3 + 1),
        256 * (5 * 5 * 96 + 1),
        384 * (3 * 3 * 256 + 1),
        384 * (3 * 3 * 384 + 1),
        256 * (3 * 3 * 384 + 1),
    ],
    "dense": [4096 * (6 * 6 * 256 + 1), 4096 * (4096 + 1), 1000 * (4096 + 1)],
}


def meta(spec: str = "zfnet") -> Family:
    with torch.device("meta"):
        return create_model(spec, classes=1000)


def size(layer: nn.Module) -> int:
    return sum(p.numel() for p in layer.parameters())


def test_every_layer_has_the_size_of_figure_3() -> None:
    x, shapes = torch.rand(1, 3, 224, 224, device="meta"), []
    for layer in meta().get_submodule("features").children():
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            shapes.append((x.shape[1], x.shape[2]))
    assert shapes == SHAPES


def test_every_layer_has_its_parameters() -> None:
    layers = list(meta().modules())
    assert [size(layer) for layer in layers if isinstance(layer, nn.Conv2d)] == COUNTS["conv"]
    assert [size(layer) for layer in layers if isinstance(layer, nn.Linear)] == COUNTS["dense"]
    assert sum(COUNTS["conv"] + COUNTS["dense"]) == variant("zfnet").params == 62_357_608


def test_maps_are_the_last_of_each_resolution() -> None:
    maps = meta().stages(torch.rand(1, 3, 224, 224, device="meta"))
    assert [tuple(map_.shape[1:3]) for map_ in maps] == [(96, 110), (96, 55), (256, 26), (256, 13), (256, 6)]


def test_the_smallest_image_keeps_a_pixel_and_a_smaller_one_does_not() -> None:
    assert meta().stages(torch.rand(1, 3, 47, 47, device="meta"))[-1].shape[2:] == (1, 1)
    with pytest.raises(RuntimeError, match="too small"):
        meta().maps(torch.rand(1, 3, 46, 46, device="meta"))


@pytest.mark.parametrize(("spec", "norms"), [("zfnet", 2), ("zfnet(response_norm=False)", 0)])
def test_contrast_is_normalised_after_the_first_two_poolings(spec: str, norms: int) -> None:
    kinds = [type(layer) for layer in meta(spec).get_submodule("features").children()]
    after = [kinds[place + 1 : place + 2] for place, kind in enumerate(kinds) if kind is nn.MaxPool2d]
    wanted = [[nn.LocalResponseNorm]] * 2 if norms else [[nn.Conv2d]] * 2
    assert after == [*wanted, []]
    assert kinds.count(nn.LocalResponseNorm) == norms


def test_dropout_follows_layers_6_and_7() -> None:
    layers = list(meta("zfnet(dropout=0.3)").get_submodule("classifier").children())
    assert [place for place, layer in enumerate(layers) if isinstance(layer, nn.Dropout) and layer.p == 0.3] == [2, 5]


def test_weights_start_with_the_papers_spread() -> None:
    torch.manual_seed(0)
    layers = {"first": nn.Conv2d(3, 96, 7), "later": nn.Conv2d(96, 64, 5), "dense": nn.Linear(300, 300)}
    for name, layer in layers.items():
        initialise(layer)
        wanted = 0.01 * PIXEL_SPREAD if name == "first" else 0.01
        assert layer.weight.std().item() == pytest.approx(wanted, rel=0.05), name
        assert not layer.bias.any(), name
