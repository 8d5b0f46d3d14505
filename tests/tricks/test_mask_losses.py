"""Losses on masks against their formulas written out, torchvision and scipy, and what they do together."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.engine.plans import DataPlan
from netwright.engine.run import Batch
from netwright.engine.trick import Tricks
from netwright.tasks.segmentation import Segmentation
from netwright.tricks import TRICKS
from netwright.tricks.border_weights import two_distances, weight_map
from tests.support import Scenes, tiny_mask_run

N, K, SIZE = 3, 3, (6, 7)


def built(spec: str) -> Any:
    return TRICKS.build(spec)


def scores(*, seed: int = 0) -> Tensor:
    return (2 * torch.randn(N, K, *SIZE, generator=torch.Generator().manual_seed(seed))).requires_grad_()


def labels(*, ignored: bool = True) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.randint(-1 if ignored else 0, K, (N, *SIZE), generator=draw)


def targets(task: Segmentation | None = None, label: Tensor | None = None) -> Tensor:
    label = labels() if label is None else label
    return (task or Segmentation(K)).batch(torch.zeros(N, 3, *SIZE), label)


def several_labels() -> Tensor:
    return torch.randint(-1, 2, (N, K, *SIZE), generator=torch.Generator().manual_seed(4))


def assert_same(found: Tensor, expected: Tensor, output: Tensor) -> None:
    """The same value and gradients; both are sums of about a hundred float32 numbers of the order of one."""
    torch.testing.assert_close(found, expected)
    mine, theirs = (torch.autograd.grad(loss, output, retain_graph=True)[0] for loss in (found, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def judged(*tricks: str, output: Tensor, target: Tensor, **options: Any) -> Tensor:
    """What a run with these tricks minimises."""
    run = tiny_mask_run(*tricks, **options)
    return run.loss(output, Batch(torch.zeros(N, 3, *SIZE), labels(), target, torch.arange(N)), run)


def known_part(k: int, output: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and truth of a class at the pixels that have a label."""
    known = labels() >= 0
    return output.softmax(1)[:, k][known], (labels() == k)[known].float()


class TestDice:
    @pytest.mark.parametrize("background", [True, False])
    @pytest.mark.parametrize("smooth", [1.0, 7.0])
    def test_is_the_papers(self, background: bool, smooth: float) -> None:
        output = scores()
        each: list[Tensor] = []
        for k in range(int(background), K):
            p, q = known_part(k, output)
            each.append((2 * (p * q).sum() + smooth) / (p.square().sum() + q.square().sum() + smooth))
        task = Segmentation(K, background=background)
        found = built(f"dice(weight=1, smooth={smooth})").criterion(task, output, targets())
        assert_same(found, 1 - torch.stack(each).mean(), output)

    def test_is_added_to_the_tasks_own(self) -> None:
        output, task = scores(), Segmentation(K)
        whole = built("dice(weight=1)").criterion(task, output, targets())
        expected = 0.7 * F.cross_entropy(output, labels(), ignore_index=-1) + 0.3 * whole
        assert_same(judged("dice(weight=0.3)", output=output, target=targets()), expected, output)

    def test_is_zero_where_all_is_right_and_one_where_nothing_is(self) -> None:
        label = labels(ignored=False)
        right, wrong = (60.0 * F.one_hot((label + shift) % K, K).movedim(3, 1) for shift in (0, 1))
        loss = built("dice(weight=1, smooth=1e-6)").criterion
        assert loss(Segmentation(K), right, targets(label=label)).item() == pytest.approx(0, abs=1e-6)
        assert loss(Segmentation(K), wrong, targets(label=label)).item() == pytest.approx(1, abs=1e-6)

    def test_classes_that_overlap(self) -> None:
        output, label = scores(), several_labels()
        each: list[Tensor] = []
        for k in range(K):
            known = label[:, k] >= 0
            p, q = output.sigmoid()[:, k][known], label[:, k][known].float()
            each.append((2 * (p * q).sum() + 1) / (p.square().sum() + q.square().sum() + 1))
        task = Segmentation(K, several=True)
        found = built("dice(weight=1)").criterion(task, output, targets(task, label))
        assert_same(found, 1 - torch.stack(each).mean(), output)

    def test_a_weight_of_two_is_a_pixel_twice(self) -> None:
        output = scores()
        twice = torch.cat([output, output[:1]])
        weights = torch.tensor([2.0, 1, 1]).view(-1, 1, 1, 1)
        loss = built("dice(weight=1)").criterion
        target = targets()
        repeated = torch.cat([target, target[:1]])
        expected = loss(Segmentation(K), twice, repeated)
        torch.testing.assert_close(loss(Segmentation(K), output, target * weights), expected)

    def test_ignored_pixels_get_no_gradient(self) -> None:
        output = scores()
        (slope,) = torch.autograd.grad(built("dice(weight=1)").criterion(Segmentation(K), output, targets()), output)
        assert (slope.movedim(1, 3)[labels() < 0] == 0).all()
        assert (slope != 0).any()

    @pytest.mark.parametrize("other", ["focal", "class_weights", "tversky"])
    def test_regions_are_of_all_pixels_whatever_weighs_the_rest(self, other: str) -> None:
        output = scores()
        alone = judged(other, output=output, target=targets())
        regions = built("dice(weight=1)").criterion(Segmentation(K), output, targets())
        both = judged("dice", other, output=output, target=targets())
        torch.testing.assert_close(both, 0.5 * alone + 0.5 * regions)


