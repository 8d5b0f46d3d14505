"""The block's equation in convolutions, its norm over channels, its layer scale, and the paper's shapes and costs."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._parity import reference_network
from netwright.models.convnext import Block, ChannelNorm, Norm, Style
from netwright.nn.activation import make_activation
from netwright.nn.drop_path import DropPath
from netwright.nn.norm import NormKind, make_norm
from tests.models.test_mobilenet_v1 import assert_starts_as_its_reference, meta_model, million_macs, million_params


def make_block(norm: Norm = "channel", *, skip: bool = True, layer_scale: float = 0.5, drop_path: float = 0.0) -> Block:
    torch.manual_seed(0)
    return Block(8, Style(7, norm, "gelu", skip, layer_scale), drop_path)


def over_channels(x: Tensor) -> Tensor:
    """(x - mean) / deviation, over the channels of each place."""
    return (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize(
    ("name", "blocks", "width", "macs", "params"),
    [
        ("convnext_tiny", (3, 3, 9, 3), 96, "4.5", "29"),
        ("convnext_small", (3, 3, 27, 3), 96, "8.7", "50"),
        ("convnext_base", (3, 3, 27, 3), 128, "15.4", "89"),
        ("convnext_large", (3, 3, 27, 3), 192, "34.4", "198"),
    ],
)
def test_shapes_and_costs_are_the_papers(
    name: str, blocks: tuple[int, ...], width: int, macs: str, params: str
) -> None:
    model = meta_model(name)
    stages = list(model.get_submodule("features").children())[1::2]
    assert tuple(len(list(stage.children())) for stage in stages) == blocks
    shapes = [tuple(map_.shape[1:]) for map_ in model.stages(torch.empty(1, 3, 224, 224, device="meta"))]
    assert shapes == [(width * 2**i, 56 // 2**i, 56 // 2**i) for i in range(4)]
    assert f"{million_macs(name) / 1e3:.1f}" == macs
    assert f"{million_params(name):.0f}" == params


def test_the_norm_is_over_the_channels_of_each_place() -> None:
    torch.manual_seed(0)
    norm = ChannelNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(4, 6, 5, 5) * torch.rand(4, 6, 1, 1) + torch.randn(4, 1, 5, 5)
    wanted = over_channels(x) * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    assert torch.allclose(norm(x), wanted, atol=1e-5)
    assert not torch.allclose(over_channels(x), make_norm("layer", 6)(x), atol=0.1)


@pytest.mark.parametrize("norm", get_args(Norm))
def test_a_block_is_its_equation_in_convolutions(norm: Norm) -> None:
    block, x = make_block(norm), torch.randn(2, 8, 9, 9)
    depthwise = next(layer for layer in block.block if isinstance(layer, nn.Conv2d))
    first, second = (layer for layer in block.block if isinstance(layer, nn.Linear))
    normalise = over_channels if norm == "channel" else make_norm(norm, 8)
    y = normalise(F.conv2d(x, depthwise.weight, depthwise.bias, padding=3, groups=8))
    y = make_activation("gelu")(F.conv2d(y, first.weight[..., None, None], first.bias))
    y = F.conv2d(y, second.weight[..., None, None], second.bias)
    assert torch.allclose(block(x), x + 0.5 * y, atol=1e-5)


def test_the_norms_are_everyones_and_its_own() -> None:
    assert set(get_args(Norm)) == {*get_args(NormKind), "channel"}


def test_layer_scale_and_drop_path_act_on_the_branch_alone() -> None:
    x = torch.randn(2, 8, 5, 5)
    branch = make_block().block(x)
    assert torch.allclose(make_block(layer_scale=0.0)(x), x + branch)
    assert make_block(layer_scale=0.0).layer_scale is None
    assert torch.equal(make_block(drop_path=1.0)(x), x)
    assert torch.allclose(make_block(drop_path=1.0).eval()(x), x + 0.5 * branch)
    assert torch.equal(make_block(skip=False, drop_path=1.0)(x), branch)


def test_a_fresh_network_is_nearly_stem_halvings_and_head() -> None:
    torch.manual_seed(0)
    model = create_model("convnext_tiny(width=8)").eval()
    x = torch.rand(1, 3, 64, 64)
    first = model.get_submodule("features.0")(x)
    assert torch.allclose(model.stages(x)[0], first, atol=1e-4)
    assert not torch.equal(model.stages(x)[0], first)


@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_small", "convnext_base", "convnext_large"])
def test_chance_rises_as_torchvisions(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = create_model(name), reference_network(f"torchvision/{name}")
    chances = [layer.p for layer in theirs.modules() if isinstance(layer, torchvision.ops.StochasticDepth)]
    assert [layer.probability for layer in ours.modules() if isinstance(layer, DropPath)] == pytest.approx(chances)


def test_maps_stay_channels_last() -> None:
    model = create_model("convnext_tiny(width=8)").to(memory_format=torch.channels_last)
    x = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    assert all(map_.is_contiguous(memory_format=torch.channels_last) for map_ in model.stages(x))


@pytest.mark.parametrize(("kernel_size", "more"), [(3, -40), (11, 72)])
def test_the_kernel_size_is_that_of_depthwise_convolutions(kernel_size: int, more: int) -> None:
    channels = 3 * 96 + 3 * 192 + 9 * 384 + 3 * 768
    extra = million_params(f"convnext_tiny(kernel_size={kernel_size})") - million_params("convnext_tiny")
    assert extra * 1e6 == pytest.approx(more * channels)


def test_weights_start_as_torchvisions() -> None:
    assert_starts_as_its_reference("convnext_tiny")


def test_one_block_is_enough_and_a_single_image_trains_under_any_norm() -> None:
    for norm in get_args(Norm):
        model = create_model(f"convnext_tiny(layers=(1,), width=8, norm={norm!r})")
        assert model.smallest == 4
        assert model(torch.rand(1, 3, 16, 16)).isfinite().all()


@pytest.mark.parametrize("options", ["layers=()", "layers=(3, 0)", "kernel_size=4", "layer_scale=-1", "norm='bach'"])
def test_networks_that_cannot_be_are_refused(options: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"convnext_tiny({options})")
