"""`repeated_augmentation`: which samples a batch holds, and that each copy is another view."""

import numpy as np
import pytest
import torch

from netwright.data.loader import Loader, epoch_order, repeated
from netwright.engine.augment import Augment
from netwright.engine.plans import DataPlan
from netwright.tricks import TRICKS
from tests.support import CLASSES, NORMALISE, Pictures, tiny_run
from tests.tricks.test_maths import WIDE

OWN = dict(zip(Pictures(64).ids.tolist(), range(64), strict=True))


def loader(
    repeats: int, *, n: int = 64, batch_size: int = 16, weights: np.ndarray | None = None, seed: int = 0
) -> Loader:
    plan = TRICKS.load("repeated_augmentation")(repeats=repeats).data(
        DataPlan(Pictures(n), CLASSES, batch_size, weights)
    )
    return Loader(plan, seed)


def samples(found: Loader, epoch: int, start: int = 0) -> list[list[int]]:
    """Which samples the batches hold, told by their pictures."""
    place = {picture.numpy().tobytes(): i for i, picture in enumerate(Pictures(len(found.plan.train)).images)}
    return [[place[picture.numpy().tobytes()] for picture in raw.image] for raw in found.epoch(epoch, start)]


class TestRepeatedAugmentation:
    @pytest.mark.parametrize("repeats", [2, 4, 16])
    def test_each_sample_stands_so_often_in_one_batch(self, repeats: int) -> None:
        batches = samples(loader(repeats), 3)
        assert [len(batch) for batch in batches] == [16] * 4  # as many steps as without
        for batch in batches:
            assert set(np.bincount(batch)) == {0, repeats}
        drawn = [i for batch in batches for i in set(batch)]
        assert len(drawn) == len(set(drawn)) == 64 // repeats  # none in two batches

    @pytest.mark.parametrize("repeats", [3, 5, 64])
    def test_batches_it_does_not_divide(self, repeats: int) -> None:
        for batch in samples(loader(repeats), 0):
            counts = np.bincount(batch)
            counts = counts[counts > 0]
            assert len(batch) == 16
            assert len(counts) == -(-16 // repeats)
            assert counts.max() <= repeats
            assert counts.max() - counts.min() <= 1

    def test_once_is_not_at_all(self) -> None:
        plain = Loader(DataPlan(Pictures(70), CLASSES, 16), 0)
        for one, other in zip(loader(1, n=70).epoch(2), plain.epoch(2), strict=True):
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.id, other.id)

    def test_every_sample_has_its_turn(self) -> None:
        """An epoch draws a quarter of the samples, each as likely."""
        epochs = 400
        some = loader(4)
        counts = np.zeros(64)
        for epoch in range(epochs):
            counts[epoch_order(64, 0, epoch)[:16]] += 1
            if epoch < 3:
                drawn = {i for batch in samples(some, epoch) for i in batch}
                assert drawn == set(epoch_order(64, 0, epoch)[:16])
        assert np.abs(counts - epochs / 4).max() < WIDE * np.sqrt(epochs * 3 / 16)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_each_copy_has_an_id_of_its_own(self, weighted: bool) -> None:
        some = loader(4, weights=np.r_[np.full(8, 20.0), np.ones(56)] if weighted else None)
        ids = [number for raw in some.epoch(0) for number in raw.id.tolist()]
        assert len(set(ids)) == len(ids) == 64
        own = [number for number in ids if number in OWN]
        different = {i for batch in samples(some, 0) for i in batch}
        assert sorted(OWN[number] for number in own) == sorted(different)  # the first of each keeps its own

    def test_copies_are_augmented_in_another_way(self) -> None:
        run = tiny_run("repeated_augmentation(repeats=4)", "crop(pad=3)", "brightness(strength=0.8)")
        raw = next(iter(run.loader.epoch(0)))
        image = Augment(run, NORMALISE).normalised(raw).image
        assert len({picture.numpy().tobytes() for picture in raw.image}) == 4
        assert len({picture.numpy().tobytes() for picture in image}) == 16

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("start", range(5))
    def test_a_function_of_seed_and_epoch_from_any_step(self, weighted: bool, start: int) -> None:
        weights = np.linspace(1, 3, 64) if weighted else None
        whole = [raw.id.tolist() for raw in loader(3, weights=weights).epoch(1)]
        assert [raw.id.tolist() for raw in loader(3, weights=weights).epoch(1, start)] == whole[start:]
        assert [raw.id.tolist() for raw in loader(3, weights=weights).epoch(2)] != whole
        assert [raw.id.tolist() for raw in loader(3, weights=weights, seed=1).epoch(1)] != whole

    def test_weights_say_which_are_drawn(self) -> None:
        weights = np.r_[np.zeros(32), np.ones(16), np.full(16, 3.0)]
        some = loader(4, weights=weights)
        drawn = np.concatenate(
            [batch[:4] for epoch in range(100) for batch in samples(some, epoch)]
        )  # one copy of each
        assert drawn.min() >= 32
        share = (drawn >= 48).mean()
        assert abs(share - 0.75) < WIDE * np.sqrt(3 / 16 / len(drawn))

    def test_with_balanced_sampling(self) -> None:
        run = tiny_run("repeated_augmentation(repeats=2)", "balanced_sampling", n=600)
        labels = torch.cat([raw.label[:8] for epoch in range(10) for raw in run.loader.epoch(epoch)])
        n = len(labels)
        assert (labels.bincount(minlength=4).double() - n / 4).abs().max() < WIDE * np.sqrt(n * 3 / 16)


def test_repeated_keeps_different_samples_apart() -> None:
    """Copies stand apart, so that a batch taken in parts has different samples in each."""
    assert repeated(np.arange(10), 2, 4, 2).tolist() == [[0, 1, 0, 1], [2, 3, 2, 3]]
    assert repeated(np.arange(10), 2, 5, 2).tolist() == [[0, 1, 2, 0, 1], [3, 4, 5, 3, 4]]
    assert repeated(np.arange(10), 2, 5, 1).tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
