"""The paper's depths, counts and shapes, its residual equation, and a submodule named as a method."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant
from netwright.models._family import Family
from netwright.models._parity import reference_network
from netwright.models.preact_resnet import PreActBasic, PreActBottleneck, make_shortcut
from netwright.models.resnet import Style


def meta_model(name: str) -> Family:
    with torch.device("meta"):
        return create_model(name, classes=variant(name).classes)


def weighing(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(("depth", "projections"), [(110, 2), (164, 3), (1001, 3), (18, 3), (50, 4), (200, 4)])
def test_depth_counts_convolutions_and_head(depth: int, projections: int) -> None:
    assert len(weighing(meta_model(f"preact_resnet{depth}"))) == depth + projections


@pytest.mark.parametrize(("depth", "published"), [(110, "1.7"), (164, "1.7"), (1001, "10.2"), (200, "64.5")])
def test_weights_without_norms_round_to_the_published_number(depth: int, published: str) -> None:
    weights = sum(layer.weight.numel() for layer in weighing(meta_model(f"preact_resnet{depth}")))
    assert f"{weights / 1e6:.1f}" == published


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("preact_resnet110", [(16, 32), (32, 16), (64, 8)]),
        ("preact_resnet164", [(64, 32), (128, 16), (256, 8)]),
        ("preact_resnet34", [(64, 112), (64, 56), (128, 28), (256, 14), (512, 7)]),
        ("preact_resnet50", [(64, 112), (256, 56), (512, 28), (1024, 14), (2048, 7)]),
    ],
)
def test_maps_have_the_papers_shapes(name: str, shapes: list[tuple[int, int]]) -> None:
    side = variant(name).image_size
    maps = meta_model(name).stages(torch.rand(1, 3, side, side, device="meta"))
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(channels, side, side) for channels, side in shapes]


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (16, 2)])
def test_a_block_is_its_equation(channels: int, stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    basic = PreActBasic(
        8, channels, stride, make_shortcut(8, channels, stride, "batch", opens=False), Style("batch", "relu")
    ).eval()
    activated = F.relu(basic.norm1(x))
    branch = basic.conv2(F.relu(basic.norm2(basic.conv1(activated))))
    around = x if channels == 8 else F.conv2d(activated, basic.get_parameter("downsample.conv.weight"), stride=2)
    assert torch.allclose(basic(x), around + branch, atol=1e-6)
    assert basic(x).min() < 0  # nothing comes after the sum


def test_identity_shortcuts_carry_x_untouched_except_from_the_first_block() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 6, 6)
    for opens, wanted in ((False, x), (True, F.relu(x))):
        block = PreActBottleneck(16, 4, 1, make_shortcut(16, 16, 1, "none", opens=opens), Style("none", "relu"))
        nn.init.zeros_(block.conv3.weight)
        nn.init.zeros_(block.get_parameter("conv3.bias"))
        assert torch.equal(block(x), wanted)


@pytest.mark.parametrize(("name", "activated"), [("preact_resnet110", True), ("preact_resnet18", False)])
def test_the_first_shortcut_is_activated_where_the_paper_is_followed(name: str, activated: bool) -> None:
    shortcuts = [layer.downsample for layer in meta_model(name).modules() if isinstance(layer, PreActBasic)]
    assert [shortcut and shortcut.activated for shortcut in shortcuts[:2]] == [activated, False]


def test_weights_start_with_timms_spread() -> None:
    torch.manual_seed(0)
    reference, model = reference_network("timm/resnetv2_18"), create_model("preact_resnet18", classes=1000)
    for name, wanted in reference.named_parameters():
        assert model.get_parameter(name).std().item() == pytest.approx(wanted.std().item(), rel=0.1, abs=1e-9), name


def test_copies_show_their_own_maps() -> None:
    torch.manual_seed(0)
    model = create_model("preact_resnet164(layers=(2, 1, 1))").eval()
    x = torch.rand(1, 3, 8, 8)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied.stages(x)[-1], model.stages(x)[-1])
        nn.init.zeros_(copied.get_parameter("stages.2.blocks.0.conv3.weight"))
        nn.init.zeros_(copied.get_parameter("stages.2.blocks.0.downsample.conv.weight"))
        assert not copied.stages(x)[-1].any()
        assert model.stages(x)[-1].any()


def test_layers_must_hold_blocks() -> None:
    with pytest.raises(NetwrightError, match="layers cannot be"):
        create_model("preact_resnet50(layers=(3, 0))")
