"""Pictures of any size through a network in bounded memory: overlapping tiles, blended (Ronneberger et al., 2015).

Tiles start at multiples of the network's stride, so that its maps lie as they would in the whole picture, and only a
tile's cut sides can make a difference. How far that reaches is measured, not assumed: see `reach`. As far, a tile has
no say; from there its weight rises in a straight line.

What is averaged are probabilities. Each lies between 0 and 1, so that a tile which is wrong near its side counts by its
weight and no more, while a single logit of a thousand would decide alone; and a mean of distributions is one.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.engine.live_bytes import LiveBytes

STRIDE = 32  # of networks that do not tell theirs
TILE = 1024  # side of tiles at most
SMALL = 512 * 512  # pixels; such a picture is never cut
TILE_BYTES = 160_000_000  # of tensors that a network holds for one tile; what allocators take besides is as much again
BAND_BYTES = 2**27  # of the rows whose sums are held
PROBE = (512, 2048)  # pixels of the strips on which the reach is measured, at first and at most
TINY = torch.finfo(torch.float32).tiny
Network = Callable[[Tensor], Tensor]


@runtime_checkable
class Padding(Protocol):
    """A network that takes any size, and tells at multiples of what a part of a picture is seen as in the whole."""

    smallest: int

    @property
    def grid(self) -> int:
        """In pixels."""
        ...

    def padded(self, x: Tensor) -> Tensor:
        """Images as the network's body sees them."""
        ...


@dataclass(frozen=True)
class Cut:
    """How one direction of a picture is cut.

    Attributes:
        length: pixels of the picture.
        tile: pixels of a tile, at most.
        starts: where tiles begin, in order; all multiples of the stride.
        zero: how many pixels at a cut side have no weight.
        ramp: over how many more the weight rises to 1.
    """

    length: int
    tile: int
    starts: tuple[int, ...]
    zero: int
    ramp: int

    def span(self, place: int) -> slice:
        """The pixels of a tile."""
        return slice(self.starts[place], min(self.starts[place] + self.tile, self.length))

    def weights(self, place: int) -> Tensor:
        """Of a tile's pixels: 0 up to 1 inside, and 1 up to the picture's own ends."""
        span = self.span(place)
        pixel = torch.arange(span.start, span.stop, dtype=torch.float32)
        first, last = place == 0, span.stop == self.length
        left = torch.full_like(pixel, math.inf) if first else pixel - span.start
        right = torch.full_like(pixel, math.inf) if last else span.stop - 1 - pixel
        return ((torch.minimum(left, right) - self.zero + 1) / (self.ramp + 1)).clamp(0, 1)

    def total(self) -> Tensor:
        """The sum of all tiles' weights at each pixel of the picture."""
        total = torch.zeros(self.length)
        for place in range(len(self.starts)):
            total[self.span(place)] += self.weights(place)
        return total


