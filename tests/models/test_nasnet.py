"""NASNet-A: the paper's sizes and costs, edges of stride 2, what cells see, dropped paths, the auxiliary head."""

from math import ceil
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.cost import macs_of
from netwright.models import create_model
from netwright.models.nasnet import NORMAL, REDUCTION, Cell, Fit, NASNet, PadToHalve, Plan, Style, initialise
from netwright.nn.output import Outputs

SMALL: dict[str, Any] = {"repeats": 2, "features": 96, "stem": 4, "classes": 3}
LARGE = {
    **{"cell_stem_0": (168, 83), "cell_stem_1": (336, 42), "cell_0": (1008, 42), "cell_5": (1008, 42)},
    **{"reduction_cell_0": (1344, 21), "cell_6": (2016, 21), "cell_11": (2016, 21)},
    **{"reduction_cell_1": (2688, 11), "cell_12": (4032, 11), "cell_17": (4032, 11)},
}
MOBILE = {
    **{"cell_stem_0": (44, 56), "cell_stem_1": (88, 28), "cell_0": (264, 28), "cell_3": (264, 28)},
    **{"reduction_cell_0": (352, 14), "cell_4": (528, 14), "cell_7": (528, 14)},
    **{"reduction_cell_1": (704, 7), "cell_8": (1056, 7), "cell_11": (1056, 7)},
}


def normal_cell(fit: Fit, drop_path: float = 0.0) -> Cell:
    torch.manual_seed(0)
    return Cell(NORMAL, (5, 6), 4, fit, drop_path, Style("batch", "relu"))


@pytest.mark.parametrize(
    ("name", "side", "table", "cells"), [("nasnetalarge", 331, LARGE, 22), ("nasnetamobile", 224, MOBILE, 16)]
)
def test_it_has_the_papers_sizes(name: str, side: int, table: dict[str, tuple[int, int]], cells: int) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        model = create_model(name).eval()
        for cell in table:
            layer = model.get_submodule(cell)
            layer.register_forward_hook(lambda _, __, y, cell=cell: shapes.__setitem__(cell, tuple(y.shape[1:])))
        model(torch.rand(1, 3, side, side))
    assert shapes == {cell: (channels, size, size) for cell, (channels, size) in table.items()}
    assert sum(isinstance(layer, Cell) for layer in model.modules()) == cells


@pytest.mark.parametrize(("name", "side", "published"), [("nasnetalarge", 331, 23.8e9), ("nasnetamobile", 224, 564e6)])
def test_it_costs_the_multiply_adds_of_the_papers_table(name: str, side: int, published: float) -> None:
    with torch.device("meta"):
        macs = macs_of(create_model(name, classes=1000), torch.rand(1, 3, side, side))
    assert macs == pytest.approx(published, rel=0.002)


@pytest.mark.parametrize("plan", [NORMAL, REDUCTION])
def test_a_plan_sums_five_pairs_and_gives_all_that_no_row_sees(plan: Plan) -> None:
    seen = {state for row in plan.rows for _, state in row}
    assert len(plan.rows) == 5
    assert all(state in ("now", "before") or state < number for number, row in enumerate(plan.rows) for _, state in row)
    assert {*range(5)} - seen <= set(plan.output)


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("height", [1, 2, 5, 8])
def test_stride_2_looks_at_odd_pixels_of_even_sides_and_at_even_pixels_of_odd_sides(
    kernel_size: int, height: int
) -> None:
    x = torch.randn(2, 1, height, 9)
    centre = F.pad(torch.ones(1, 1, 1, 1), (kernel_size // 2,) * 4)
    y = F.conv2d(PadToHalve(kernel_size)(x), centre, stride=2)
    assert y.shape[-2:] == (ceil(height / 2), 5)
    assert torch.equal(y, x[..., (height + 1) % 2 :: 2, ::2])


def test_max_pooling_never_prefers_an_edge() -> None:
    pool = Style("batch", "relu").operation("max3", 4, 4, 2)
    assert torch.equal(pool(torch.full((1, 4, 6, 7), -3.0)), torch.full((1, 4, 3, 4), -3.0))


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 7), (6, 7)])
def test_an_output_twice_as_large_is_halved_by_two_interleaved_grids(height: int, width: int) -> None:
    cell = normal_cell("halved").eval()
    before = torch.randn(2, 6, height, width)
    x = F.pad(before.relu(), (0, 1, 0, 1))
    even, odd = x[..., :height:2, :width:2], x[..., 1::2, 1::2]
    wanted = [F.conv2d(even, cell.path_1.conv.weight), F.conv2d(odd, cell.path_2.conv.weight)]
    halved = cell.fitted(before)
    assert halved.shape == (2, 4, ceil(height / 2), ceil(width / 2))
    assert torch.allclose(halved, cell.final_path_bn(torch.cat(wanted, 1)), atol=1e-5)


