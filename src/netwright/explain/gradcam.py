"""Where the evidence for a class lies in the last feature map (Selvaraju et al. 2017, arXiv:1610.02391)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from netwright.core.options import Between
from netwright.explain._colour import enlarged
from netwright.explain._maps import gradient_at, passed
from netwright.explain._method import Subject, Where, with_gradients

Stage = Annotated[int, Between(-100, 100)]


@dataclass(frozen=True)
class Gradcam(Where):
    """Channels of a feature map, weighted by how much the class's score rises with each.

    Attributes:
        stage: whose map: 0 is the largest, -1 the last of more than one place that the scores depend on.
    """

    stage: Stage = -1

    by_places: ClassVar[bool] = True

    def heat(self, subject: Subject, image: Tensor, target: Tensor) -> Tensor:
        """See `Where.heat`; never below 0."""
        with with_gradients():
            map_, gradient = gradient_at(passed(subject, image), target, self.stage)
        return enlarged(self.weighed(map_, gradient), *image.shape[2:])

    def weighed(self, map_: Tensor, gradient: Tensor) -> Tensor:
        """One map of all channels, from them and the score's slope in them. N C h w -> N h w."""
        return cam(map_, gradient)


def cam(map_: Tensor, gradient: Tensor) -> Tensor:
    """max(0, Σ_k a_k A_k) with a_k the mean over places of ∂score/∂A_k. N C h w -> N h w."""
    weight = gradient.mean((2, 3), keepdim=True)
    return (weight * map_).sum(1).relu()
