"""VGG: the paper's columns, the scaling rules that continue them, and what is refused."""

import math

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant
from netwright.models._family import Family
from netwright.models._parity import tensors_of
from netwright.models.vgg import VGG

DEPTHS = {"vgg11": 11, "vgg13": 13, "vgg16": 16, "vgg19": 19}
MILLIONS = {"vgg11": 133, "vgg13": 133, "vgg16": 138, "vgg19": 144}  # the paper's table 2


def meta(name: str, classes: int = 10) -> Family:
    with torch.device("meta"):
        return create_model(name, classes=classes)


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("name", DEPTHS)
def test_depth_and_size_are_the_papers(name: str) -> None:
    weighted = [layer for layer in meta(name).modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(weighted) == DEPTHS[name]
    assert round(variant(name).params / 1e6) == MILLIONS[name]


def test_vgg16_has_column_d() -> None:
    model = meta("vgg16")
    widths = [layer.out_channels for layer in convolutions(model)]
    assert widths == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    shapes = [tuple(map_.shape[1:]) for map_ in model.stages(torch.rand(1, 3, 224, 224, device="meta"))]
    assert shapes == [(64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14), (512, 7, 7)]


@pytest.mark.parametrize(("blocks", "layers", "width"), [(3, 2, 32), (2, 1, 8), (5, 3, 16)])
def test_parameters_follow_from_the_three_sizes(blocks: int, layers: int, width: int) -> None:
    model = meta(f"vgg(blocks={blocks}, layers={layers}, width={width}, head='pool')")
    wanted, before = 0, 3
    for block in range(blocks):
        channels = width * 2**block
        wanted += 9 * before * channels + 9 * (layers - 1) * channels**2 + 3 * layers * channels  # bias, norm
        before = channels
    assert sum(p.numel() for p in model.parameters()) == wanted + 10 * before + 10
    assert model.smallest == 2**blocks


def test_channels_double_up_to_512() -> None:
    model = meta("vgg(blocks=6, layers=1, width=64)")
    assert [layer.out_channels for layer in convolutions(model)] == [64, 128, 256, 512, 512, 512]


def test_one_number_of_layers_stands_for_every_block() -> None:
    assert tensors_of(meta("vgg13")) == tensors_of(meta("vgg16(layers=2)"))
    assert tensors_of(meta("vgg(layers=(2, 2, 2))")) == tensors_of(meta("vgg"))


def test_one_class_makes_all_of_them() -> None:
    assert tensors_of(meta("vgg(blocks=5, layers=(2, 2, 3, 3, 3), width=64, head='dense', norm='none')")) == tensors_of(
        meta("vgg16")
    )


def test_a_pooled_head_scores_the_mean_of_the_last_map() -> None:
    torch.manual_seed(0)
    model = create_model("vgg(width=8)", classes=7).eval()
    x = torch.rand(2, 3, 32, 24)
    assert torch.allclose(model(x), model.get_head()(model.stages(x)[-1].mean((2, 3))), atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("vgg(layers=(2, 2))", "give blocks=2 as well"),
        ("vgg16(blocks=3)", "give blocks=5 as well"),
        ("vgg(layers=())", "give one number, or 3"),
        ("vgg(layers=0)", "between 1 and"),
        ("vgg(layers=(2, 0, 2))", "between 1 and"),
        ("vgg(width=513)", "between 1 and 512"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(spec: str, said: str) -> None:
    with pytest.raises(NetwrightError) as caught:
        create_model(spec)
    assert said in caught.value.fix


def test_a_block_of_nothing_is_refused_without_a_name_too() -> None:
    with pytest.raises(NetwrightError, match=r"layers cannot be \(1, 0\)"):
        VGG(blocks=2, layers=(1, 0))


def test_weights_start_with_torchvisions_spread() -> None:
    torch.manual_seed(0)
    model = create_model("vgg", classes=1000)
    for layer in convolutions(model):
        wanted = math.sqrt(2 / (9 * layer.out_channels))
        assert layer.weight.std().item() == pytest.approx(wanted, rel=0.1)
        assert layer.bias is not None and not layer.bias.any()
    head = model.get_head()
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not head.bias.any()
