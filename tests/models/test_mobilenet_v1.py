"""The paper's tables of layers, widths and multiply-adds; what a separable convolution is; how channels are rounded."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.engine.cost import macs_of
from netwright.models import create_model, variant
from netwright.models._family import Family
from netwright.models._parity import reference_network, tensors_of
from netwright.models.mobilenet_v1 import SeparableConv
from netwright.nn.conv import multiple_of_eight


def meta_model(name: str) -> Family:
    with torch.device("meta"):
        return create_model(name, classes=1000)


def million_macs(name: str) -> float:
    side = variant(name.split("(")[0]).image_size
    return macs_of(meta_model(name), torch.empty(1, 3, side, side, device="meta")) / 1e6


def million_params(name: str) -> float:
    return sum(p.numel() for p in meta_model(name).parameters()) / 1e6


def assert_starts_as_its_reference(name: str) -> None:
    """Every tensor's mean and spread within five standard errors of the reference's."""
    torch.manual_seed(0)
    ours, theirs = create_model(name, classes=1000), reference_network(variant(name).reference or "")
    wanted = dict(theirs.named_parameters())
    for part, given in ours.named_parameters():
        n, mean, spread = given.numel(), wanted[part].mean().item(), wanted[part].std().item()
        assert given.std().item() == pytest.approx(spread, rel=5 / n**0.5, abs=1e-9), part
        assert given.mean().item() == pytest.approx(mean, rel=1e-6, abs=5 * spread * (2 / n) ** 0.5 + 1e-9), part


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("mobilenet_v1", "569", "4.2"),
        ("mobilenet_v1_075", "325", "2.6"),
        ("mobilenet_v1_050", "149", "1.3"),
        ("mobilenet_v1_025", "41", "0.5"),
        ("mobilenet_v1(layers=(1, 2, 2, 1, 2))", "307", "2.9"),  # the paper's table 5
    ],
)
def test_cost_rounds_to_the_published_numbers(name: str, macs: str, params: str) -> None:
    assert f"{million_macs(name):.0f}" == macs
    assert f"{million_params(name):.1f}" == params


def test_layers_are_those_of_the_papers_table() -> None:
    layers = [layer for layer in meta_model("mobilenet_v1").modules() if isinstance(layer, nn.Conv2d)]
    depthwise, pointwise = layers[1::2], layers[2::2]
    assert (layers[0].out_channels, layers[0].stride) == (32, (2, 2))
    assert [layer.stride[0] for layer in depthwise] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert all(layer.groups == layer.in_channels == layer.out_channels for layer in depthwise)
    assert [layer.out_channels for layer in pointwise] == [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    assert all(layer.kernel_size == (1, 1) and layer.stride == (1, 1) for layer in pointwise)


def test_a_separable_convolution_is_a_full_one_whose_kernels_are_products() -> None:
    torch.manual_seed(0)
    block = SeparableConv(4, 6, 2, norm="none", activation="relu")
    for weight in (block.conv_dw.weight, block.conv_pw.weight):
        nn.init.uniform_(weight)  # nothing negative, so that the activations change nothing
    for bias in (block.conv_dw.bias, block.conv_pw.bias):
        assert bias is not None
        nn.init.zeros_(bias)
    kernels = block.conv_pw.weight * block.conv_dw.weight.squeeze(1)  # K C 1 1 · C h w -> K C h w
    x = torch.rand(2, 4, 9, 9)
    assert torch.allclose(block(x), F.conv2d(x, kernels, stride=2, padding=1), atol=1e-5)


def test_channels_are_rounded_to_eights_and_never_cut_by_more_than_a_tenth() -> None:
    assert [multiple_of_eight(channels) for channels in (1, 11, 12, 17, 19, 20, 44.8, 1792)] == [
        *(8, 16, 16, 16, 24, 24, 48, 1792)
    ]
    for tenths in range(10, 5000):
        rounded = multiple_of_eight(tenths / 10)
        assert rounded % 8 == 0 and 0.9 * tenths / 10 <= rounded <= max(8, tenths / 10 + 8)


def test_a_wider_network_has_the_tensors_of_timms() -> None:
    with torch.device("meta"):
        theirs = reference_network("timm/mobilenetv1_125")
    assert tensors_of(meta_model("mobilenet_v1(width=1.25)")) == tensors_of(theirs)


def test_weights_start_as_timms() -> None:
    assert_starts_as_its_reference("mobilenet_v1")


@pytest.mark.parametrize("options", ["layers=()", "layers=(1, 0)", "width=0", "width=11"])
def test_networks_that_cannot_be_are_refused(options: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"mobilenet_v1({options})")
