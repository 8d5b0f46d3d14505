"""Loaders: the order is a function of (seed, epoch), and every way of reading gives the same samples."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.data.loader import (
    ArraySource,
    DatasetSource,
    Loader,
    ahead,
    as_tensor,
    epoch_order,
    occurrences,
)
from netwright.data.split import Split
from netwright.engine.plans import DataPlan, Raw
from tests.support import CLASSES, CPU, Pictures


def loader(n: int = 64, *, seed: int = 0, batch_size: int = 16, weights: np.ndarray | None = None) -> Loader:
    return Loader(DataPlan(Pictures(n), CLASSES, batch_size, weights), seed)


def ids(batches: Iterator[Raw]) -> list[list[int]]:
    return [raw.id.tolist() for raw in batches]


def joined(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def test_every_sample_once_an_epoch() -> None:
    found = ids(loader().epoch(3))
    assert [len(batch) for batch in found] == [16] * 4
    assert sorted(joined(found)) == Pictures(64).ids.tolist()


def test_the_incomplete_batch_is_left_out_but_not_always_the_same_one() -> None:
    some = loader(70)
    assert some.steps == 4
    epochs = [set(joined(ids(some.epoch(number)))) for number in range(30)]
    assert {len(epoch) for epoch in epochs} == {64}
    assert set.union(*epochs) == set(Pictures(70).ids.tolist())


def test_order_is_a_function_of_seed_and_epoch() -> None:
    assert ids(loader().epoch(2)) == ids(loader().epoch(2))
    both = loader()
    list(both.epoch(0))
    assert ids(both.epoch(2)) == ids(loader().epoch(2))  # whatever was read before
    assert ids(loader().epoch(2)) != ids(loader().epoch(1))
    assert ids(loader().epoch(2)) != ids(loader(seed=1).epoch(2))


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_starting_later_gives_the_tail(start: int, weighted: bool) -> None:
    weights = np.linspace(1, 3, 64) if weighted else None
    whole = ids(loader(weights=weights).epoch(1))
    assert ids(loader(weights=weights).epoch(1, start)) == whole[start:]


def test_labels_and_pictures_belong_together() -> None:
    source = Pictures(64)
    for raw in loader().epoch(0):
        place = (raw.id - 100) // 7
        assert torch.equal(raw.image, source.images[place])
        assert raw.label.tolist() == source.labels[place.numpy()].tolist()


def test_weights_say_how_often() -> None:
    n, epochs = 50, 200
    weights = np.r_[np.zeros(10), np.ones(20), np.full(20, 3.0)]
    counts = np.bincount(np.concatenate([epoch_order(n, 0, e, weights) for e in range(epochs)]), minlength=n)
    assert counts[:10].sum() == 0
    total = n * epochs
    for low, high, share in ((10, 30, 0.25), (30, 50, 0.75)):
        # A binomial count has deviation √(n p (1 − p)); 4.5 deviations are passed once in 150 000.
        assert abs(counts[low:high].sum() - total * share) < 4.5 * np.sqrt(total * 3 / 16)
        each = share / 20
        assert np.abs(counts[low:high] - total * each).max() < 4.5 * np.sqrt(total * each)


def test_a_sample_drawn_again_gets_another_id() -> None:
    some = loader(weights=np.r_[np.full(8, 50.0), np.ones(56)])
    found = joined(ids(some.epoch(0)))
    assert len(set(found)) == len(found) == 64
    own = set(Pictures(64).ids.tolist())
    first_draws = [number for number in found if number in own]
    assert 8 <= len(first_draws) < 64  # the first draw of each keeps its own id
    assert ids(some.epoch(0)) == ids(some.epoch(0))


def test_occurrences() -> None:
    assert occurrences(np.array([5, 2, 5, 5, 2, 9])).tolist() == [0, 0, 1, 2, 1, 0]


class Dataset:
    """Map-style pictures of one kind."""

    def __init__(self, kind: str, n: int = 20) -> None:
        self.kind = kind
        self.pictures = np.random.default_rng(0).integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)
        self.targets = [i % CLASSES for i in range(n)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[object, object]:
        picture, label = self.pictures[place], self.targets[place]
        made = {
            "pil": lambda: Image.fromarray(picture),
            "grey": lambda: Image.fromarray(picture[..., 0]),
            "array": lambda: picture,
            "bytes": lambda: torch.from_numpy(picture).permute(2, 0, 1),  # as torchvision reads files
            "float": lambda: torch.from_numpy(picture).permute(2, 0, 1).float() / 255,
            "double": lambda: torch.from_numpy(picture).permute(2, 0, 1).double() / 255,
        }[self.kind]()
        return made, torch.tensor(label) if self.kind == "float" else label


POSITIONS = [np.array([3, 0, 19]), np.array([7, 7])]


@pytest.mark.parametrize("kind", ["pil", "grey", "array", "bytes", "float", "double"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_users_dataset(kind: str, workers: int) -> None:
    dataset = Dataset(kind)
    source = DatasetSource(dataset, CPU, workers=workers)
    assert len(source) == 20
    assert source.labels.tolist() == dataset.targets
    found = list(source.batches(POSITIONS))
    for raw, chosen in zip(found, POSITIONS, strict=True):
        assert raw.id.tolist() == chosen.tolist()
        assert raw.label.tolist() == [dataset.targets[i] for i in chosen]
        assert raw.label.dtype == raw.id.dtype == torch.int64
        expected = torch.from_numpy(dataset.pictures[chosen])
        if kind in ("float", "double"):
            expected = expected.permute(0, 3, 1, 2).float() / 255
        if kind == "grey":
            expected = expected[..., :1]
        assert raw.image.dtype == expected.dtype
        torch.testing.assert_close(raw.image, expected, rtol=1e-6, atol=0)  # a division in float32 or float64


def test_workers_do_not_change_an_epoch() -> None:
    def epoch(workers: int, start: int = 0) -> list[Raw]:
        plan = DataPlan(DatasetSource(Dataset("pil"), CPU, workers=workers), CLASSES, 6)
        return list(Loader(plan, 0).epoch(1, start))

    none, two = epoch(0), epoch(2)
    assert len(none) == 3
    for one, other in zip(none, two, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.id, other.id)
    assert epoch(0, start=3) == []


def test_labels_that_only_fetching_tells() -> None:
    dataset = Dataset("pil")
    del dataset.targets
    assert DatasetSource(dataset, CPU).labels is None


def test_one_picture_as_a_tensor() -> None:
    assert as_tensor(Image.new("L", (5, 6))).shape == (6, 5, 1)
    assert as_tensor(Image.new("RGB", (5, 6))).shape == (6, 5, 3)
    assert as_tensor(torch.zeros(3, 6, 5, dtype=torch.uint8)).shape == (6, 5, 3)
    assert as_tensor(torch.zeros(3, 6, 5, dtype=torch.float64)).dtype == torch.float32


@pytest.mark.parametrize("resident", [True, False])
def test_a_decoded_split(resident: bool, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    pictures = Pictures(20)
    images = pictures.images.numpy()
    if not resident:
        monkeypatch.setattr("netwright.data.loader.RESIDENT_BYTES", 0)
        np.save(tmp_path / "images.npy", images)
        images = np.load(tmp_path / "images.npy", mmap_mode="c")
    split = Split(images, pictures.labels.astype(np.int64), pictures.ids.numpy(), [f"train[{i}]" for i in range(20)])
    source = ArraySource(split, CPU)
    assert source.resident is resident
    assert len(source) == 20
    assert source.labels.tolist() == pictures.labels.tolist()
    for raw, expected in zip(source.batches(POSITIONS), pictures.batches(POSITIONS), strict=True):
        assert torch.equal(raw.image, expected.image)
        assert torch.equal(raw.label, expected.label)
        assert torch.equal(raw.id, expected.id)


def test_ahead_gives_the_same_in_order() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([]))) == []


def test_ahead_works_ahead_but_not_too_far() -> None:
    made: list[int] = []

    def work() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    items = ahead(work(), depth=3)
    assert next(items) == 0
    wait_until(lambda: len(made) >= 4)
    time.sleep(0.05)
    assert len(made) <= 6  # one taken, three waiting, one in the thread's hand, one for luck
    items.close()


def test_ahead_passes_on_errors() -> None:
    def work() -> Iterator[int]:
        yield 1
        raise ValueError("a broken picture")

    items = ahead(work())
    assert next(items) == 1
    with pytest.raises(ValueError, match="a broken picture"):
        next(items)


def test_an_abandoned_thread_stops() -> None:
    before = set(threading.enumerate())

    def work() -> Iterator[int]:
        while True:
            yield 0

    items = ahead(work())
    next(items)
    started = set(threading.enumerate()) - before
    assert len(started) == 1
    items.close()
    wait_until(lambda: not any(thread.is_alive() for thread in started))


def wait_until(done, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
