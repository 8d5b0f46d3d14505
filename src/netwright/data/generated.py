"""Pictures with masks that are made, not stored: thin lines, disks and textures in noise, the same bytes everywhere.

The question of Drozdzal et al., The Importance of Skip Connections in Biomedical Image Segmentation (2016), made small:
what is one pixel thin is lost where a network halves its maps, what is wide is not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.core.options import Between, check
from netwright.core.spec import Spec
from netwright.data.assign import SPLITS
from netwright.data.decode import Pixels
from netwright.data.listing import Arrays, Listing, MaskFiles

NAME = "generated"
GREY = 112  # of the background
LINE, DISK = 60, 40  # how much brighter these are
NOISE, FINE = 28, 20  # deviation of the noise, and of the noise within a texture: its stripes make up for the rest
STRIPE, PERIOD = 20, 4  # the stripes' height above and below the mean, and pixels from one to the next
MOST_PIXELS = 1 << 29  # of all pictures: they are made and kept in memory, and their masks too
ALL = ("line", "disk", "texture")

Ground = NDArray[np.int64]


class Draw:
    """Whole numbers from a counter: the raw bits of NumPy's Philox, which are the same in every version."""

    def __init__(self, *parts: str | int) -> None:
        digest = sha256("\0".join(map(str, parts)).encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:8], "little"))

    def below(self, bounds: int, n: int) -> list[int]:
        """`n` numbers from 0 to below `bounds`."""
        raw: Ground = (self._bits.random_raw(n) >> np.uint64(33)).astype(np.int64)
        return (raw % bounds).tolist()

    def one(self, low: int, high: int) -> int:
        """A number from `low` to `high`."""
        return low + self.below(high - low + 1, 1)[0]

    def noise(self, size: int) -> Ground:
        """Nearly normal, of mean 0 and deviation 147.8: the sum of four bytes. S S."""
        raw = self._bits.random_raw(size * size)
        total = sum((raw >> np.uint64(8 * byte)) & np.uint64(255) for byte in range(4))
        return np.asarray(total, np.uint64).astype(np.int64).reshape(size, size) - 510


@dataclass(frozen=True)
class Size:
    """The options of the generated set.

    Args:
        size: side of a picture in pixels.
        n: pictures for training; a quarter as many are for validation, five quarters for testing.
    """

    size: Annotated[int, Between(16, 1024)] = 32
    n: Annotated[int, Between(4, 100_000)] = 160


