"""The paper's table of blocks, its linear bottlenecks and shortcuts, and torchvision's widths and statistics."""

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._parity import reference_network, relative_error, tensors_of
from netwright.models.mobilenet_v2 import InvertedResidual, Style
from netwright.nn.maps import ends, maps_at
from tests.models.test_mobilenet_v1 import assert_starts_as_its_reference, meta_model, million_macs, million_params


def make_block(channels: int = 8, stride: int = 1, *, skip: bool = True, linear: bool = True) -> InvertedResidual:
    torch.manual_seed(0)
    return InvertedResidual(8, channels, stride, 6, Style("batch", "relu6", skip, linear)).eval()


def test_blocks_are_those_of_the_papers_table() -> None:
    blocks = [block for block in meta_model("mobilenet_v2").modules() if isinstance(block, InvertedResidual)]
    convolutions = [[layer for layer in block.modules() if isinstance(layer, nn.Conv2d)] for block in blocks]
    channels = [16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    assert [layers[-1].out_channels for layers in convolutions] == channels
    assert [layers[-1].in_channels for layers in convolutions] == [32, *(6 * before for before in channels[:-1])]
    assert [place for place, layers in enumerate(convolutions) if layers[-2].stride == (2, 2)] == [1, 3, 6, 13]
    assert [len(layers) for layers in convolutions] == [2, *[3] * 16]
    assert [place for place, block in enumerate(blocks) if block.adds] == [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]


def test_cost_is_the_published_one() -> None:
    assert million_macs("mobilenet_v2") == pytest.approx(300, rel=0.01)
    assert million_params("mobilenet_v2") == pytest.approx(3.4, rel=0.04)
    assert million_macs("mobilenet_v2(width=1.4)") == pytest.approx(585, rel=0.01)


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.3, 1.4])
def test_other_widths_have_torchvisions_tensors(width: float) -> None:
    with torch.device("meta"):
        theirs = reference_network("torchvision/mobilenet_v2", width_mult=width)
    assert tensors_of(meta_model(f"mobilenet_v2(width={width})")) == tensors_of(theirs)


def test_expansion_widens_the_inside_of_blocks_alone() -> None:
    three, six = meta_model("mobilenet_v2(expansion=3)"), meta_model("mobilenet_v2")
    inner = [model.get_submodule("features.2.conv.1.0").get_parameter("weight").shape[0] for model in (three, six)]
    assert inner == [48, 96]
    x = torch.empty(1, 3, 64, 64, device="meta")
    assert [map_.shape for map_ in three.stages(x)] == [map_.shape for map_ in six.stages(x)]


def test_a_block_adds_its_input_where_shapes_agree() -> None:
    x = torch.randn(2, 8, 6, 6)
    block = make_block()
    assert torch.equal(block(x), x + block.conv(x))
    for other in (make_block(skip=False), make_block(16), make_block(stride=2)):
        assert torch.equal(other(x), other.conv(x))


def test_a_linear_bottleneck_keeps_negative_values() -> None:
    x = torch.randn(2, 8, 6, 6)
    given, cut = make_block(skip=False)(x), make_block(skip=False, linear=False)(x)
    assert given.min() < 0
    assert torch.equal(cut, given.clamp(0, 6))


def test_it_is_torchvisions_on_batch_statistics_too() -> None:
    torch.manual_seed(0)
    theirs, ours = reference_network("torchvision/mobilenet_v2", dropout=0.0), create_model("mobilenet_v2(dropout=0)")
    ours.load_state_dict({**theirs.state_dict(), **ours.get_head().state_dict(prefix="classifier.1.")})
    theirs.get_submodule("classifier").register_module("1", ours.get_head())
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(ours(x), theirs(x)) <= 1e-5
    for given, wanted in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert relative_error(given.float(), wanted.float()) <= 1e-5


def test_maps_are_the_last_before_each_halving() -> None:
    assert ends([2, 1, 2, 2, 1, 1]) == [1, 2, 5]
    x = torch.zeros(1)
    doubled = maps_at([nn.Identity(), AddOne(), AddOne(), AddOne()], [1, 3], x)
    assert torch.cat(doubled).tolist() == [1, 3]


class AddOne(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def test_weights_start_as_torchvisions() -> None:
    assert_starts_as_its_reference("mobilenet_v2")


@pytest.mark.parametrize("options", ["width=0", "expansion=0", "linear='no'"])
def test_networks_that_cannot_be_are_refused(options: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"mobilenet_v2({options})")
