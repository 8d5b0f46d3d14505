"""What tests share: a cache of their own, small photos on disk, and the real data where there is some."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: threads of two workers would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Places for caches, none of which is there yet: pytest's own numbering reads a folder of thousands each time."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def own_cache(caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("NETWRIGHT_CACHE", str(next(caches)))


@pytest.fixture
def real_data() -> Path:
    """The folder of real data; tests that want it skip without it."""
    folder = os.environ.get("NETWRIGHT_DATA")
    if not folder:
        pytest.skip("NETWRIGHT_DATA is not set: it names a folder of real data")
    return Path(folder)


def photo(path: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (80, 64)) -> Path:
    """A noisy picture of one colour, which a network can learn to tell from another."""
    draw = np.random.default_rng(seed)
    pixels = np.clip(np.array(colour) + draw.normal(0, 25, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


COLOURS = {"blue": (60, 80, 190), "green": (60, 180, 80), "red": (190, 70, 60)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of photos with train, val and test."""
    root = tmp_path / "photos"
    for side, n in (("train", 12), ("val", 4), ("test", 5)):
        for place, (name, colour) in enumerate(COLOURS.items()):
            for i in range(n):
                photo(root / side / name / f"{i}.jpg", colour, seed=1000 * place + 100 * len(side) + i)
    return root