def listing(source: str) -> Listing:
    """The generated set: `generated`, or with one structure only `generated:lines`, `generated:disks(size=64)`.

    Raises:
        NetwrightError: no such structure or option.
    """
    shown, how = _wanted(source)
    counts = (how.n, max(1, how.n // 4), how.n * 5 // 4)
    _refuse_large(how, sum(counts))
    made = [[_scene(shown, how.size, side, row) for row in range(n)] for side, n in zip(SPLITS, counts, strict=True)]
    names = [f"{side}[{row}]" for side, n in zip(SPLITS, counts, strict=True) for row in range(n)]
    pictures = [np.stack([picture for picture, _ in side]) for side in made]
    masks = [np.stack([mask for _, mask in side]) for side in made]
    sides = np.repeat(np.arange(len(SPLITS), dtype=np.int8), counts)
    found = MaskFiles(Arrays(masks, names))
    labels = np.zeros(len(names), np.int64)
    return Listing(source, "", ("background", *shown), Arrays(pictures, names), labels, sides, masks=found)


def _refuse_large(how: Size, count: int) -> None:
    if count * how.size**2 > MOST_PIXELS:
        most = MOST_PIXELS * 2 // (5 * how.size**2)  # for each picture of training one and a half others are made
        problem = f"generated(size={how.size}, n={how.n}) is {count * how.size**2 / 1e6:,.0f} megapixels"
        fix = f"with size={how.size} give n={most} at most, or a smaller size"
        raise NetwrightError(f"{problem} in {count:,} pictures, which are made in memory", fix)


def _wanted(source: str) -> tuple[tuple[str, ...], Size]:
    spec = Spec.parse(source.replace(":", "/", 1))
    _, _, name = spec.name.partition("/")
    alone = {"lines": "line", "disks": "disk", "texture": "texture"}
    if name and name not in alone:
        raise unknown("structure of the generated set", name, alone)
    return (alone[name],) if name else ALL, Size(**check(NAME, Size, spec.options))


def _scene(shown: tuple[str, ...], size: int, side: str, row: int) -> tuple[Pixels, Pixels]:
    """A picture and its mask, both uint8 S S."""
    draw = Draw(NAME, *shown, size, side, row)
    noise, mask = draw.noise(size), np.zeros((size, size), np.uint8)
    picture = GREY + _scaled(noise, NOISE)
    if "texture" in shown:
        region = _texture(draw, size)
        picture = np.where(region, GREY + _stripes(draw, size) + _scaled(noise, FINE), picture)
        mask[region] = shown.index("texture") + 1
    structures: dict[str, tuple[Callable[[Draw, int], NDArray[np.bool_]], int]] = {
        "disk": (_disks, DISK),
        "line": (_lines, LINE),
    }
    for name, (where, brighter) in structures.items():
        if name in shown:
            found = where(draw, size)
            picture = np.where(found, GREY + brighter + _scaled(noise, NOISE), picture)
            mask[found] = shown.index(name) + 1
    return picture.clip(0, 255).astype(np.uint8), mask


def _scaled(noise: Ground, deviation: int) -> Ground:
    """Noise of another deviation, in whole numbers: 443 / 256 is 256 / 147.8."""
    return (noise * deviation * 443) >> 16


def _stripes(draw: Draw, size: int) -> Ground:
    """Slanting stripes, as far above the mean as below. S S."""
    y, x = np.indices((size, size))
    slant, phase = (1, -1)[draw.one(0, 1)], draw.one(0, PERIOD - 1)
    return np.where((x + slant * y + phase) % PERIOD < PERIOD // 2, STRIPE, -STRIPE)


def _texture(draw: Draw, size: int) -> NDArray[np.bool_]:
    """One region, of two round parts that overlap."""
    radius, at = size // 5, draw.below(size - 2 * (size // 6), 2)
    y, x = at[0] + size // 6, at[1] + size // 6
    moved = [draw.one(-radius, radius) for _ in range(2)]
    return _disk(size, y, x, radius) | _disk(size, y + moved[0], x + moved[1], radius)


def _disks(draw: Draw, size: int) -> NDArray[np.bool_]:
    """For every 32² pixels two disks, of radius 3 to 6."""
    found = np.zeros((size, size), bool)
    for _ in range(max(1, 2 * size * size // 1024)):
        radius = draw.one(3, 6)
        y, x = (draw.one(radius, size - 1 - radius) for _ in range(2))
        found |= _disk(size, y, x, radius)
    return found


def _disk(size: int, y: int, x: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.indices((size, size))
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius * (radius + 1)


def _lines(draw: Draw, size: int) -> NDArray[np.bool_]:
    """Three lines, one pixel thin, each at least half as long as a side."""
    found = np.zeros((size, size), bool)
    for _ in range(3):
        ends = draw.below(size, 4)
        while max(abs(ends[0] - ends[2]), abs(ends[1] - ends[3])) < size // 2:
            ends = draw.below(size, 4)
        found[_line(*ends)] = True
    return found


def _line(y: int, x: int, last_y: int, last_x: int) -> tuple[Ground, Ground]:
    """The pixels of a line, one for each step along its longer direction, rounded to the nearest."""
    steps = max(abs(last_y - y), abs(last_x - x))
    along = np.arange(steps + 1)
    halves = steps // 2
    return y + (along * (last_y - y) + halves) // steps, x + (along * (last_x - x) + halves) // steps
