"""Figures of a mask of any size, in strips of rows: what is made of it never takes more than the mask itself."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netwright.data.gate.alignment import border

STRIP = 1 << 20  # pixels


def strips(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First row and last row but one of each strip of something H W; one row at least."""
    rows = max(1, STRIP // max(1, shape[1]))
    return ((first, min(first + rows, shape[0])) for first in range(0, shape[0], rows))


def counted(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that are there, in order, and how often each is. H W -> V, V."""
    if values.dtype.itemsize <= 2:
        counts = np.zeros(1 << 8 * values.dtype.itemsize, np.int64)
        for first, last in strips(values.shape):
            counts += np.bincount(values[first:last].ravel(), minlength=len(counts))
        present = np.flatnonzero(counts)
        return present, counts[present]
    present, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for first, last in strips(values.shape):
        more, times = np.unique(values[first:last], return_counts=True)
        both, at = np.unique(np.concatenate([present, more.astype(np.int64)]), return_inverse=True)
        total = np.zeros(len(both), np.int64)
        np.add.at(total, at, np.concatenate([counts, times]))
        present, counts = both, total
    return present, counts


def ramps(values: NDArray[Any]) -> float:
    """Of the pixels that differ from a neighbour, the share that lie strictly between two, along rows or columns."""
    steps = borders = 0
    for first, last in strips(values.shape):
        above = max(0, first - 1)
        part = values[above : last + 1]
        steps += _between(values[first:last, :-2], values[first:last, 1:-1], values[first:last, 2:])
        steps += _between(part[:-2], part[1:-1], part[2:])
        borders += int(border(part)[first - above : last - above].sum())
    return steps / max(1, borders)


def busy(values: NDArray[Any], least: int) -> float:
    """The share of the pixels that differ from the next one in their row by more than `least`."""
    pixels = values.shape[0] * (values.shape[1] - 1)
    apart = 0
    for first, last in strips(values.shape):
        one, other = values[first:last, 1:], values[first:last, :-1]
        low, high = np.minimum(one, other), np.maximum(one, other)
        apart += int((high - low > least).sum())
    return apart / pixels if pixels else 0.0


def apart(grey: Image.Image, values: NDArray[Any], *, packed: bool) -> float:
    """Mean difference of a mask's grey levels from a picture's, in standard deviations of the picture's.

    Args:
        grey: the picture, of mode L and the mask's size.
        values: H W.
        packed: whether values are colours, red << 16 | green << 8 | blue.
    """
    levels, counts, total = np.arange(256), np.array(grey.histogram(), np.float64), 0.0
    mean = (counts * levels).sum() / counts.sum()
    spread = float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))
    for first, last in strips(values.shape):
        part = values[first:last].astype(np.float32)
        if packed:
            red, green, blue = (values[first:last] >> shift & 255 for shift in (16, 8, 0))
            part = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
        seen = np.asarray(grey.crop((0, first, grey.width, last)), np.float32)
        total += float(np.abs(seen - part).sum(dtype=np.float64))
    return total / values.size / max(1.0, spread)


def digest(values: NDArray[Any]) -> str:
    """A hash of numbers H W, whatever type they are kept in."""
    total = sha256("x".join(map(str, values.shape)).encode())
    for first, last in strips(values.shape):
        total.update(np.ascontiguousarray(values[first:last], np.int64).data)
    return total.hexdigest()


def in_bits(layers: NDArray[Any]) -> NDArray[Any]:
    """Layers as one number a pixel, the first in the lowest bit; of the first 62. K H W -> H W."""
    kept = layers[:62]
    wide = next(dtype for dtype in (np.uint8, np.uint16, np.uint32, np.int64) if len(kept) <= np.iinfo(dtype).bits)
    bits = np.zeros(layers.shape[1:], wide)
    for number, layer in enumerate(kept):
        for first, last in strips(bits.shape):
            bits[first:last] |= (layer[first:last] != 0).astype(wide) << wide(number)
    return bits


def _between(before: NDArray[Any], here: NDArray[Any], after: NDArray[Any]) -> int:
    return int((((before < here) & (here < after)) | ((before > here) & (here > after))).sum())