class TestTversky:
    def expected(self, output: Tensor, alpha: float, beta: float) -> Tensor:
        each: list[Tensor] = []
        for k in (1, 2):
            p, q = known_part(k, output)
            hits, made_up, missed = (p * q).sum(), (p * (1 - q)).sum(), ((1 - p) * q).sum()
            each.append((hits + 1) / (hits + alpha * made_up + beta * missed + 1))
        return torch.stack(each)

    @pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (0.7, 0.3), (1.0, 0.0)])
    @pytest.mark.parametrize("gamma", [1.0, 4 / 3, 3.0])
    def test_is_the_papers(self, alpha: float, beta: float, gamma: float) -> None:
        output = scores()
        found = built(f"tversky(alpha={alpha}, beta={beta}, gamma={gamma}, weight=1)").criterion(
            Segmentation(K), output, targets()
        )
        expected = ((1 - self.expected(output, alpha, beta)) ** (1 / gamma)).mean()
        assert_same(found, expected, output)

    def test_halves_are_dice_and_ones_are_jaccard(self) -> None:
        output = 60.0 * F.one_hot(labels(ignored=False).roll(1, 2), K).movedim(3, 1)
        metrics = Segmentation(K).metrics(output[:1], labels()[:1])
        for price, name in ((0.5, "dice"), (1.0, "iou")):
            spec = f"tversky(alpha={price}, beta={price}, weight=1, smooth=1e-6)"
            found = built(spec).criterion(Segmentation(K), output[:1], targets()[:1])
            assert 1 - found.item() == pytest.approx(metrics[name].item(), abs=1e-5)

    @pytest.mark.parametrize("other", ["focal", "class_weights"])
    def test_regions_are_of_all_pixels_whatever_weighs_the_rest(self, other: str) -> None:
        output = scores()
        alone = judged(other, output=output, target=targets())
        regions = built("tversky(weight=1)").criterion(Segmentation(K), output, targets())
        both = judged("tversky(weight=0.5)", other, output=output, target=targets())
        torch.testing.assert_close(both, 0.5 * alone + 0.5 * regions)

    def test_what_is_missed_costs_more_than_what_is_made_up(self) -> None:
        label = torch.zeros(1, 4, 4).long()
        label[:, :2] = 1
        more, less = (torch.where(torch.arange(4)[:, None] < rows, 9.0, -9.0).expand(4, 4) for rows in (3, 1))
        target = targets(Segmentation(2), label)
        loss = built("tversky(weight=1)").criterion
        costs = [loss(Segmentation(2), torch.stack([-part, part])[None], target).item() for part in (more, less)]
        assert costs[0] < costs[1]

    @pytest.mark.parametrize("gamma", [1.0, 3.0])
    def test_is_finite_where_all_is_right(self, gamma: float) -> None:
        label = labels(ignored=False)
        output = (100.0 * F.one_hot(label, K).movedim(3, 1)).requires_grad_()
        loss = built(f"tversky(weight=1, gamma={gamma})").criterion(Segmentation(K), output, targets(label=label))
        (slope,) = torch.autograd.grad(loss, output)
        assert loss.item() == pytest.approx(0, abs=0.011)  # (1e-6)^(1/3)
        assert slope.isfinite().all()


