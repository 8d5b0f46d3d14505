"""The papers' tables of stages and costs, compound scaling, fused blocks, stochastic depth, and norm constants."""

import pytest
import torch
import torchvision
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, list_models, variant
from netwright.models._parity import reference_network, relative_error
from netwright.models.efficientnet import Residual, Stage, scaled
from netwright.nn.drop_path import DropPath
from netwright.nn.squeeze_excite import SqueezeExcite
from tests.models.test_mobilenet_v1 import assert_starts_as_its_reference, meta_model, million_macs, million_params

NAMES = list_models("efficientnet*")


@pytest.mark.parametrize(
    ("name", "side", "macs", "params"),
    [
        ("efficientnet_b0", 224, 390, 5.3),
        ("efficientnet_b1", 240, 700, 7.8),
        ("efficientnet_b2", 260, 1_000, 9.2),
        ("efficientnet_b3", 300, 1_800, 12),
        ("efficientnet_b4", 380, 4_200, 19),
        ("efficientnet_b5", 456, 9_900, 30),
        ("efficientnet_b6", 528, 19_000, 43),
        ("efficientnet_b7", 600, 37_000, 66),
        ("efficientnet_v2_s", 384, 8_800, 22),
        ("efficientnet_v2_m", 480, 24_000, 54),
        ("efficientnet_v2_l", 480, 53_000, 120),
    ],
)
def test_cost_is_the_published_one(name: str, side: int, macs: float, params: float) -> None:
    assert variant(name).image_size == side
    assert million_macs(name) == pytest.approx(macs, rel=0.06)  # the authors pad odd maps otherwise
    assert million_params(name) == pytest.approx(params, rel=0.03)


@pytest.mark.parametrize(
    ("name", "blocks", "channels"),
    [
        ("efficientnet_b0", [1, 2, 2, 3, 3, 4, 1], [32, 16, 24, 40, 80, 112, 192, 320, 1280]),
        ("efficientnet_b1", [2, 3, 3, 4, 4, 5, 2], [32, 16, 24, 40, 80, 112, 192, 320, 1280]),
        ("efficientnet_b7", [4, 7, 7, 10, 10, 13, 4], [64, 32, 48, 80, 160, 224, 384, 640, 2560]),
        ("efficientnet_v2_s", [2, 4, 4, 6, 9, 15], [24, 24, 48, 64, 128, 160, 256, 1280]),
    ],
)
def test_stages_are_those_of_the_papers_tables(name: str, blocks: list[int], channels: list[int]) -> None:
    stem, *stages, last = meta_model(name).get_submodule("features").children()
    assert [len(list(stage.children())) for stage in stages] == blocks
    assert [last_convolution(part).out_channels for part in (stem, *stages, last)] == channels


def last_convolution(part: nn.Module) -> nn.Conv2d:
    return [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)][-1]


def test_scaling_rounds_channels_to_eights_and_blocks_up() -> None:
    stage = Stage(6, 5, 2, 112, 3)
    assert scaled(stage, 1.4, 1.8) == Stage(6, 5, 2, 160, 6)
    assert scaled(stage, 1.1, 1.2) == Stage(6, 5, 2, 120, 4)
    assert scaled(stage, 1, 1) == stage


def test_fused_blocks_are_full_convolutions_without_gates() -> None:
    _, *stages, _ = meta_model("efficientnet_v2_s").get_submodule("features").children()
    for number, stage in enumerate(stages, 1):
        for block in stage.children():
            convolutions = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            spatial = [layer for layer in convolutions if layer.kernel_size == (3, 3)]
            gates = [layer for layer in block.modules() if isinstance(layer, SqueezeExcite)]
            assert len(spatial) == 1
            assert (spatial[0].groups == 1) == (not gates) == (number <= 3)
            assert len(convolutions) == {1: 1, 2: 2, 3: 2}.get(number, 5)


def test_gates_squeeze_to_a_quarter_of_the_blocks_input() -> None:
    for block in (block for block in meta_model("efficientnet_b2").modules() if isinstance(block, Residual)):
        first = next(layer for layer in block.modules() if isinstance(layer, nn.Conv2d))
        (gate,) = (layer for layer in block.modules() if isinstance(layer, SqueezeExcite))
        assert gate.fc1.out_channels == first.in_channels // 4
        assert isinstance(gate.activation, nn.SiLU) and isinstance(gate.scale_activation, nn.Sigmoid)


@pytest.mark.parametrize("name", NAMES)
def test_chance_and_constants_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = create_model(name), reference_network(f"torchvision/{name}")
    chances = [layer.p for layer in theirs.modules() if isinstance(layer, torchvision.ops.StochasticDepth)]
    assert [layer.probability for layer in ours.modules() if isinstance(layer, DropPath)] == chances
    norms, shares = (
        [
            [(layer.eps, layer.momentum) for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)],
            [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)],
        ]
        for model in (ours, theirs)
    )
    assert norms == shares


def test_a_block_leaves_out_its_branch_but_never_the_signal() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4)
    branch = nn.Sequential(nn.Conv2d(3, 3, 1))
    assert torch.equal(Residual(branch, adds=True, drop_path=0.0)(x), x + branch(x))
    assert torch.equal(Residual(branch, adds=True, drop_path=1.0)(x), x)
    assert torch.equal(Residual(branch, adds=True, drop_path=1.0).eval()(x), x + branch(x))
    assert torch.equal(Residual(branch, adds=False, drop_path=1.0)(x), branch(x))


@pytest.mark.parametrize("skip", [True, False])
def test_blocks_add_where_shapes_agree(skip: bool) -> None:
    model = meta_model(f"efficientnet_b1(skip={skip})")
    adding = [block.adds for block in model.modules() if isinstance(block, Residual)]
    blocks = (2, 3, 3, 4, 4, 5, 2)
    assert adding == [skip and position > 0 for count in blocks for position in range(count)]


def test_it_is_torchvisions_on_batch_statistics_too() -> None:
    torch.manual_seed(0)
    options = {"dropout": 0.0, "stochastic_depth_prob": 0.0}
    theirs, ours = (
        reference_network("torchvision/efficientnet_b0", **options),
        create_model("efficientnet_b0(dropout=0, drop_path=0)", classes=1000),
    )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(ours(x), theirs(x)) <= 1e-5
    for given, wanted in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert relative_error(given.float(), wanted.float()) <= 1e-5


def test_weights_start_as_torchvisions() -> None:
    assert_starts_as_its_reference("efficientnet_b0")


@pytest.mark.parametrize("options", ["base='b1'", "width=0", "depth=0", "drop_path=2", "norm_eps=-1"])
def test_networks_that_cannot_be_are_refused(options: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"efficientnet_b0({options})")
