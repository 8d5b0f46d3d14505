"""Xception: the paper's figure 5, separable convolutions beside full ones, and its two ablations."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._parity import reference_network
from netwright.models.xception import Block, SeparableConv2d, Style, Xception

TABLE = {
    "conv1": (32, 149),
    "conv2": (64, 147),
    "block1": (128, 74),
    "block2": (256, 37),
    "block3": (728, 19),
    **{f"block{number}": (728, 19) for number in range(4, 12)},
    "block12": (1024, 10),
    "conv3": (1536, 10),
    "conv4": (2048, 10),
}


def style(*, skip: bool = True) -> Style:
    return Style("none", "relu", None, skip)


def separable_layers(model: nn.Module) -> list[SeparableConv2d]:
    return [layer for layer in model.modules() if isinstance(layer, SeparableConv2d)]


def test_it_has_the_papers_sizes() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        model = Xception().eval()
        for name in TABLE:
            layer = model.get_submodule(name)
            layer.register_forward_hook(lambda _, __, y, name=name: shapes.__setitem__(name, tuple(y.shape[1:])))
        model(torch.rand(1, 3, 299, 299))
    assert shapes == {name: (channels, side, side) for name, (channels, side) in TABLE.items()}


def test_it_has_36_layers_of_which_the_first_two_are_full_convolutions() -> None:
    with torch.device("meta"):
        model = Xception()
    full = [layer for layer in (model.conv1, model.conv2) if layer.groups == 1]
    assert len(full) + len(separable_layers(model)) == 36


def test_the_middle_flow_is_as_long_as_one_likes_but_not_empty() -> None:
    with torch.device("meta"):
        model = create_model("xception(middle=16)")
        middle = [
            block for block in model.modules() if isinstance(block, Block) and isinstance(block.skip, nn.Identity)
        ]
        assert len(middle) == 16
        assert [map_.shape[-1] for map_ in model.stages(torch.rand(1, 3, 299, 299))] == [147, 74, 37, 19, 10]
        with pytest.raises(NetwrightError, match="middle cannot be 0"):
            create_model("xception(middle=0)")


def test_a_separable_convolution_is_a_full_one_whose_kernels_are_products() -> None:
    torch.manual_seed(0)
    layer, x = SeparableConv2d(5, 7, "batch", None), torch.randn(2, 5, 6, 9)
    kernel = layer.pointwise.weight * layer.conv1.weight.transpose(0, 1)  # 7 5 1 1 times 1 5 3 3 -> 7 5 3 3
    assert torch.allclose(layer(x), F.conv2d(x, kernel, padding=1), atol=1e-5)


def test_an_activation_between_its_parts_stands_between_them() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        layers = separable_layers(create_model("xception(between='elu')"))
    assert all(isinstance(layer.between, nn.ELU) for layer in layers)
    layer, x = SeparableConv2d(5, 7, "batch", "elu"), torch.randn(2, 5, 6, 9)
    wanted = layer.pointwise(F.elu(F.conv2d(x, layer.conv1.weight, padding=1, groups=5)))
    assert torch.allclose(layer(x), wanted, atol=1e-5)


@pytest.mark.parametrize(("widths", "stride"), [((4, 4, 4), 1), ((4, 6, 6), 1), ((4, 4, 6), 2)])
def test_a_block_adds_its_input_or_a_projection_of_it(widths: tuple[int, ...], stride: int) -> None:
    torch.manual_seed(0)
    block, plain = Block(widths, stride, style()), Block(widths, stride, style(skip=False))
    plain.load_state_dict({name: tensor for name, tensor in block.state_dict().items() if "skip" not in name})
    x = torch.randn(2, 4, 7, 7)
    added = block(x) - plain(x)
    if widths[0] == widths[-1] and stride == 1:
        assert torch.allclose(added, x, atol=1e-5)
    else:
        weight = block.skip.get_parameter("weight")
        wanted = F.conv2d(x, weight, block.skip.get_parameter("bias"), stride)
        assert torch.allclose(added, wanted, atol=1e-5)


def test_the_first_block_alone_begins_without_an_activation() -> None:
    with torch.device("meta"):
        model = Xception()
    begins = [isinstance(model.get_submodule(name).rep[0], nn.ReLU) for name in model.block_names]
    assert begins == [False, *[True] * 11]


def test_a_map_is_the_last_of_its_resolution() -> None:
    seen: list[Tensor] = []
    with torch.device("meta"):
        model = Xception().eval()
        for name in ("block1", "block2", "block3", "block12"):  # those that halve
            model.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        maps = model.stages(torch.rand(1, 3, 64, 64))
    assert len(maps) == 5
    assert all(map_ is x for map_, x in zip(maps, seen, strict=False))


@pytest.mark.parametrize(("side", "last"), [(32, 1), (64, 2)])
def test_the_smallest_image_leaves_one_pixel(side: int, last: int) -> None:
    with torch.device("meta"):
        assert Xception().eval().stages(torch.rand(1, 3, side, side))[-1].shape[-2:] == (last, last)


def test_weights_start_with_the_references_spread() -> None:
    torch.manual_seed(0)
    reference, model = reference_network("timm/legacy_xception"), create_model("xception(middle=8)", classes=1000)
    given = dict(model.named_parameters())
    for name, wanted in reference.named_parameters():
        spread = wanted.std().item()
        assert given[name].std().item() == pytest.approx(spread, rel=0.15), name
        assert given[name].mean().item() == pytest.approx(wanted.mean().item(), abs=0.15 * spread + 1e-9), name


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_separable_convolution_without_norm_keeps_the_scale(norm: str) -> None:
    torch.manual_seed(0)
    layer = separable_layers(create_model(f"xception(norm={norm!r}, middle=1)"))[5]
    y = layer.conv1(torch.randn(1, layer.conv1.in_channels, 32, 32))
    wanted = 1.0 if norm == "none" else (2 / layer.conv1.in_channels) ** 0.5
    assert y.std().item() == pytest.approx(wanted, rel=0.1)