class TestFocalOnMasks:
    @pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0, 10.0])
    def test_is_a_mean_over_labelled_pixels(self, gamma: float) -> None:
        output = scores().detach()
        output[0, :, 0, 0] = 0
        output[0, labels()[0, 1, 1].clamp(min=0), 1, 1] = 200.0  # so sure that nothing is left of its weight
        output.requires_grad_()
        surprise = F.cross_entropy(output, labels(), ignore_index=-1, reduction="none")
        expected = ((1 - (-surprise).exp()) ** gamma * surprise).sum() / (labels() >= 0).sum()
        torch.testing.assert_close(judged(f"focal(gamma={gamma})", output=output, target=targets()), expected)

    @pytest.mark.parametrize("gamma", [0.5, 2.0])
    def test_of_classes_that_overlap_it_is_torchvisions(self, gamma: float) -> None:
        from torchvision.ops import sigmoid_focal_loss

        output, label, task = scores(), several_labels(), Segmentation(K, several=True)
        known = label >= 0
        found = built(f"focal(gamma={gamma})").criterion(task, output, targets(task, label))
        assert_same(found, sigmoid_focal_loss(output[known], label[known].float(), -1, gamma, "mean"), output)


class TestClassWeightsOnMasks:
    def test_are_inverse_frequencies_of_pixels(self) -> None:
        run = tiny_mask_run("class_weights")
        source = Scenes(8)
        counts = torch.from_numpy(source.pixel_counts).double()
        weight = (counts.sum() / K / counts).float()
        output = scores()
        each = F.cross_entropy(output, labels(), weight, ignore_index=-1, reduction="sum") / (labels() >= 0).sum()
        found = run.loss(output, Batch(torch.zeros(N, 3, *SIZE), labels(), targets(), torch.arange(N)), run)
        assert_same(found, each, output)

    def test_have_mean_one_over_the_pixels_of_training(self) -> None:
        from netwright.tricks.class_weights import class_counts, weights

        source = Scenes(8)
        counts = class_counts("class_weights", DataPlan(source, K, 4))
        assert counts.tolist() == source.pixel_counts.tolist()
        assert (weights(counts, 1.0) * counts).sum().item() == pytest.approx(counts.sum().item())

    def test_a_class_without_pixels_is_no_trouble(self) -> None:
        source = Scenes(8)
        source.pixel_counts = np.array([500, 30, 0])
        trick = built("class_weights")
        trick.data(DataPlan(source, K, 4))
        assert trick.counts.tolist() == [500, 30, 1]

    def test_classes_that_overlap_are_refused(self) -> None:
        with pytest.raises(NetwrightError, match="class_weights weighs classes that exclude each other") as caught:
            tiny_mask_run("class_weights", several=True)
        assert "--without class_weights" in caught.value.fix


def by_hand(things: NDArray[np.bool_], w0: float, sigma: float) -> NDArray[np.float64]:
    """The formula, one distance transform for each thing."""
    found: Any = ndimage.label(things)
    each = np.sort([ndimage.distance_transform_edt(found[0] != i + 1) for i in range(found[1])], axis=0)
    return 1 + w0 * np.exp(-((each[0] + each[1]) ** 2) / (2 * sigma**2))


