"""The paper's counts, depths and widths, and where its dropout acts."""

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, list_models, variant
from netwright.models.preact_resnet import PreActBasic

PUBLISHED = {
    "wrn16_4": "2.7",
    "wrn16_8": "11.0",
    "wrn22_8": "17.2",
    "wrn28_10": "36.5",
    "wrn28_12": "52.5",
    "wrn40_1": "0.6",
    "wrn40_2": "2.2",
    "wrn40_4": "8.9",
    "wrn40_8": "35.7",
}


def test_counts_round_to_the_papers() -> None:
    assert {name: f"{variant(name).params / 1e6:.1f}" for name in list_models("wrn*")} == PUBLISHED


@pytest.mark.parametrize("name", ["wrn16_4", "wrn28_10", "wrn40_2"])
def test_depth_counts_every_convolution_and_channels_are_widened(name: str) -> None:
    depth, widen = map(int, name.removeprefix("wrn").split("_"))
    with torch.device("meta"):
        model = create_model(name)
        maps = model.stages(torch.rand(1, 3, 32, 32))
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == depth
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(16 * widen, 32, 32), (32 * widen, 16, 16), (64 * widen, 8, 8)]


def test_dropout_is_between_the_convolutions_of_each_block() -> None:
    torch.manual_seed(0)
    model = create_model("wrn16_4(widen=1, dropout=1.0)")
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(model.get_submodule("layer1")(x), x)  # only what goes around is left
    model.eval()
    assert not torch.equal(model.get_submodule("layer1")(x), x)
    places = [
        name.split(".")[-1]
        for name, _ in next(b for b in model.modules() if isinstance(b, PreActBasic)).named_children()
    ]
    assert places.index("norm2") < places.index("dropout") < places.index("conv2")


def test_weights_start_as_in_the_authors_code() -> None:
    torch.manual_seed(0)
    model = create_model("wrn16_8")
    for layer in (layer for layer in model.modules() if isinstance(layer, nn.Conv2d)):
        wanted = (2 / (layer.out_channels * layer.kernel_size[0] ** 2)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(wanted, rel=0.1)
    assert not model.get_parameter("fc.bias").any()


@pytest.mark.parametrize(("depth", "nearest"), [(27, 28), (4, 10), (30, 28), (41, 40)])
def test_other_depths_are_refused_with_the_nearest(depth: int, nearest: int) -> None:
    with pytest.raises(NetwrightError, match=f"depth cannot be {depth}") as caught:
        create_model(f"wrn28_10(depth={depth})")
    assert f"depth={nearest}" in caught.value.fix
