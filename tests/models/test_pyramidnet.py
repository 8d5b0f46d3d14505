"""The paper's counts, widths and output dimensions, its block and its shortcut."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, list_models, variant
from netwright.models.pyramidnet import BasicBlock, Bottleneck, PaddedShortcut, widths
from netwright.models.resnet import Style

# Output dimension and number of parameters (M), from the paper's tables and for 101 layers from the authors' code.
PUBLISHED = {
    "pyramidnet110_a48": (64, 1.7),
    "pyramidnet110_a84": (100, 3.8),
    "pyramidnet110_a270": (286, 28.3),
    "pyramidnet164_a270": (1144, 27.0),
    "pyramidnet200_a240": (1024, 26.6),
    "pyramidnet272_a200": (864, 26.0),
    "pyramidnet101_a360": (1696, 42.5),
    "pyramidnet200_a300": (1456, 62.1),
    "pyramidnet200_a450": (2056, 116.4),
}


def counted(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("name", list_models("pyramidnet*"))
def test_depth_dimension_and_counts_are_the_papers(name: str) -> None:
    with torch.device("meta"):
        layers = counted(create_model(name, classes=variant(name).classes))
    dimension, published = PUBLISHED[name]
    weights = sum(layer.weight.numel() for layer in layers) / 1e6
    assert len(layers) == int(name.removeprefix("pyramidnet").split("_")[0])
    assert layers[-1].weight.shape[1] == dimension
    if name == "pyramidnet101_a360":  # its authors count norms and biases too
        assert f"{variant(name).params / 1e6:.1f}" == str(published)
    elif "110" in name:  # where the paper rounds widths down, or is off
        assert published < weights < 1.04 * published
    else:
        assert abs(weights - published) < 0.051


@pytest.mark.parametrize(("alpha", "published"), [(48, "1.7"), (84, "3.8")])
def test_with_widths_rounded_down_basic_blocks_have_the_papers_count(alpha: int, published: str) -> None:
    down = [16, *(16 + alpha * number // 54 for number in range(1, 55))]
    blocks = sum(9 * (before * after + after * after) for before, after in pairwise(down))
    assert f"{(9 * 3 * 16 + blocks + 10 * down[-1]) / 1e6:.1f}" == published


def test_every_block_adds_the_same_or_multiplies_by_the_same() -> None:
    assert widths(16, 270.0, 54, "additive") == list(range(21, 287, 5))
    assert [widths(16, alpha, 54, "multiplicative")[-1] for alpha in (4.75, 8.0, 27.0)] == [76, 128, 432]
    ratios = [after / before for before, after in pairwise(widths(1000, 27.0, 54, "multiplicative"))]
    assert ratios == pytest.approx([27 ** (1 / 54)] * 53, rel=1e-3)


def test_blocks_have_no_activation_before_their_first_convolution_nor_after_their_sum() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    basic = BasicBlock(8, 10, 1, PaddedShortcut(2, 1), Style("batch", "relu")).eval()
    branch = basic.bn3(basic.conv2(F.relu(basic.bn2(basic.conv1(basic.bn1(x))))))
    assert torch.allclose(basic(x), branch + torch.cat([x, torch.zeros(2, 2, 6, 6)], 1), atol=1e-6)
    deep = Bottleneck(8, 3, 1, PaddedShortcut(4, 1), Style("batch", "relu")).eval()
    branch = F.relu(deep.bn3(deep.conv2(F.relu(deep.bn2(deep.conv1(deep.bn1(x)))))))
    branch = deep.bn4(deep.conv3(branch))
    assert torch.allclose(deep(x), branch + torch.cat([x, torch.zeros(2, 4, 6, 6)], 1), atol=1e-6)
    assert deep(x).min() < 0


def test_the_shortcut_means_squares_and_adds_zero_channels() -> None:
    x = torch.arange(15.0).reshape(1, 1, 3, 5)
    y = PaddedShortcut(2, 2)(x)
    assert y.shape == (1, 3, 2, 3)
    assert torch.equal(y[0, 0], torch.tensor([[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]))
    assert not y[:, 1:].any()


@pytest.mark.parametrize(("stem", "negative"), [("cifar", True), ("imagenet", False)])
def test_only_large_images_are_activated_before_the_first_block(stem: str, negative: bool) -> None:
    torch.manual_seed(0)
    depth = 18 if stem == "imagenet" else 20
    model = create_model(f"pyramidnet110_a48(depth={depth}, stem={stem!r})")
    seen: list[torch.Tensor] = []
    model.get_submodule("layer1").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(torch.rand(2, 3, 64, 64))
    assert bool((seen[0] < 0).any()) == negative


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ("depth=111", "depth=110"),
        ("depth=32, block='bottleneck'", "depth=29"),
        ("depth=110, stem='imagenet'", "18, 34"),
        ("alpha=0.5, widening='multiplicative'", "at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(options: str, fix: str) -> None:
    with pytest.raises(NetwrightError) as caught:
        create_model(f"pyramidnet110_a48({options})")
    assert fix in caught.value.fix
