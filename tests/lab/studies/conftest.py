"""Small pictures of six classes, and a protocol that trains on them in a moment."""

from pathlib import Path

import numpy as np
import pytest

from netwright.recipes._recipe import Recipe, recipe


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """Six classes, told by where a bright bar is; as an .npz with its splits."""
    draw, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 96), ("val", 24), ("test", 48)):
        labels = np.arange(n) % 6
        images = draw.integers(0, 120, (n, 16, 16, 1)).astype(np.uint8)
        for place, label in enumerate(labels):
            start = 5 * (label % 3)
            bar = (slice(start, start + 5), slice(None)) if label < 3 else (slice(None), slice(start, start + 5))
            images[place][bar] += 110
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    np.savez(tmp_path / "stripes.npz", **arrays)
    return tmp_path / "stripes.npz"


@pytest.fixture
def protocol(stripes: Path) -> Recipe:
    """Two epochs of a tiny network."""
    values = {"model": "resnet20(width=4, blocks=1)", "epochs": 2, "batch_size": 16, "device": "cpu", "threads": 1}
    return recipe("history", data=str(stripes), **values).without("crop", "flip")
