"""Grad-CAM that counts places rather than areas (Chattopadhay et al. 2018, arXiv:1710.11063)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from netwright.explain._colour import enlarged
from netwright.explain._maps import gradient_at, passed
from netwright.explain._method import Subject, Where, with_gradients
from netwright.explain.gradcam import Stage


@dataclass(frozen=True)
class GradcamPlusPlus(Where):
    """Grad-CAM whose weights keep small objects from vanishing beside large ones of the same class.

    Attributes:
        stage: whose map: 0 is the largest, -1 the last of more than one place that the scores depend on.
    """

    stage: Stage = -1

    by_places: ClassVar[bool] = True

    def heat(self, subject: Subject, image: Tensor, target: Tensor) -> Tensor:
        """See `Where.heat`; never below 0."""
        with with_gradients():
            map_, gradient = gradient_at(passed(subject, image), target, self.stage)
        return enlarged(cam_plus_plus(map_, gradient), *image.shape[2:])


def cam_plus_plus(map_: Tensor, gradient: Tensor) -> Tensor:
    """max(0, Σ_k w_k A_k) with w_k = Σ α g⁺ and α = g² / (2 g² + g³ Σ A), for the exponential of a score that is
    piecewise linear in the map (equations 10, 19). N C h w -> N h w.
    """
    total = map_.sum((2, 3), keepdim=True)
    below = 2 * gradient**2 + gradient**3 * total
    share = gradient**2 / below.where(below != 0, below.new_ones(()))
    weight = (share * gradient.relu()).sum((2, 3), keepdim=True)
    return (weight * map_).sum(1).relu()
