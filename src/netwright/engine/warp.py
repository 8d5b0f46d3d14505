"""Geometry, composed: every geometric trick multiplies one map, and the picture is resampled once."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = {"reflect": "reflection", "zeros": "zeros", "edge": "border"}
IGNORE = -1


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


def gather(images: Tensor, warp: Warp) -> Tensor:
    """Resample by index alone: exact, and only for flips and whole-pixel shifts. N H W C -> N h w C, any dtype."""
    columns, right = _indices(warp, 0)
    rows, below = _indices(warp, 1)
    pictures = torch.arange(warp.n, device=images.device)[:, None, None]
    out = images[pictures, rows[:, :, None], columns[:, None, :]]
    if warp.padding == "zeros":
        outside = below[:, :, None] | right[:, None, :]
        out = out.masked_fill(outside[..., None], 0)
    return out


def resample(images: Tensor, warp: Warp, *, mode: str = "bilinear") -> Tensor:
    """Resample by interpolation. Shape: N C H W, float -> N C h w."""
    return F.grid_sample(images, _grid(warp), mode=mode, padding_mode=PADDINGS[warp.padding], align_corners=False)


def resample_labels(labels: Tensor, warp: Warp) -> Tensor:
    """Dense labels follow the picture: nearest, and `IGNORE` outside the source. Shape: N H W -> N h w."""
    inside = replace(warp, padding="zeros")
    moved = resample(
        (labels - IGNORE)[:, None].double(), replace(inside, matrix=inside.matrix.double()), mode="nearest"
    )
    return moved[:, 0].round().to(labels.dtype) + IGNORE


def _indices(warp: Warp, axis: int) -> tuple[Tensor, Tensor]:
    """Source index for each output index along x (axis 0) or y (axis 1), and where it lies outside. N length."""
    length, source = (warp.size[1], warp.source[1]) if axis == 0 else (warp.size[0], warp.source[0])
    position = torch.arange(length, device=warp.matrix.device) - (length - 1) / 2
    sign, offset = warp.matrix[:, axis, axis, None], warp.matrix[:, axis, 2, None]
    index = (sign * position + offset + (source - 1) / 2).round().long()
    outside = (index < 0) | (index >= source)
    if warp.padding == "reflect":
        index = index.remainder(2 * source)
        return torch.minimum(index, 2 * source - 1 - index), outside
    return index.clamp(0, source - 1), outside


def _grid(warp: Warp) -> Tensor:
    """Sampling positions in grid_sample's units, -1 to 1 over the source's edges. N h w 2."""
    height, width = warp.size
    matrix = warp.matrix[..., None, None]  # N 3 3 1 1
    x = torch.arange(width, device=matrix.device, dtype=matrix.dtype) - (width - 1) / 2
    y = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) - (height - 1) / 2)[:, None]
    if warp.field is not None:
        x, y = x + warp.field[:, 0].to(x.dtype), y + warp.field[:, 1].to(y.dtype)
    # Sums rather than a matrix product, whose rounding would depend on how many pictures there are.
    across, down, depth = (matrix[:, i, 0] * x + (matrix[:, i, 1] * y + matrix[:, i, 2]) for i in range(3))
    return torch.stack([across / depth * (2 / warp.source[1]), down / depth * (2 / warp.source[0])], 3)
