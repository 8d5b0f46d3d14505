"""Geometry, composed: every geometric trick multiplies one map, and the picture is resampled once."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = {"reflect": "reflection", "zeros": "zeros", "edge": "border"}
IGNORE = -1
TIE = 2.0**-10  # pixels: what lies so close to the middle between two is rounding's to decide, unless it is said


@dataclass(frozen=True)
class Warp:
    """For each output pixel of each picture, where in the source it comes from.

    Attributes:
        matrix: N 3 3, projective: output (x, y, 1) to source (x, y, 1), both in pixels from the picture's centre.
        size: height and width of the output.
        source: height and width of the source.
        whole: True while every map was a flip or a whole-pixel shift, which a gather does exactly.
        field: displacement in output pixels, N 2 H W as (x, y), or None where no trick bends. It belongs to the
            output's pixels and comes before the matrix, whichever maps follow; a trick that bends lets others go first.
        padding: what lies outside the source: "reflect", "zeros" or "edge".
    """

    matrix: Tensor
    size: tuple[int, int]
    source: tuple[int, int]
    whole: bool = True
    field: Tensor | None = None
    padding: str = "reflect"

    @classmethod
    def centre(cls, n: int, size: tuple[int, int], source: tuple[int, int], device: torch.device) -> "Warp":
        """The central crop: where training without geometry, and every evaluation, looks."""
        matrix = torch.eye(3, device=device).repeat(n, 1, 1)
        # An odd difference cannot be centred: the crop then sits half a pixel up and to the left, as an index does.
        matrix[:, 0, 2] = -0.5 * ((source[1] - size[1]) % 2)
        matrix[:, 1, 2] = -0.5 * ((source[0] - size[0]) % 2)
        return cls(matrix, size, source)

    @property
    def n(self) -> int:
        """How many pictures."""
        return self.matrix.shape[0]

    def then(self, matrix: Tensor, *, whole: bool = False) -> "Warp":
        """One more map. `matrix`, N 3 3, takes the new output's pixels to the old output's."""
        return replace(self, matrix=self.matrix @ matrix, whole=self.whole and whole)

    def shift(self, dx: Tensor, dy: Tensor, *, whole: bool = True) -> "Warp":
        """Look `dx`, `dy` (N) pixels further right and down; `whole` promises whole pixels."""
        matrix = torch.eye(3, device=self.matrix.device).repeat(self.n, 1, 1)
        matrix[:, 0, 2], matrix[:, 1, 2] = dx, dy
        return self.then(matrix, whole=whole)

    def linear(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor, *, whole: bool = False) -> "Warp":
        """The map (x, y) -> (a x + b y, c x + d y); each argument is N."""
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        rows = [torch.stack(row, 1) for row in ([a, b, zero], [c, d, zero], [zero, zero, one])]
        return self.then(torch.stack(rows, 1), whole=whole)

    def bend(self, field: Tensor) -> "Warp":
        """Add a displacement field, N 2 H W: the output looks at (x, y) + field instead of (x, y), before all maps."""
        return replace(self, field=field if self.field is None else self.field + field, whole=False)

    def resized(self, size: tuple[int, int]) -> "Warp":
        """The same view in an output of another size; what bends it is resized too."""
        if size == self.size:
            return self
        down, across = self.size[0] / size[0], self.size[1] / size[1]
        one = torch.ones_like(self.matrix[:, 0, 0])
        resized = replace(self, size=size).linear(across * one, 0 * one, 0 * one, down * one)
        if self.field is None:
            return resized
        field = F.interpolate(self.field, size, mode="bilinear", align_corners=False)
        return replace(resized, field=torch.stack([field[:, 0] / across, field[:, 1] / down], 1))


def gather(images: Tensor, warp: Warp, *, fill: int = 0) -> Tensor:
    """Resample by index alone: exact, and only for flips and whole-pixel shifts. N H W C -> N h w C, any dtype.

    `fill` comes in from outside where the padding is "zeros".
    """
    if images.device.type == "cpu":  # how far rows reach out must be known, for which a GPU would have to wait
        columns = _positions(warp, 0)
        overhang = max(0, -int(columns.min()), int(columns.max()) + 1 - warp.source[1])
        if overhang <= warp.source[1]:
            return gather_rows(images, warp, columns, overhang, fill=fill)
    return gather_pixels(images, warp, fill=fill)


def gather_pixels(images: Tensor, warp: Warp, *, fill: int = 0) -> Tensor:
    """As `gather`, pixel by pixel."""
    columns, right = _indices(warp, 0)
    rows, below = _indices(warp, 1)
    pictures = torch.arange(warp.n, device=images.device)[:, None, None]
    out = images[pictures, rows[:, :, None], columns[:, None, :]]
    if warp.padding == "zeros":
        outside = below[:, :, None] | right[:, None, :]
        out = out.masked_fill(outside[..., None], fill)
    return out


def gather_rows(images: Tensor, warp: Warp, columns: Tensor, overhang: int, *, fill: int = 0) -> Tensor:
    """As `gather`, a row at a time, which is one piece of memory: `columns`, N w, reach `overhang` outside at most."""
    n, height, _, channels = images.shape
    wide = _widened(images, overhang, warp.padding, fill)
    rows, below = _indices(warp, 1)
    first = torch.minimum(columns[:, :1], columns[:, -1:]) + overhang
    start = (torch.arange(n)[:, None] * height + rows) * wide.shape[2] + first
    length = warp.size[1]
    # One entry for every pixel at which a row may start; they overlap, and nothing is copied yet.
    pieces = wide.view(-1).as_strided((wide.numel() // channels - length + 1, length * channels), (channels, 1))
    out = pieces.index_select(0, start.flatten()).view(n, warp.size[0], length, channels)
    mirrored = (columns[:, 0] > columns[:, -1]).nonzero()[:, 0]
    out.index_copy_(0, mirrored, out.index_select(0, mirrored).flip(2))
    return out.masked_fill_(below[..., None, None], fill) if warp.padding == "zeros" else out


def resample(images: Tensor, warp: Warp, *, mode: str = "bilinear") -> Tensor:
    """Resample by interpolation. Shape: N C H W, float -> N C h w."""
    return F.grid_sample(images, _grid(warp), mode=mode, padding_mode=PADDINGS[warp.padding], align_corners=False)


def resample_labels(labels: Tensor, warp: Warp) -> Tensor:
    """Dense labels follow the picture: nearest, and `IGNORE` outside the source. N H W or N K H W -> the same, h w.

    Flips and whole-pixel shifts are exact, for numbers of any size; else these are below 2^24, as classes are. A
    position in the middle between two pixels takes the one to the right or below, in the stored picture, wherever it is
    looked at from; a picture there shows both alike.
    """
    planes = labels.unsqueeze(1) if labels.dim() == 3 else labels
    inside = replace(warp, padding="zeros")
    if warp.whole:
        moved = gather(planes.permute(0, 2, 3, 1), inside, fill=IGNORE).permute(0, 3, 1, 2).contiguous()
    else:
        matrix = warp.matrix.clone()
        matrix[:, :2] += TIE * matrix[:, 2:]
        nudged = replace(inside, matrix=matrix)
        moved = resample((planes - IGNORE).float(), nudged, mode="nearest").to(labels.dtype) + IGNORE
    return moved.view(*labels.shape[:-2], *warp.size)


def _positions(warp: Warp, axis: int) -> Tensor:
    """Source index for each output index along x (axis 0) or y (axis 1), inside or not. N length."""
    length, source = (warp.size[1], warp.source[1]) if axis == 0 else (warp.size[0], warp.source[0])
    position = torch.arange(length, device=warp.matrix.device) - (length - 1) / 2
    sign, offset = warp.matrix[:, axis, axis, None], warp.matrix[:, axis, 2, None]
    return (sign * position + offset + (source - 1) / 2).round().long()


def _indices(warp: Warp, axis: int) -> tuple[Tensor, Tensor]:
    """Source index for each output index along x (axis 0) or y (axis 1), and where it lay outside. N length."""
    index, source = _positions(warp, axis), warp.source[1 - axis]
    outside = (index < 0) | (index >= source)
    if warp.padding == "reflect":
        index = index.remainder(2 * source)
        return torch.minimum(index, 2 * source - 1 - index), outside
    return index.clamp(0, source - 1), outside


def _widened(images: Tensor, overhang: int, padding: str, fill: int) -> Tensor:
    """Pictures with `overhang` more columns on each side, at most as many as they have. N H W C, contiguous."""
    if not overhang:
        return images.contiguous()
    left, right = images[:, :, :overhang].flip(2), images[:, :, -overhang:].flip(2)
    if padding == "edge":
        left, right = images[:, :, :1].expand_as(left), images[:, :, -1:].expand_as(right)
    elif padding == "zeros":
        left, right = torch.full_like(left, fill), torch.full_like(right, fill)
    return torch.cat([left, images, right], 2)


def _grid(warp: Warp) -> Tensor:
    """Sampling positions in grid_sample's units, -1 to 1 over the source's edges. N h w 2."""
    height, width = warp.size
    matrix = warp.matrix * warp.matrix.new_tensor([[2 / warp.source[1]], [2 / warp.source[0]], [1.0]])
    rows = matrix[..., None, None].unbind(1)  # three of N 3 1 1
    x = torch.arange(width, device=matrix.device, dtype=matrix.dtype) - (width - 1) / 2
    y = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) - (height - 1) / 2)[:, None]
    if warp.field is not None:
        x, y = x + warp.field[:, 0].to(x.dtype), y + warp.field[:, 1].to(y.dtype)
    grid = matrix.new_empty(warp.n, height, width, 2)
    # Sums rather than a matrix product, whose rounding depends on how many pictures there are.
    for axis in range(2):
        torch.add(rows[axis][:, 0] * x, rows[axis][:, 1] * y + rows[axis][:, 2], out=grid[..., axis])
    if matrix.device.type != "cpu" or (matrix[:, 2, :2] != 0).any():  # a GPU would have to wait for this answer
        grid /= (rows[2][:, 0] * x + (rows[2][:, 1] * y + rows[2][:, 2]))[..., None]
    return grid