class TestBorderWeights:
    def test_two_pixels_and_what_lies_between(self) -> None:
        things = np.array([[1, 0, 0, 0, 1, 0]], bool)
        distances = [(0, 4), (1, 3), (2, 2), (1, 3), (0, 4), (1, 5)]
        expected = [1 + 10 * np.exp(-((first + second) ** 2) / 50) for first, second in distances]
        np.testing.assert_allclose(weight_map(things, 10, 5)[0], expected, rtol=1e-6)

    @pytest.mark.parametrize("n", [2, 3, 5, 17, 40])
    def test_is_the_formula_with_many_things(self, n: int) -> None:
        things = np.zeros((50, 60), bool)
        for row, column in np.random.default_rng(n).integers(0, (50, 60), (n, 2)):
            things[row : row + 3, column : column + 2] = True
        np.testing.assert_allclose(weight_map(things, 10, 5), by_hand(things, 10, 5), rtol=1e-6)

    @pytest.mark.parametrize(("w0", "sigma", "n"), [(10, 1, 30), (1000, 2, 12), (0.1, 0.5, 60)])
    def test_what_lies_far_from_things_is_left_out_for_nothing(self, w0: float, sigma: float, n: int) -> None:
        things = np.zeros((90, 70), bool)
        for row, column in np.random.default_rng(n).integers(0, (90, 70), (n, 2)):
            things[row : row + 4, column : column + 3] = True
        np.testing.assert_allclose(weight_map(things, w0, sigma), by_hand(things, w0, sigma), rtol=2e-7)

    def test_with_all_of_the_picture_in_reach_bits_of_their_numbers_tell_the_same(self) -> None:
        things = np.zeros((40, 44), bool)
        for row, column in np.random.default_rng(3).integers(0, (40, 44), (9, 2)):
            things[row, column] = True
        regions, n = ndimage.label(things)
        away = np.sort([ndimage.distance_transform_edt(regions != number) for number in range(1, n + 1)], axis=0)
        assert n > 4
        for found, expected in zip(two_distances(things), away[:2], strict=True):
            np.testing.assert_allclose(found, expected)

    @pytest.mark.parametrize("n", [0, 1])
    def test_fewer_than_two_things_weigh_nothing(self, n: int) -> None:
        things = np.zeros((8, 9), bool)
        things[2:4, 2:4] = n
        first, second = two_distances(things)
        assert np.isinf(second).all()
        assert np.isfinite(first).all() == (n == 1)
        assert (weight_map(things, 10, 5) == 1).all()

    def test_multiplies_targets_before_mixing(self) -> None:
        run = tiny_mask_run("border_weights(w0=4, sigma=2)")
        label = labels()
        given = Batch(torch.zeros(N, 3, *SIZE), label, targets(), torch.arange(N))
        found = run.tricks.through("batch", given, run)
        for i in range(N):
            weight = torch.from_numpy(weight_map((label[i] > 0).numpy(), 4, 2))
            torch.testing.assert_close(found.target[i], given.target[i] * weight)
        assert (found.target.sum(1)[label < 0] == 0).all()
        assert torch.equal(found.label, label)
        order = [each.name for each in Tricks(map(built, ("border_weights", "cutmix", "label_smoothing", "mixup")))]
        assert order[0] == "border_weights"

    def test_the_loss_is_weighted_and_still_a_mean_over_pixels(self) -> None:
        run = tiny_mask_run("border_weights")
        output, label = scores(), labels()
        batch = run.tricks.through("batch", Batch(torch.zeros(N, 3, *SIZE), label, targets(), torch.arange(N)), run)
        weight = torch.from_numpy(np.stack([weight_map(each > 0, 10, 5) for each in label.numpy()]))
        each = F.cross_entropy(output, label, ignore_index=-1, reduction="none") * weight
        assert_same(run.loss(output, batch, run), each.sum() / (label >= 0).sum(), output)

    @pytest.mark.parametrize("task", [Segmentation(K, background=False), Segmentation(K, several=True)])
    def test_without_a_background_it_is_refused(self, task: Segmentation) -> None:
        run: Any = type("Run", (), {"task": task})
        with pytest.raises(NetwrightError, match="no class here is the background") as caught:
            built("border_weights").start(run)
        assert "--without border_weights" in caught.value.fix
