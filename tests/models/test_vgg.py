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


def course(blocks: int, layers: int, *, side: int, options: str = "") -> str:
    spec = f"vgg(blocks={blocks}, layers={layers}, head='dense', hidden=(128,), side={side // 2**blocks}, dropout=0.0"
    return f"{spec}, norm='none'{options})"


@pytest.mark.parametrize(("blocks", "layers", "millions"), [(1, 1, 1.05), (3, 1, 0.36), (3, 3, 0.74)])
def test_a_dense_head_may_have_any_layers_over_any_map(blocks: int, layers: int, millions: float) -> None:
    """Parameters of the depth study at 32 pixels: fewer with depth, since the dense layer sees a smaller map."""
    params = sum(p.numel() for p in meta(course(blocks, layers, side=32)).parameters())
    convolutions_, before = 0, 3
    for block in range(blocks):
        channels = 32 * 2**block
        convolutions_ += 9 * before * channels + 9 * (layers - 1) * channels**2 + layers * channels
        before = channels
    dense = before * (32 // 2**blocks) ** 2 * 128 + 128
    assert params == convolutions_ + dense + 128 * 10 + 10
    assert round(params / 1e6, 2) == millions


def test_a_dense_head_of_no_layer_scores_the_map_itself() -> None:
    model = create_model("vgg(width=8, head='dense', hidden=(), side=2, dropout=0.0)", classes=7).eval()
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(x), model.get_head()(model.stages(x)[-1].flatten(1)))


@pytest.mark.parametrize(("blocks", "layers"), [(1, 1), (1, 3), (3, 1), (2, 3)])
def test_shortcuts_add_a_blocks_input_and_no_parameter(blocks: int, layers: int) -> None:
    """Against the sum written out: act(f(x) + x), a wider block's missing channels zero, images not added."""
    torch.manual_seed(0)
    spec = f"vgg(blocks={blocks}, layers={layers}, width=8, norm='none'"
    plain, short = (create_model(f"{spec}, skip={skip})", classes=5).eval() for skip in (False, True))
    short.load_state_dict(dict(zip(short.state_dict(), plain.state_dict().values(), strict=True)))
    for model in (plain, short):
        with torch.no_grad():
            for layer in convolutions(model):
                torch.manual_seed(layer.in_channels)
                layer.bias.normal_()
    x, weights = torch.rand(2, 3, 16, 16), iter(convolutions(plain))
    wanted = x
    for block in range(blocks):
        layer = next(weights)
        kept = wanted if block else layer(wanted).relu()
        value = layer(wanted)
        for _ in range(layers - 1):
            value = next(weights)(value.relu())
        if block or layers > 1:
            missing = value.shape[1] - kept.shape[1]
            before = missing // 2
            value[:, before : before + kept.shape[1]] += kept
        wanted = nn.functional.max_pool2d(value.relu(), 2)
    torch.testing.assert_close(short.stages(x)[-1], wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(short(x), plain(x)) == (blocks == layers == 1)


def test_shortcuts_leave_the_stages_where_they_are() -> None:
    x = torch.rand(1, 3, 32, 32, device="meta")
    plain, short = (meta(f"vgg(skip={skip})").stages(x) for skip in (False, True))
    assert [map_.shape for map_ in short] == [map_.shape for map_ in plain]
