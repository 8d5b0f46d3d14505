"""Mixing pictures: boxes and areas against timm, blends against what a picture of one value must become."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.engine.run import Batch
from netwright.engine.trick import Tricks
from netwright.tricks import TRICKS
from netwright.tricks.cutmix import boxes
from tests.support import tiny_run

# A mean of independent draws leaves ± 4.5 of its standard deviations once in 150 000 times.
WIDE = 4.5


def unit_pictures(n: int, height: int, width: int, target: Tensor | None = None) -> Batch:
    """Picture i is 1 in channel i and 0 elsewhere, so that its pixels tell where they come from."""
    image = torch.eye(n)[:, :, None, None].repeat(1, 1, height, width)
    return Batch(image, torch.arange(n), torch.eye(n) if target is None else target, torch.arange(n))


def mixed(spec: str, batch: Batch, step: int = 0) -> Batch:
    run = tiny_run(spec)
    run.step = step
    run.ids = batch.id
    return run.tricks.through("batch", batch, run)


def only_one_box(image: Tensor) -> bool:
    """Whether each pixel is of one picture, and those of the other form a rectangle. N H W, 1 where the other."""
    rows, columns = image.amax(2), image.amax(1)
    return torch.equal(image, rows[:, :, None] * columns[:, None, :]) and bool(((image == 0) | (image == 1)).all())


def own_share(found: Batch) -> Tensor:
    """How much of each sample's target is its own. N."""
    return found.target.diagonal()


