"""FractalNet beyond what every family promises: the expansion rule, joins, drop-path, and plain columns."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model, variant
from netwright.models._parity import relative_error
from netwright.models._weights import load_weights
from netwright.models.fractalnet import Block, Fractal, FractalNet, Join, JoinKind, Unit, global_column, paths_kept

SMALL = "channels=(4, 6), dropout=0.0"
MILLIONS = {  # table 3
    "fractalnet20_narrow": 2.1,
    "fractalnet40_narrow": 4.8,
    "fractalnet80_narrow": 10.2,
    "fractalnet160_narrow": 21.1,
}
DRAWS = 4000


def fractalnet(options: str) -> FractalNet:
    torch.manual_seed(0)
    model = create_model(f"fractalnet20({SMALL}, {options})")
    assert isinstance(model, FractalNet)
    return model


def scores(model: FractalNet, x: Tensor, only: int) -> Tensor:
    """What the network says with one column, counted from the deepest, which is 0."""
    for block in model.blocks:
        x = block(x, torch.tensor(only))
    return model.fc(x.mean((2, 3)))


def count_units(model: nn.Module) -> int:
    return sum(isinstance(layer, Unit) for layer in model.modules())


@pytest.mark.parametrize("name", MILLIONS)
def test_the_narrow_ones_have_the_papers_millions_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, classes=variant(name).classes)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == MILLIONS[name]


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_column_c_of_a_block_is_two_to_the_c_minus_one_convolutions_deep(columns: int) -> None:
    with torch.device("meta"):
        depths = [count_units(fractalnet(f"columns={columns}, column={c}")) for c in range(1, columns + 1)]
        assert depths == [2 * 2 ** (c - 1) for c in range(1, columns + 1)]
        assert count_units(fractalnet(f"columns={columns}")) == 2 * (2**columns - 1) == sum(depths)


@pytest.mark.parametrize(("name", "depth"), [("fractalnet20", 20), ("fractalnet160_narrow", 160)])
def test_names_count_the_convolutions_of_the_deepest_path(name: str, depth: int) -> None:
    columns = variant(name).options.get("columns", 3)
    with torch.device("meta"):
        assert count_units(create_model(f"{name}(column={columns})")) == depth


@torch.no_grad()
def test_three_columns_expand_as_the_rule_says() -> None:
    torch.manual_seed(0)
    block = fractalnet("columns=3").eval().blocks[0]
    assert isinstance(block, Block)
    x = torch.randn(2, 3, 8, 8)

    def unit(path: str, z: Tensor) -> Tensor:
        return block.fractal.get_submodule(f"{path}conv")(z)

    def two(path: str, z: Tensor) -> tuple[Tensor, Tensor]:
        return unit(path, z), unit(f"{path}second.", unit(f"{path}first.", z))

    half = torch.stack(two("first.", x)).mean(0)
    ends = [unit("", x), *two("second.", half)]
    wanted = torch.stack([F.max_pool2d(end, 2) for end in ends]).mean(0)  # one join of three, not a join of joins
    assert relative_error(block(x, None), wanted) <= 1e-6


@pytest.mark.parametrize(("kind", "share"), [("mean", 1 / 3), ("sum", 1.0)])
def test_a_join_is_element_by_element(kind: JoinKind, share: float) -> None:
    columns = list(torch.randn(3, 2, 4, 5, 5))
    assert torch.allclose(Join(kind, 0.15)(columns, None), share * (columns[0] + columns[1] + columns[2]))


def test_a_join_that_drops_is_over_what_is_left() -> None:
    columns = list(torch.randn(3, 2, 4, 5, 5))
    deepest, shallowest = torch.tensor(0), torch.tensor(2)
    assert torch.equal(Join("mean", 0.15)(columns, deepest), columns[2])
    assert torch.equal(Join("mean", 0.15)(columns, shallowest), columns[0])
    torch.manual_seed(0)
    local = torch.tensor(-1)
    assert torch.allclose(Join("mean", 0.0)(columns, local), torch.stack(columns).mean(0))
    subsets = [kept for size in (1, 2, 3) for kept in combinations(columns, size)]
    means = [torch.stack(kept).mean(0) for kept in subsets]
    joined = [Join("mean", 0.5)(columns, local) for _ in range(100)]
    assert {next(i for i, m in enumerate(means) if torch.allclose(m, y, atol=1e-6)) for y in joined} == set(range(7))


@pytest.mark.parametrize("inputs", [2, 3, 4])
@pytest.mark.parametrize("drop_path", [0.15, 0.7, 1.0])
def test_local_drop_path_leaves_each_input_out_as_often_as_it_should(inputs: int, drop_path: float) -> None:
    torch.manual_seed(0)
    kept = torch.stack([paths_kept(inputs, torch.tensor(-1), drop_path) for _ in range(DRAWS)])
    assert kept.any(1).all()
    wanted = 1 - drop_path + drop_path**inputs / inputs  # all left out: one comes back, any as likely
    assert torch.allclose(kept.float().mean(0), torch.tensor(wanted), atol=4 * (0.25 / DRAWS) ** 0.5)
    alone = (kept.sum(1) == 1).float().mean().item()
    wanted_alone = inputs * (1 - drop_path) * drop_path ** (inputs - 1) + drop_path**inputs
    assert alone == pytest.approx(wanted_alone, abs=4 * (0.25 / DRAWS) ** 0.5)


def test_global_drop_path_leaves_one_column_where_it_passes_and_all_where_it_does_not() -> None:
    rows = {0: [False, False, True], 1: [False, True, False], 2: [True, False, False], 3: [True, True, True]}
    for only, wanted in rows.items():
        assert paths_kept(3, torch.tensor(only), 0.15).tolist() == wanted


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_its_share_of_the_draws_is_global_and_takes_each_column_as_often(share: float) -> None:
    torch.manual_seed(0)
    draws = torch.stack([global_column(3, share, torch.device("cpu")) for _ in range(DRAWS)])
    found = [(draws == column).float().mean().item() for column in (-1, 0, 1, 2)]
    assert found == pytest.approx([1 - share, *[share / 3] * 3], abs=4 * (0.25 / DRAWS) ** 0.5)


def test_one_subnetwork_serves_a_whole_batch() -> None:
    model = fractalnet("columns=3, drop_path=0.5")
    x = torch.rand(1, 3, 8, 8).expand(6, -1, -1, -1)
    batches = [model(x) for _ in range(10)]
    assert all(torch.allclose(scores, scores[:1].expand_as(scores), atol=1e-5) for scores in batches)
    assert len({round(scores[0, 0].item(), 4) for scores in batches}) > 3


def test_without_drop_path_training_draws_nothing() -> None:
    model = fractalnet("columns=3, drop_path=0.0, global_path=0.0")
    x = torch.rand(4, 3, 8, 8)
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("column", [1, 2, 3])
@torch.no_grad()
def test_a_column_alone_is_the_fractal_that_dropped_the_others(column: int, tmp_path: Path) -> None:
    fractal = fractalnet("columns=3").eval()
    for buffer in fractal.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    torch.save(fractal.state_dict(), tmp_path / "fractal.pt")
    plain = fractalnet(f"columns=3, column={column}").eval()
    x = torch.rand(2, 3, 8, 8)
    assert relative_error(plain(x), scores(fractal, x, 3 - column)) > 0.1
    assert not load_weights(plain, tmp_path / "fractal.pt", strict=False).missing
    assert relative_error(plain(x), scores(fractal, x, 3 - column)) <= 1e-6


def test_a_dropped_column_gets_gradients_of_zero_and_the_kept_one_others() -> None:
    fractal = fractalnet("columns=3")
    scores(fractal, torch.rand(4, 3, 8, 8), 0).square().sum().backward()
    deepest = dict(fractalnet("columns=3, column=3").named_parameters())
    for name, parameter in fractal.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()) == (name in deepest), name


@torch.no_grad()
def test_all_columns_together_answer_otherwise_than_one() -> None:
    fractal = fractalnet("columns=3").eval()
    x = torch.rand(2, 3, 8, 8)
    assert all(relative_error(fractal(x), scores(fractal, x, only)) > 0.01 for only in range(3))


def test_dropout_rises_evenly_from_block_to_block() -> None:
    with torch.device("meta"):
        blocks = FractalNet().blocks
    shares = [{unit.dropout.p for unit in block.modules() if isinstance(unit, Unit)} for block in blocks]
    assert [round(share, 6) for (share,) in shares] == [0.0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("options", ["columns=3, column=4", "channels=()"])
def test_fractals_that_cannot_be_built_are_refused(options: str) -> None:
    with pytest.raises(NetwrightError):
        create_model(f"fractalnet20({options})")


def test_a_fractal_of_one_column_is_a_convolution() -> None:
    with torch.device("meta"):
        blocks = [block for block in fractalnet("columns=1").modules() if isinstance(block, Fractal)]
    assert [count_units(block) for block in blocks] == [1, 1]
