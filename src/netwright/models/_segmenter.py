"""What every network that gives scores for each pixel offers, on images of any size."""

from abc import abstractmethod
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.models._family import Family
from netwright.nn.output import Outputs


class Segmenter(Family):
    """A network from images, N C H W, to scores for each pixel, N K H W, whatever H and W are.

    Images are padded to sides that the network divides without remainder, and scores are cropped back. Pixels are
    added at the right and the bottom only: tiles that start at multiples of `grid` are seen as parts of the whole.
    A subclass sets `stride` and `smallest`, what sides are padded to multiples of and to at least, and writes `scores`.
    """

    head_name = "head"
    encoder_name = "encoder"  # the submodule that holds a classifier's body
    stride: int = 1

    @property
    def grid(self) -> int:
        """Pixels between neighbours of its coarsest map: an image moved by as many gives the same maps, moved."""
        return self.stride

    @abstractmethod
    def scores(self, x: Tensor) -> Any:
        """Scores of images whose sides are multiples of `stride` and not below `smallest`: N C H W -> N K H W."""

    def forward(self, x: Tensor) -> Any:
        """Scores before softmax: N C H W -> N K H W; in training those of auxiliary heads too, where there are any."""
        height, width = x.shape[-2:]
        return cropped(self.scores(self.padded(x)), height, width)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The encoder's maps of the padded images, from large to small."""
        return self.get_encoder()(self.padded(x))

    def padded(self, x: Tensor) -> Tensor:
        """Images with their last column and row repeated up to the sides that `scores` takes."""
        right, bottom = (self._side(side) - side for side in (x.shape[-1], x.shape[-2]))
        return F.pad(x, (0, right, 0, bottom), mode="replicate") if right or bottom else x

    def get_encoder(self) -> nn.Module:
        """The part that `encoder_name` names; it gives maps, from large to small."""
        return self.get_submodule(self.encoder_name)

    def _side(self, side: int) -> int:
        return -(-max(side, self.smallest) // self.stride) * self.stride


def cropped(output: Any, height: int, width: int) -> Any:
    """The top left part of scores, N K H W -> N K height width, also of those of auxiliary heads."""
    if isinstance(output, Outputs):
        return Outputs(output.scores[..., :height, :width], tuple(a[..., :height, :width] for a in output.auxiliary))
    return output[..., :height, :width]