class TestCutmix:
    @pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12), (1, 1), (33, 5)])
    def test_boxes_are_timms(self, height: int, width: int) -> None:
        from timm.data.mixup import rand_bbox

        draw = np.random.default_rng(0)
        for weight in [0.0, 1.0, *draw.random(40).astype(np.float32)]:
            np.random.seed(7)
            expected = rand_bbox((3, height, width), np.float64(weight))
            np.random.seed(7)
            centre = torch.tensor([[np.random.randint(0, height), np.random.randint(0, width)]])
            assert boxes(torch.tensor([weight]), centre, height, width).tolist() == [list(map(int, expected))]

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 9), (1, 1)])
    def test_targets_are_mixed_by_the_pixels_that_were_pasted(self, height: int, width: int) -> None:
        for step in range(10):
            found = mixed("cutmix", unit_pictures(16, height, width), step)
            torch.testing.assert_close(found.target, found.image.mean((2, 3)), rtol=0, atol=1e-6)
            others = 1 - found.image.diagonal(dim1=0, dim2=1).permute(2, 0, 1)
            assert only_one_box(others)
            assert ((found.target > 0).sum(1) <= 2).all()  # one partner each
            assert ((found.target > 0).sum(0) <= 2 * 16).all()
            assert torch.equal(found.label, torch.arange(16))

    def test_dense_targets_are_pasted(self) -> None:
        batch = unit_pictures(8, 6, 7)
        found = mixed("cutmix", batch.changed(target=batch.image.clone()))
        assert torch.equal(found.target, found.image)
        assert not torch.equal(found.image, batch.image)

    @pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
    def test_shares_have_the_mean_of_the_papers_boxes(self, alpha: float) -> None:
        size, n = 9, 64
        kept = torch.cat(
            [
                own_share(found)[(found.target > 0).sum(1) == 2]  # its own partner, or a box of no area, tells nothing
                for found in (mixed(f"cutmix(alpha={alpha})", unit_pictures(n, size, size), s) for s in range(60))
            ]
        ).double()
        # 1 − λ is Beta too; the box is int(√(1 − λ) · 9) wide; along each side its centre is one of nine pixels.
        edges = [min(1.0, (i / size) ** 2) for i in range(size + 2)]
        chance = np.diff(scipy.stats.beta(alpha, alpha).cdf(edges))[1 : size + 1]
        sides = [
            np.mean([min(size, c + (k + 1) // 2) - max(0, c - k // 2) for c in range(size)]) for k in range(1, size + 1)
        ]
        pasted = (np.square(sides) * chance).sum() / chance.sum() / size**2
        # A picture that is wholly pasted over counts as having no partner; that is a box of 9 in the middle only.
        whole = chance[-1] / chance.sum() / size**2
        expected = 1 - (pasted - whole) / (1 - whole)
        assert abs(kept.mean() - expected) < WIDE * kept.std() / math.sqrt(len(kept))

    def test_what_is_unknown_comes_with_the_box_only(self) -> None:
        target = torch.zeros(32, 3)
        target[::2, 1] = torch.nan
        batch = unit_pictures(32, 4, 4, target)
        found = mixed("cutmix(alpha=0.3)", batch)
        untouched = (found.image == batch.image).flatten(1).all(1)
        assert untouched.sum() > 3
        assert torch.equal(found.target[untouched].isnan(), target[untouched].isnan())
        assert not found.target[:, [0, 2]].isnan().any()

    def test_mixes_several_labels_of_each_picture(self) -> None:
        labels = (torch.rand(16, 5, generator=torch.Generator().manual_seed(0)) < 0.4).float()
        for name in ("cutmix", "mixup(alpha=1)", "mixup_or_cutmix"):
            found = mixed(name, unit_pictures(16, 6, 6, labels))
            shares = found.image.mean((2, 3))  # of each picture in each
            torch.testing.assert_close(found.target, shares @ labels, rtol=0, atol=1e-6)


class TestMixupOrCutmix:
    N = 64

    def found(self, options: str, step: int = 0) -> Batch:
        return mixed(f"mixup_or_cutmix({options})", unit_pictures(self.N, 8, 8), step)

    def blended(self, found: Batch) -> Tensor:
        """Which samples have pixels of two pictures at once. N."""
        return ((found.image > 0) & (found.image < 1)).flatten(1).any(1)

    def test_targets_follow_the_pictures(self) -> None:
        for step in range(10):
            found = self.found("mixup=1, cutmix=1", step)
            torch.testing.assert_close(found.target, found.image.mean((2, 3)), rtol=0, atol=1e-6)
            assert ((found.target > 0).sum(1) <= 2).all()
            dense = unit_pictures(self.N, 8, 8)
            again = mixed("mixup_or_cutmix(mixup=1, cutmix=1)", dense.changed(target=dense.image.clone()), step)
            assert torch.equal(again.target, again.image)
            torch.testing.assert_close(again.image, found.image, rtol=0, atol=0)

    def test_each_alone(self) -> None:
        blends, pastes = self.found("switch=0, mixup=4"), self.found("switch=1")
        assert torch.equal(blends.image, blends.target[:, :, None, None].expand_as(blends.image))
        assert self.blended(blends).sum() > self.N - 5  # some may be their own partner
        assert not self.blended(pastes).any()
        assert only_one_box(1 - pastes.image.diagonal(dim1=0, dim2=1).permute(2, 0, 1))

    @pytest.mark.parametrize(("switch", "probability"), [(0.5, 1.0), (0.2, 0.6), (0.8, 0.3)])
    def test_shares_are_timms(self, switch: float, probability: float) -> None:
        from timm.data.mixup import Mixup

        theirs = Mixup(0.8, 1.0, prob=probability, switch_prob=switch, mode="elem", num_classes=2)
        np.random.seed(0)
        weight, pasted = theirs._params_per_elem(64 * self.N)
        options = f"mixup=0.8, cutmix=1.0, switch={switch}, probability={probability}"
        ours = [self.found(options, step) for step in range(64)]
        mix = torch.cat([self.blended(each) for each in ours])
        shares = torch.cat([own_share(each) for each in ours])
        n = len(mix)
        expected = probability * (1 - switch)
        assert abs(mix.float().mean() - expected) < WIDE * math.sqrt(expected * (1 - expected) / n) + 1 / self.N
        blended = weight[~pasted & (weight < 1)]
        assert scipy.stats.ks_2samp(shares[mix].numpy(), blended[(blended > 1e-6) & (blended < 1 - 1e-6)]).pvalue > 1e-4

    def test_as_often_as_it_says(self) -> None:
        before = unit_pictures(self.N, 8, 8)
        changed = torch.cat(
            [
                (self.found("switch=0, mixup=8, probability=0.3", s).image != before.image).flatten(1).any(1)
                for s in range(60)
            ]
        )
        # A sample is its own partner once in 64 times.
        expected, n = 0.3 * (1 - 1 / self.N), len(changed)
        assert abs(changed.float().mean() - expected) < WIDE * math.sqrt(expected * (1 - expected) / n)

    def test_who_is_not_mixed_stays_as_it_is(self) -> None:
        draw = torch.Generator().manual_seed(0)
        image, target = torch.randn(64, 3, 5, 5, generator=draw), torch.rand(64, 4, generator=draw).softmax(1)
        target[:, 2] = torch.where(torch.arange(64) % 2 == 0, torch.nan, target[:, 2])
        batch = Batch(image, torch.zeros(64, dtype=torch.long), target, torch.arange(64))
        found = mixed("mixup_or_cutmix(probability=0.3)", batch)
        same = (found.image == image).flatten(1).all(1)
        assert same.sum() > 30
        assert torch.equal(found.target[same].nan_to_num(-1), target[same].nan_to_num(-1))

    @pytest.mark.parametrize("other", ["mixup", "cutmix"])
    def test_cannot_be_given_with_either(self, other: str) -> None:
        with pytest.raises(NetwrightError, match=f"mixup_or_cutmix cannot be combined with {other}"):
            Tricks([TRICKS.build("mixup_or_cutmix"), TRICKS.build(other)])


@pytest.mark.parametrize("spec", ["mixup", "cutmix", "mixup_or_cutmix"])
def test_smoothing_comes_before_mixing(spec: str) -> None:
    order: list[Any] = [each.name for each in Tricks([TRICKS.build("label_smoothing"), TRICKS.build(spec)])]
    assert order == ["label_smoothing", spec]


def test_mixing_leaves_the_loss_between_those_of_its_parts() -> None:
    found = mixed("cutmix", unit_pictures(4, 8, 8))
    output = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    each = torch.stack([F.cross_entropy(output, torch.full((4,), k), reduction="none") for k in range(4)], 1)
    expected = (found.image.mean((2, 3)) * each).sum(1).mean()
    torch.testing.assert_close(tiny_run().task.loss(output, found.target), expected)
