"""The audit of large masks: in strips, within a bound of what is looked at together; the figures stay the same."""

import time
import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.data.gate import _mask_figures as figures
from netwright.data.gate._room import Room
from netwright.data.gate.alignment import border
from netwright.data.gate.mask_stored import mask_as_stored
from netwright.data.gate.verdict import Finding
from netwright.data.masks import MaskWanted
from tests.data.synthetic_pairs import found, pairs, read, save, scene, verdict_on


@pytest.fixture
def noisy() -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.integers(0, 255, (37, 23), np.uint8) // np.uint8(3)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "STRIP", 100)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_figures_in_strips_are_those_of_the_whole(noisy: np.ndarray, dtype: type) -> None:
    values = noisy.astype(dtype)
    wide = noisy.astype(np.int64)
    want = np.unique(values, return_counts=True)
    assert all(np.array_equal(a, b) for a, b in zip(figures.counted(values), want, strict=True))
    steps = 0
    for lines in (wide, wide.T):
        signs = np.sign(np.diff(lines, axis=1))
        steps += (signs[:, 1:] * signs[:, :-1] > 0).sum()
    assert figures.ramps(values) == steps / border(values).sum()
    assert figures.busy(values, 8) == (np.abs(np.diff(wide, axis=1)) > 8).mean()
    assert figures.digest(values) == figures.digest(noisy) != figures.digest(noisy[::-1])


def test_the_difference_from_a_picture_against_numpy(noisy: np.ndarray) -> None:
    grey = np.random.default_rng(1).integers(0, 256, noisy.shape, np.uint8)
    want = np.abs(grey.astype(float) - noisy).mean() / grey.std()
    assert figures.apart(Image.fromarray(grey), noisy, packed=False) == pytest.approx(want, rel=1e-6)
    colours = noisy.astype(np.uint32) << 16 | 7 << 8 | 9
    want = np.abs(grey - (0.299 * noisy + 0.587 * 7 + 0.114 * 9)).mean() / grey.std()
    assert figures.apart(Image.fromarray(grey), colours, packed=True) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("layers", [1, 8, 9, 33, 70])
def test_layers_in_bits(layers: int) -> None:
    stack = np.random.default_rng(0).integers(0, 2, (layers, 9, 7), np.uint8) * 255
    want = sum((stack[k] > 0).astype(np.int64) << k for k in range(min(62, layers)))
    assert np.array_equal(figures.in_bits(stack), want)


def test_figures_take_less_than_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "STRIP", 1 << 14)
    values = np.zeros((2000, 2000), np.uint8)
    values[500:900, 300:1500] = 255
    tracemalloc.start()
    figures.counted(values), figures.ramps(values), figures.busy(values, 8), figures.digest(values)
    figures.apart(Image.new("L", (2000, 2000)), values, packed=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes / 2


def test_large_pairs_wait_for_one_another() -> None:
    with Room(100, threads=4) as room:
        alone: list[int] = []

        def find(place: int) -> int:
            alone.append(room.taken)
            time.sleep(0.002)
            return -place

        areas = [30, 30, 250, 60, 50, 5, 100, 1]
        assert room.map(find, range(8), areas) == [-place for place in range(8)]
        assert room.most == 250 and set(alone) <= {*range(101), 250} and room.taken == 0
        with pytest.raises(ZeroDivisionError):
            room.map(lambda place: 1 // place, [0, 1], [200, 200])
        assert room.taken == 0


def test_a_mask_of_more_than_fifty_megapixels_is_looked_at() -> None:
    file = BytesIO()
    Image.new("1", (7300, 7000)).save(file, "PNG")
    assert mask_as_stored(file.getvalue(), "1.png").values.shape == (7000, 7300)


# Instances beside masks; how many pairs training wants


def test_instances_of_another_size_and_of_other_things(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells")
    for path in root.glob("*/masks/*.png"):
        things = (read(path) > 0).astype(np.uint16)
        things[:, 30:] *= 2
        save(path.parent.parent / "instances" / path.name, things)
    assert found(root) == {}
    save(root / "train/instances/3.png", np.zeros((32, 32), np.uint16))
    save(root / "train/instances/4.png", np.rot90(read(root / "train/instances/4.png")))
    (root / "train/instances/5.png").write_bytes(b"")
    kinds = found(root)
    assert set(kinds) == {"instances_size", "instances_unlike", "instances_file"}
    assert kinds["instances_size"].examples[0][1].says == "instances 32×32 px, the picture 64×64 px"
    mask = read(root / "train/masks/4.png") > 0
    other, either = (mask ^ np.rot90(mask)).mean(), (mask | np.rot90(mask)).sum()
    says = kinds["instances_unlike"].examples[0][1].says
    assert says.endswith(f"IoU {(mask & np.rot90(mask)).sum() / either:.2f}") and says.startswith(f"{100 * other:.0f}")
    bordered = verdict_on(root, MaskWanted("border"))
    told = {each.kind: each for each in bordered.findings}
    assert {"mask_size", "mask_file_empty"} <= set(told), "where instances are what is trained on, they are audited"
    assert told["mask_size"].examples[0][1].name == "train/instances/3.png"
    assert bordered.masks["classes"] == ["background", "interior", "border"]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_pairs_to_train_on(tmp_path: Path, count: int) -> None:
    for place in range(count):
        picture, mask = scene(place)
        save(tmp_path / f"d/images/{place}.png", picture)
        save(tmp_path / f"d/masks/{place}.png", mask * 255)
    verdict = verdict_on(tmp_path / "d")
    few: list[Finding] = [each for each in verdict.of("error") if each.kind == "too_few_pairs"]
    assert [each.title for each in few] == [
        f"no pair of picture and mask is left for validation, of {count} pair{'s' * (count > 1)}"
    ]
    assert not verdict.passed


def test_sides_are_those_of_training(tmp_path: Path) -> None:
    from netwright.data import open_data

    for place in range(12):
        picture, mask = scene(place)
        save(tmp_path / f"d/images/{place}.png", picture)
        save(tmp_path / f"d/masks/{place}.png", mask[: 64 - 30 * (place % 3 == 0)] * 255)
    data = open_data(str(tmp_path / "d"))
    assert verdict_on(tmp_path / "d").splits == {side: len(split) for side, split in data.splits.items()}
