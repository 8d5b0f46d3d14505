"""The paper's two tables of blocks, which of them are gated and how they activate, and torchvision's statistics."""

import pytest
import torch
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.models._parity import reference_network, relative_error, tensors_of
from netwright.models.mobilenet_v3 import InvertedResidual
from netwright.nn.squeeze_excite import SqueezeExcite
from tests.models.test_mobilenet_v1 import assert_starts_as_its_reference, meta_model, million_macs, million_params

# Kernel size, expansion, channels, gate, activation and stride, as the paper prints them.
LARGE = """
3 16 16 - RE 1 | 3 64 24 - RE 2 | 3 72 24 - RE 1 | 5 72 40 x RE 2 | 5 120 40 x RE 1 | 5 120 40 x RE 1 | 3 240 80 - HS 2
| 3 200 80 - HS 1 | 3 184 80 - HS 1 | 3 184 80 - HS 1 | 3 480 112 x HS 1 | 3 672 112 x HS 1 | 5 672 160 x HS 2
| 5 960 160 x HS 1 | 5 960 160 x HS 1
"""
SMALL = """
3 16 16 x RE 2 | 3 72 24 - RE 2 | 3 88 24 - RE 1 | 5 96 40 x HS 2 | 5 240 40 x HS 1 | 5 240 40 x HS 1 | 5 120 48 x HS 1
| 5 144 48 x HS 1 | 5 288 96 x HS 2 | 5 576 96 x HS 1 | 5 576 96 x HS 1
"""
SIZES = pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small"])


def blocks_of(name: str) -> list[InvertedResidual]:
    return [block for block in meta_model(name).modules() if isinstance(block, InvertedResidual)]


def in_print(block: InvertedResidual) -> str:
    """A block as a row of the paper's table."""
    bricks = [layer for layer in block.block if isinstance(layer, nn.Sequential)]
    depthwise, back = bricks[-2][0], bricks[-1][0]
    assert isinstance(depthwise, nn.Conv2d) and isinstance(back, nn.Conv2d)
    gate = "x" if any(isinstance(layer, SqueezeExcite) for layer in block.block) else "-"
    (activation,) = {type(brick[2]).__name__ for brick in bricks[:-1]}
    row = (depthwise.kernel_size[0], depthwise.out_channels, back.out_channels, gate)
    return " ".join(map(str, (*row, {"ReLU": "RE", "Hardswish": "HS"}[activation], depthwise.stride[0])))


@pytest.mark.parametrize(("name", "table"), [("mobilenet_v3_large", LARGE), ("mobilenet_v3_small", SMALL)])
def test_blocks_are_those_of_the_papers_table(name: str, table: str) -> None:
    assert list(map(in_print, blocks_of(name))) == [row.strip() for row in table.split("|")]


@SIZES
def test_blocks_end_without_activation_and_add_where_shapes_agree(name: str) -> None:
    for block in blocks_of(name):
        first, last = next(layer for layer in block.modules() if isinstance(layer, nn.Conv2d)), block.block[-1]
        assert isinstance(last, nn.Sequential) and len(last) == 2
        same = all(layer.stride == (1, 1) for layer in block.modules() if isinstance(layer, nn.Conv2d))
        assert block.adds == (same and first.in_channels == last[0].out_channels)
    assert not any(block.adds for block in blocks_of(f"{name}(skip=False)"))


def test_gates_are_hard_and_squeeze_to_a_quarter() -> None:
    gates = [layer for layer in meta_model("mobilenet_v3_large").modules() if isinstance(layer, SqueezeExcite)]
    assert [gate.fc1.out_channels for gate in gates] == [24, 32, 32, 120, 168, 168, 240, 240]  # in eights
    assert all(isinstance(gate.scale_activation, nn.Hardsigmoid) for gate in gates)
    assert all(isinstance(gate.activation, nn.ReLU) for gate in gates)


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("mobilenet_v3_large", 217, 5.4),
        ("mobilenet_v3_small", 56, 2.5),
        ("mobilenet_v3_large(width=0.75)", 155, 4.0),
    ],
)
def test_cost_is_the_published_one(name: str, macs: float, params: float) -> None:
    assert million_macs(name) == pytest.approx(macs, rel=0.01)
    assert million_params(name) == pytest.approx(params, abs=0.1)


@pytest.mark.parametrize("name", ["large", "small"])
def test_a_narrower_network_counts_as_timms_copy_of_the_authors(name: str) -> None:
    with torch.device("meta"):
        theirs = reference_network(f"timm/tf_mobilenetv3_{name}_075")
    wanted = sorted(p.numel() for p in theirs.parameters())
    assert sorted(p.numel() for p in meta_model(f"mobilenet_v3_{name}(width=0.75)").parameters()) == wanted


@SIZES
def test_it_is_torchvisions_on_batch_statistics_too(name: str) -> None:
    torch.manual_seed(0)
    theirs, ours = reference_network(f"torchvision/{name}", dropout=0.0), create_model(f"{name}(dropout=0)")
    ours.load_state_dict({**theirs.state_dict(), **ours.get_head().state_dict(prefix="classifier.3.")})
    theirs.get_submodule("classifier").register_module("3", ours.get_head())
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(ours(x), theirs(x)) <= 1e-5
    for given, wanted in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert relative_error(given.float(), wanted.float()) <= 1e-5


def test_without_gates_only_gates_are_missing() -> None:
    full, bare = (tensors_of(meta_model(f"mobilenet_v3_small(squeeze_excite={on})")) for on in (True, False))
    gated = sum(shape == (shape[0], shape[1], 1, 1) and ".fc" in name for name, shape in full.items() if len(shape) > 1)
    assert gated == 2 * 9
    assert sorted(bare.values()) == sorted(shape for name, shape in full.items() if ".fc" not in name)


def test_each_activation_acts_at_its_depth() -> None:
    model = meta_model("mobilenet_v3_small(activation='silu', shallow_activation='elu')")
    shallow = [name.split(".")[1] for name, layer in model.named_modules() if isinstance(layer, nn.ELU)]
    deep = {name.split(".")[1] for name, layer in model.named_modules() if isinstance(layer, nn.SiLU)}
    assert set(shallow) == {"1", "2", "3"}
    assert deep == {"0", *map(str, range(4, 13)), "1"}  # the last is the classifier's


@SIZES
def test_weights_start_as_torchvisions(name: str) -> None:
    assert_starts_as_its_reference(name)


@pytest.mark.parametrize("options", ["size='medium'", "width=0", "shallow_activation='none'"])
def test_networks_that_cannot_be_are_refused(options: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"mobilenet_v3_small({options})")
