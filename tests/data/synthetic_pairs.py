"""Pictures with masks made by hand for the data gate: bright blots on a noisy ground, and where they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from netwright.data.gate.check import check
from netwright.data.gate.layout import examined_once, listed
from netwright.data.gate.verdict import Finding, Verdict
from netwright.data.masks import MaskWanted
from netwright.data.split import Wanted

COUNTS = {"train": 14, "val": 5, "test": 5}


def scene(seed: int, size: tuple[int, int] = (64, 64), classes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A picture, H W 3, and its mask of class numbers, H W; `size` is width and height."""
    draw = np.random.default_rng(seed)
    width, height = size
    down, right = np.mgrid[:height, :width]
    picture = draw.normal(60, 6, (height, width, 3)) + draw.uniform(-15, 15, 3)
    mask = np.zeros((height, width), np.uint8)
    for blot in range(5):
        centre, radii = draw.uniform(6, (height - 6, width - 6)), draw.uniform(4, 11, 2)
        inside = ((down - centre[0]) / radii[0]) ** 2 + ((right - centre[1]) / radii[1]) ** 2 < 1
        mask[inside] = 1 + blot % classes
        picture[inside] += draw.uniform(50, 90)
    return np.clip(picture, 0, 255).astype(np.uint8), mask


def pairs(
    root: Path,
    size: tuple[int, int] = (64, 64),
    classes: int = 1,
    written: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Path:
    """A folder of pairs with train, val and test; 0 and 255, or numbers where there are several classes."""
    seed = 0
    for side, n in COUNTS.items():
        for place in range(n):
            picture, mask = scene(seed, size, classes)
            save(root / side / "images" / f"{place}.png", picture)
            stored = mask * 255 if classes == 1 else mask
            save(root / side / "masks" / f"{place}.png", written(mask) if written else stored)
            seed += 1
    return root


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def verdict_on(root: Path, wanted: MaskWanted | None = None, **options: object) -> Verdict:
    listing, _ = listed(str(root))
    return check(examined_once(listing, Wanted()), masks=wanted, cached=False, **options)


def found(root: Path, wanted: MaskWanted | None = None) -> dict[str, Finding]:
    findings = verdict_on(root, wanted).findings
    return {finding.kind: finding for finding in findings}


def masks_named(finding: Finding) -> list[str]:
    return sorted(item.name for example in finding.examples for item in example if item.mask)
