"""Whether a mask lies on its picture: its borders run where the picture changes, and less so once it is turned.

For each of the eight symmetries t the score is the mean gradient magnitude of the picture on the borders of the mask
turned by t, in standard deviations of that mean over all places the turned mask could be moved to. The null is thus the
picture's and the mask's own: a mask full of borders or a picture full of noise scores no higher than one without.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from netwright.data.gate.likeness import TURNS

LONGEST = 256  # px; larger pairs are made smaller
CLIPPED = 95  # percentile of the gradient above which it counts no more: a bright speck is one edge among many
FEWEST = 20  # border pixels below which nothing can be said
SURE, MARGIN = 6.0, 3.0  # standard deviations: of the best score, and above the score of the mask as it lies
FAR = 0.02, 5.0  # share of the longer side, and pixels, below which a shift is a matter of taste in drawing


@dataclass(frozen=True)
class Alignment:
    """How well a mask fits its picture.

    Attributes:
        scores: for each of `TURNS`; None where it makes the mask another size than its picture.
        best: the highest score of the mask as it lies, wherever it is moved to.
        shift: how far it is moved there: pixels down and to the right, at the size of the picture.
        side: the longer side of the picture.
    """

    scores: tuple[float | None, ...]
    best: float
    shift: tuple[float, float]
    side: int

    @property
    def turned(self) -> int | None:
        """The symmetry after which the mask fits much better, if there is one."""
        order = sorted((each for each in range(1, len(TURNS)) if self.scores[each] is not None), key=self._score)
        return order[-1] if order and self.better(order[-1], 0) else None

    @property
    def shifted(self) -> bool:
        """Whether the mask fits much better elsewhere."""
        far = max(map(abs, self.shift)) >= max(FAR[0] * self.side, FAR[1])
        return far and self.best >= SURE and self.best - self._score(0) >= MARGIN

    def better(self, one: int, other: int) -> bool:
        """Whether one symmetry fits for sure, and much better than another."""
        return self._score(one) >= SURE and self._score(one) - self._score(other) >= MARGIN

    def _score(self, turn: int) -> float:
        score = self.scores[turn]
        return -np.inf if score is None else score


def aligned(picture: Image.Image, mask: NDArray[np.integer]) -> Alignment | None:
    """A picture and its mask compared, both as training sees them.

    Args:
        picture: upright, of any mode.
        mask: H W of class numbers, or of anything that is equal within a class.

    Returns:
        None where the mask has hardly a border, the picture shows nothing, or the two are of different shapes.
    """
    width, height = picture.size
    if (height, width) not in (mask.shape, mask.shape[::-1]):
        return None
    shrink = max(1.0, max(width, height) / LONGEST)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    small = picture.convert("L").resize(size, Image.Resampling.BOX)
    gradient = gradients(np.asarray(small))
    as_mask = size if mask.shape == (height, width) else (size[1], size[0])
    borders = border(_shrunk(mask, as_mask))
    if borders.sum() < FEWEST or not gradient.any():
        return None
    surfaces = [_surface(gradient, turn.thumbs(borders[None])[0]) for turn in TURNS]
    scores = tuple(None if surface is None else round(float(surface[0, 0]), 3) for surface in surfaces)
    down, right, best = _peak(surfaces[0])
    return Alignment(scores, best, (round(down * shrink, 1), round(right * shrink, 1)), max(width, height))


def gradients(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Gradient magnitude by central differences, without its mean. H W -> H W; zeros for a flat picture."""
    if min(grey.shape) < 2:
        return np.zeros(grey.shape, np.float32)
    down, right = np.gradient(grey.astype(np.float32))
    length = np.hypot(down, right)
    length = np.minimum(length, np.percentile(length, CLIPPED))
    return (length - length.mean()).astype(np.float32)


def border(mask: NDArray[np.integer]) -> NDArray[np.uint8]:
    """1 at the pixels of which a neighbour to the side, above or below is of another class. H W -> H W."""
    found = np.zeros(mask.shape, np.uint8)
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found


def _shrunk(mask: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.integer]:
    """The nearest pixels, W H given, so that no class comes in between."""
    width, height = size
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.int64)
    return mask[rows[:, None], columns]


def _surface(gradient: NDArray[np.float32], borders: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """For every cyclic shift the mean gradient on the borders, in standard deviations over all shifts. H W."""
    if borders.shape != gradient.shape:
        return None
    spectrum = np.asarray(fft.rfft2(gradient)) * np.asarray(fft.rfft2(borders.astype(np.float32))).conj()
    means = np.asarray(fft.irfft2(spectrum, gradient.shape))
    spread = float(means.std())
    return (means / spread).astype(np.float32) if spread else None


def _peak(surface: NDArray[np.float32] | None) -> tuple[int, int, float]:
    """Where a surface is highest, as a shift down and to the right of at most half a side, and how high."""
    if surface is None:
        return 0, 0, 0.0
    height, width = surface.shape
    down, right = divmod(int(surface.argmax()), width)
    return (down + height // 2) % height - height // 2, (right + width // 2) % width - width // 2, float(surface.max())
