"""ResNeXt and wide bottlenecks: the tables of their papers, and the sum over paths that grouping stands for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._parity import reference_network
from netwright.models.resnet import Bottleneck, Style

# Widths of the 3x3 convolutions at each resolution, their groups, and blocks.
TABLE = {
    "resnet50": ([64, 128, 256, 512], 1, [3, 4, 6, 3]),
    "resnext50_32x4d": ([128, 256, 512, 1024], 32, [3, 4, 6, 3]),
    "resnext101_32x8d": ([256, 512, 1024, 2048], 32, [3, 4, 23, 3]),
    "resnext101_64x4d": ([256, 512, 1024, 2048], 64, [3, 4, 23, 3]),
    "wide_resnet50_2": ([128, 256, 512, 1024], 1, [3, 4, 6, 3]),
    "wide_resnet101_2": ([128, 256, 512, 1024], 1, [3, 4, 23, 3]),
}


@pytest.mark.parametrize("name", TABLE)
def test_bottlenecks_have_the_papers_widths_and_groups(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    widths, groups, blocks = TABLE[name]
    layers = [
        [block for block in model.get_submodule(f"layer{number}").children() if isinstance(block, Bottleneck)]
        for number in (1, 2, 3, 4)
    ]
    assert list(map(len, layers)) == blocks
    assert [layer[0].conv2.out_channels for layer in layers] == widths
    assert {block.conv2.groups for layer in layers for block in layer} == {groups}
    assert [layer[-1].conv3.out_channels for layer in layers] == [256, 512, 1024, 2048]


def test_a_grouped_bottleneck_is_a_sum_over_paths() -> None:
    torch.manual_seed(0)
    block = Bottleneck(32, 8, 1, nn.Identity(), Style("none", "relu", groups=4, width_per_group=16))
    block.requires_grad_(False)
    x = torch.randn(2, 32, 6, 6)
    bias1, bias2, bias3 = (block.get_parameter(f"conv{number}.bias") for number in (1, 2, 3))
    wanted = x + bias3[:, None, None]
    for path in range(4):
        mine = slice(2 * path, 2 * path + 2)  # 4 paths of 16·8/64 channels
        y = F.relu(F.conv2d(x, block.conv1.weight[mine], bias1[mine]))
        y = F.relu(F.conv2d(y, block.conv2.weight[mine], bias2[mine], padding=1))
        wanted = wanted + F.conv2d(y, block.conv3.weight[:, mine])
    assert block.conv2.weight.shape == (8, 2, 3, 3)
    assert torch.allclose(block(x), F.relu(wanted), atol=1e-5)


def test_grouped_weights_start_with_torchvisions_spread() -> None:
    torch.manual_seed(0)
    reference, model = reference_network("torchvision/resnext50_32x4d"), create_model("resnext50_32x4d")
    for name in ("layer1.0.conv2.weight", "layer4.2.conv2.weight", "layer4.2.conv3.weight"):
        assert model.get_parameter(name).std().item() == pytest.approx(
            reference.get_parameter(name).std().item(), rel=0.05
        )


@pytest.mark.parametrize("option", ["groups=2", "width_per_group=128"])
def test_basic_blocks_have_no_groups(option: str) -> None:
    with pytest.raises(NetwrightError, match="basic blocks have neither") as caught:
        create_model(f"resnet18({option})")
    assert "block='bottleneck'" in caught.value.fix
