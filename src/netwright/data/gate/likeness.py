"""A perceptual hash that can be turned: 64 signs of a picture's cosine transform, and what turning does to them.

After pHash (Zauner 2010), with two changes. The 64 frequencies are closed under exchanging rows and columns, and the
signs are taken at zero rather than at the median; so the hash of a picture flipped or rotated by a multiple of 90° is
the hash of the picture with some bits exchanged and some inverted, and the pictures themselves are not needed for it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THUMB = 16
BLOCK = 2**13  # thumbnails worked on at once: 16 MB of each kind
# All frequencies from low to high, but for the mean and, to have 64, for the middle one of the highest.
_ROWS, _COLUMNS = np.array(
    [(u, total - u) for total in range(1, 11) for u in range(total + 1) if (u, total - u) != (5, 5)]
).T
# Rounded to integers, which float64 adds without error: the hash does not depend on the machine.
_COSINES = np.rint(2**16 * np.cos(np.pi * np.outer(np.arange(THUMB), np.arange(THUMB) + 0.5) / THUMB))


@dataclass(frozen=True)
class Turn:
    """One of the eight symmetries of a square.

    Attributes:
        name: what is done to a picture, rotations being counter-clockwise; empty for nothing.
        exchanged: whether rows and columns are exchanged, which is done first.
        down: whether the order of the rows is then reversed.
        across: whether the order of the columns is then reversed.
    """

    name: str
    exchanged: bool
    down: bool
    across: bool

    def thumbs(self, thumbs: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turned pictures, N H W."""
        turned = thumbs.swapaxes(1, 2) if self.exchanged else thumbs
        return turned[:, :: -1 if self.down else 1, :: -1 if self.across else 1]

    def hashes(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The hashes of turned pictures, from their own."""
        turned = _packed(_unpacked(hashes)[:, _EXCHANGED]) if self.exchanged else hashes
        inverted = (_ROWS % 2 * self.down + _COLUMNS % 2 * self.across) % 2 == 1
        return turned ^ _packed(inverted[None])


TURNS = (
    Turn("", False, False, False),
    Turn("flipped", False, False, True),
    Turn("flipped upside down", False, True, False),
    Turn("rotated by 180°", False, True, True),
    Turn("rotated by 90°", True, True, False),
    Turn("rotated by 270°", True, False, True),
    Turn("flipped and rotated by 90°", True, False, False),
    Turn("flipped and rotated by 270°", True, True, True),
)
BACK = (0, 1, 2, 3, 5, 4, 6, 7)  # for each turn the place of the one that undoes it


def hashes(thumbs: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The perceptual hashes of grey thumbnails, N 16 16 -> N."""
    found = np.empty(len(thumbs), np.uint64)
    for begin in range(0, len(thumbs), BLOCK):
        spectrum = _COSINES @ thumbs[begin : begin + BLOCK].astype(np.float64) @ _COSINES.T
        found[begin : begin + BLOCK] = _packed(spectrum[:, _ROWS, _COLUMNS] > 0)
    return found


def _packed(bits: NDArray[np.bool_ | np.uint8]) -> NDArray[np.uint64]:
    """N 64 -> N, the first bit being the lowest."""
    return np.packbits(np.ascontiguousarray(bits), axis=1, bitorder="little").view("<u8")[:, 0]


def _unpacked(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """N -> N 64."""
    return np.unpackbits(hashes.astype("<u8")[:, None].view(np.uint8), axis=1, bitorder="little")


_PLACE = {(int(row), int(column)): place for place, (row, column) in enumerate(zip(_ROWS, _COLUMNS, strict=True))}
_EXCHANGED = np.array([_PLACE[int(column), int(row)] for row, column in zip(_ROWS, _COLUMNS, strict=True)])