def test_a_cell_without_its_operations_gives_what_is_passed_on_unchanged() -> None:
    cell = normal_cell("squeezed", drop_path=1.0)
    now, before = torch.randn(2, 5, 6, 6), torch.randn(2, 6, 6, 6)
    y = cell(now, before)
    now, before = cell.conv_1x1(now), cell.conv_prev_1x1(before)
    nothing = torch.zeros_like(now)
    assert torch.equal(y, torch.cat([before, nothing, nothing, before, nothing, now], 1))
    assert not torch.equal(cell.eval()(torch.randn(2, 5, 6, 6), torch.randn(2, 6, 6, 6))[:, 4:8], nothing)


def test_operations_of_one_cell_are_dropped_each_by_itself() -> None:
    cell = normal_cell("squeezed", drop_path=0.5)
    now, before = torch.randn(64, 5, 6, 6), torch.randn(64, 6, 6, 6)
    rows = cell(now, before).unflatten(1, (6, 4)).abs().sum((2, 3, 4))  # N 6
    gone = (rows[:, [1, 2, 4]] == 0).float()  # rows of two operations, so a quarter each
    assert gone.mean(0).tolist() == pytest.approx([0.25] * 3, abs=0.15)
    assert not torch.equal(gone[:, 0], gone[:, 1])


def test_paths_are_dropped_more_the_deeper_they_are() -> None:
    model = NASNet(**SMALL, drop_path=0.3)
    shares = [layer.drop_path.probability for layer in model.modules() if isinstance(layer, Cell)]
    assert shares == pytest.approx([0.3 * number / 10 for number in range(1, 11)])


@pytest.mark.parametrize("over_reduction", [True, False])
def test_each_cell_sees_the_two_outputs_before_it_but_may_look_over_a_reduction(over_reduction: bool) -> None:
    model = NASNet(**SMALL, over_reduction=over_reduction).eval()
    names = {model.conv0: "conv0"} | {model.get_submodule(place.name): place.name for place in model.places}
    made: dict[int, str] = {}
    seen: dict[str, list[str]] = {}
    kept: list[Tensor] = []  # so that no two tensors share an id

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        seen[names[layer]] = [made.get(id(x), "image") for x in given]
        made[id(output)] = names[layer]
        kept.append(output)

    for layer in names:
        layer.register_forward_hook(note)
    model(torch.rand(1, 3, 64, 64))
    order = list(names.values())
    wanted = {name: [order[place - 1], order[max(0, place - 2)]] for place, name in enumerate(order) if place > 0}
    if over_reduction:
        wanted |= {"cell_2": ["reduction_cell_0", "cell_0"], "cell_4": ["reduction_cell_1", "cell_2"]}
    assert seen == {"conv0": ["image"], **wanted}


def test_the_auxiliary_head_speaks_in_training_alone_and_from_two_thirds_of_the_way() -> None:
    torch.manual_seed(0)
    model, x = NASNet(**SMALL, aux=True), torch.rand(2, 3, 64, 64)
    output = model(x)
    assert isinstance(output, Outputs) and [scores.shape for scores in output.auxiliary] == [(2, 3)]
    output.auxiliary[0].square().sum().backward()
    reached = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    cells = {place.name for place in model.places if place.name not in ("reduction_cell_1", "cell_4", "cell_5")}
    assert reached == {"conv0", "aux_logits", *cells}
    assert model.get_submodule(model.auxiliary_names[0]) is model.aux_logits
    assert isinstance(model.eval()(x), Tensor)


def test_without_classes_or_by_default_there_is_no_auxiliary_head() -> None:
    for model in (NASNet(**SMALL), NASNet(**{**SMALL, "classes": 0}, aux=True)):
        assert model.aux_logits is None and model.auxiliary_names == ()
        assert isinstance(model.train()(torch.rand(2, 3, 64, 64)), Tensor)


@pytest.mark.parametrize(("features", "near"), [(1000, 960), (40, 96), (120, 96), (1080, 1056)])
def test_features_that_do_not_divide_are_refused(features: int, near: int) -> None:
    with pytest.raises(NetwrightError, match=f"features cannot be {features}") as caught:
        NASNet(features=features)
    assert str(near) in caught.value.fix


def test_convolutions_start_with_the_authors_variance() -> None:
    torch.manual_seed(0)
    layers = {(1, 5): nn.Conv2d(64, 80, 5), (64, 7): nn.Conv2d(64, 64, 7, groups=64)}
    for (groups, kernel_size), layer in layers.items():
        initialise(layer)
        fan_out = layer.out_channels // groups * kernel_size**2
        assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_without_norm_the_scores_stay_within_bounds() -> None:
    torch.manual_seed(0)
    maps = create_model("nasnetamobile(norm='none')").stages(torch.randn(1, 3, 64, 64))
    assert all(0.1 < map_.std().item() < 200 for map_ in maps)
