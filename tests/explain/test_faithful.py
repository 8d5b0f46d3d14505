"""Whether a map is right: deletion, insertion and shuffled weights, on networks whose right map is known."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from netwright.explain._faithful import STEPS, Faithful, area, faithful, hottest, moved
from netwright.explain._method import Subject
from netwright.explain._randomised import randomised, rank_correlation, shuffled
from netwright.explain.gradcam import Gradcam
from netwright.models import create_model
from tests.explain.networks import Cam, Patch

ONE = torch.tensor([1])
SUBJECT = Subject(Patch(4, 8, 4, threshold=5.5))


def bright() -> torch.Tensor:
    image = torch.zeros(1, 3, 16, 16)
    image[:, :, 4:8, 8:12] = 2.0
    return image


def test_the_area_under_a_line() -> None:
    assert area([1.0, 0.5, 0.0]) == pytest.approx(0.5)
    assert area([1.0, 0.25, 0.0]) == pytest.approx(np.trapezoid([1, 0.25, 0], dx=1 / 2))


def test_the_hottest_are_chosen_and_ties_do_not_add_any() -> None:
    heat = torch.tensor([[3.0, 1.0], [2.0, 2.0]])
    assert hottest(heat, 0.5).tolist() == [[True, False], [True, False]]
    assert [int(hottest(torch.zeros(4, 4), step / STEPS).sum()) for step in (0, STEPS)] == [0, 16]


def test_moved_maps_are_the_same_map_elsewhere() -> None:
    heat = torch.zeros(16, 16)
    heat[4:8, 8:12] = torch.arange(16.0).view(4, 4)
    copies = moved(heat, 30, seed=0)
    assert all(torch.equal(copy.flatten().sort().values, heat.flatten().sort().values) for copy in copies)
    assert not any(torch.equal(copy, heat) for copy in copies)
    again = moved(heat, 30, seed=0)
    assert all(torch.equal(one, other) for one, other in zip(copies, again, strict=True))


def test_a_map_that_is_right_is_better_than_random_places() -> None:
    heat = torch.zeros(1, 16, 16)
    heat[:, 4:8, 8:12] = 1.0
    found = faithful(SUBJECT, bright(), ONE, heat, orders=19)
    assert found.p_deletion == found.p_insertion == pytest.approx(1 / 20)
    assert found.verdict.startswith("the map is better than the same map at 19 random places")


def test_a_map_that_is_wrong_is_not() -> None:
    heat = torch.zeros(1, 16, 16)
    heat[:, 12:16, 0:4] = 1.0
    found = faithful(SUBJECT, bright(), ONE, heat, orders=19)
    assert min(found.p_deletion, found.p_insertion) > 0.05
    assert found.verdict.startswith("the map is not better than")


def test_few_copies_never_suffice() -> None:
    found = Faithful(0.1, 0.9, (0.5,) * 9, (0.5,) * 9)
    assert found.p_deletion == pytest.approx(0.1)
    assert "not better" in found.verdict


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_correlation_against_scipy(levels: int) -> None:
    random = torch.Generator().manual_seed(0)
    one, other = (torch.randint(levels, (9, 7), generator=random).float() for _ in range(2))
    wanted = spearmanr(one.flatten().numpy(), other.flatten().numpy()).statistic
    assert rank_correlation(one, other) == pytest.approx(wanted, abs=1e-12)
    assert rank_correlation(one, torch.zeros(9, 7)) == 0


def test_shuffling_keeps_the_values_and_leaves_the_network_alone() -> None:
    network = Cam()
    other = shuffled(network, {"head.weight"}, seed=0)
    before, after = network.head.weight, other.get_parameter("head.weight")
    assert not torch.equal(before, after)
    assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert torch.equal(network.conv.weight, other.get_parameter("conv.weight"))


def test_the_map_of_a_shuffled_network_is_another() -> None:
    torch.manual_seed(0)
    subject, image = Subject(create_model("resnet20(width=8)", classes=5)), torch.randn(1, 3, 32, 32)
    heat = Gradcam().heat(subject, image, ONE)
    found = randomised(subject, Gradcam(), image, ONE, heat)
    assert found.head.value < 0.9
    assert found.whole.value < 0.9
    assert found.head.low <= found.head.value <= found.head.high
    assert "1 would mean" in found.verdict