def cut(length: int, tile: int, stride: int, reach: float) -> Cut:
    """Cuts one direction of a picture into overlapping tiles.

    They overlap as far as makes the result that of the whole picture, if half their side does; else by a quarter.

    Args:
        length: pixels of the picture.
        tile: pixels of a tile; a multiple of the stride, and four of it at least.
        stride: what tiles start at multiples of.
        reach: how far from a cut side a tile's outputs are not those of the whole picture; infinite where everywhere.
    """
    if length <= tile:
        return Cut(length, tile, (0,), 0, 0)
    exact = exact_overlap(reach, stride)
    overlap = int(exact) if exact <= tile // 2 else tile // 4 // stride * stride
    zero = int(reach) if exact <= tile // 2 else overlap * 3 // 8
    last = -(-(length - tile) // stride) * stride
    starts = (*range(0, last, tile - overlap), last)
    return Cut(length, tile, starts, zero, overlap - 2 * zero)


def exact_overlap(reach: float, stride: int) -> float:
    """How far tiles have to overlap so that each pixel is in one whose cut sides are out of reach."""
    return (2 * reach // stride + 2) * stride if math.isfinite(reach) else math.inf


def tiled(
    network: Network, image: Tensor, *, tile: int, stride: int = STRIDE, reach: float = math.inf
) -> Iterator[tuple[int, Tensor]]:
    """The probabilities of a picture of any size, some rows after others; few rows are ever held.

    Held are the sums of one row of tiles, K x tile x W floats, besides what the network needs for one tile.

    Args:
        network: a part of the picture, 1 C h w, to probabilities, 1 K h w.
        image: C H W, of whatever type the network takes.
        tile: side of a tile; rounded to a multiple of the stride, four times the stride at least.
        stride: the network's.
        reach: what `reach` measured.

    Yields:
        The place of the first row, and probabilities K h W, float32, on the network's device.
    """
    side = max(4 * stride, tile // stride * stride)
    rows, columns = (cut(length, side, stride, reach) for length in image.shape[-2:])
    total = columns.total()
    held = total.new_zeros(0)  # K tile W once K is known
    for place, start in enumerate(rows.starts):
        span, weights = rows.span(place), rows.weights(place)
        for column in range(len(columns.starts)):
            across = columns.span(column)
            found = network(image[None, :, span, across])[0].float()
            if held.dim() == 1:
                held = found.new_zeros(len(found), min(side, rows.length), columns.length)
                total = total.to(held.device)
            each = weights[:, None] * columns.weights(column)
            held[:, : span.stop - start, across] += found * each.to(held.device)
        yield from _finished(held, rows, place, total)


def _finished(held: Tensor, rows: Cut, place: int, total: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The rows that no later tile reaches; the others move up."""
    start = rows.starts[place]
    stop = rows.starts[place + 1] if place + 1 < len(rows.starts) else rows.length
    done = stop - start
    below = rows.total()[start:stop].to(held.device)
    yield start, held[:, :done] / (below[:, None] * total)
    keep = held.shape[1] - done
    for row in range(keep):  # a copy of all of them at once would take their memory again
        held[:, row] = held[:, row + done]
    held[:, keep:] = 0


@torch.no_grad()
def reach(network: Network, image: Tensor, stride: int = STRIDE) -> float:
    """How many pixels from a cut side a network's outputs may change; infinite where a cut is seen everywhere.

    Measured: half of a strip is not-a-number, and what it makes not-a-number of the other half depends on it. So the
    answer holds for these weights' structure exactly, and networks that pool or normalise over the whole picture, as
    squeeze-excitation and group normalisation do, give themselves away.

    Args:
        network: float N C h w -> N K h w.
        image: any float N C H W, for channels, type and device.
        stride: the network's.
    """
    width, most = PROBE
    width = max(width, 8 * stride)
    while True:
        found = max(_reach(network, image, stride, width, across) for across in (False, True))
        if found < width // 2:
            return found
        if width >= max(most, 8 * stride):
            return math.inf
        width *= 2


def _reach(network: Network, image: Tensor, stride: int, width: int, across: bool) -> int:
    middle = width // 2 // stride * stride
    strip = image.new_zeros(2, image.shape[1], max(64, 2 * stride), width)
    strip[0, ..., :middle] = math.nan
    strip[1, ..., middle:] = math.nan
    found = network(strip.mT.contiguous()).mT if across else network(strip)
    touched = (~found.isfinite()).any(dim=1).any(dim=1)  # N K h w -> N w
    after, before = touched[0, middle:].nonzero(), touched[1, :middle].nonzero()
    right = int(after.max()) + 1 if len(after) else 0
    return max(right, middle - int(before.min()) if len(before) else 0)


def probabilities(scores: Tensor, *, several: bool = False, temperature: float = 1.0) -> Tensor:
    """Softmax over classes, N K H W; or a sigmoid of each where classes overlap."""
    scaled = scores.float() / temperature
    return scaled.sigmoid() if several else scaled.softmax(1)


@dataclass(frozen=True)
class Measured:
    """What has to be known of a network before pictures are cut for it.

    Attributes:
        stride: what tiles start at multiples of.
        least: the smallest tile that the network sees as it is.
        reach: how far from a cut side its outputs may change, in pixels.
        classes: how many maps it gives.
        bytes: what it holds at its fullest for each pixel it looks at.
    """

    stride: int
    least: int
    reach: float
    classes: int
    bytes: float

    @classmethod
    def of(cls, model: nn.Module, network: Network, image: Tensor) -> "Measured":
        """Of a network that takes float images N C H W like this one.

        Args:
            model: the network, which may tell its grid.
            network: what calls it, under the precision that it will be called with.
            image: for channels, type and device.
        """
        padding = [each for each in model.modules() if isinstance(each, Padding)]
        stride = max((each.grid for each in padding), default=STRIDE)
        least = max(4 * stride, *(each.smallest for each in padding), 1)
        strip = image.new_zeros(1, image.shape[1], least, max(PROBE[0], least))
        with torch.no_grad(), LiveBytes() as live:
            classes = network(strip).shape[1]
        each = live.peak / (strip.shape[-2] * strip.shape[-1])
        return cls(stride, -(-least // stride) * stride, reach(network, image, stride), classes, each)

    def tile(self, width: int) -> int:
        """The side of tiles for a picture so wide, so that neither a tile nor a band of them takes too much memory.

        Where a larger tile makes the result that of the whole picture, it may take twice the memory.
        """
        band = BAND_BYTES // (4 * self.classes * width)
        fits = min(TILE, math.isqrt(int(TILE_BYTES / self.bytes)), band)
        exact = 2 * exact_overlap(self.reach, self.stride)
        if fits < exact <= min(math.isqrt(int(2 * TILE_BYTES / self.bytes)), band):
            fits = int(exact)
        return max(self.least, fits // self.stride * self.stride)

    def whole(self, height: int, width: int) -> bool:
        """Whether a picture need not be cut: it is no larger than one tile."""
        return height * width <= max(SMALL, self.tile(width) ** 2)

    def note(self, tile: int) -> str | None:
        """What a user should know of a picture that was cut into tiles so large, if anything."""
        if math.isfinite(self.reach):
            return None
        return (
            f"this network looks at all of what it is given (squeeze-excitation, global pooling or group "
            f"normalisation), and large pictures are given to it in tiles of {tile}×{tile} px: as a whole they might "
            "have been judged a little differently"
        )


class Tiled(nn.Module):
    """A network for evaluation that takes pictures of any size: large ones are cut into tiles.

    For those its output is the logarithm of blended probabilities (log-odds where classes overlap). Softmax or sigmoid
    give the probabilities back, so that a task's loss and metrics stay what they are.

    Args:
        model: N C H W -> N K H W.
        several: whether classes overlap.
        tile: side of tiles; above so many pixels squared a picture is cut. By default what memory allows.
    """

    def __init__(self, model: nn.Module, *, several: bool = False, tile: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.several = several
        self.tile = tile
        self.measured_: Measured | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Scores N K H W of images N C H W."""
        height, width = x.shape[-2:]
        if height * width <= (SMALL if self.tile is None else self.tile**2):
            return self.model(x)
        known = self.measured_ = self.measured_ or Measured.of(self.model, self.model, x)
        if self.tile is None and known.whole(height, width):
            return self.model(x)
        tile = max(self.tile or known.tile(width), known.least)
        scores = torch.empty(len(x), known.classes, height, width, device=x.device)
        for image, to in zip(x, scores, strict=True):
            for top, rows in tiled(self._seen, image, tile=tile, stride=known.stride, reach=known.reach):
                to[:, top : top + rows.shape[1]] = rows.logit(eps=1e-7) if self.several else rows.clamp_min(TINY).log()
                del rows  # before the next are made
        return scores

    def _seen(self, part: Tensor) -> Tensor:
        return probabilities(self.model(part), several=self.several)
