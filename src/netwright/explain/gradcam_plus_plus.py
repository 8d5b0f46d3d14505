"""Grad-CAM that counts places rather than areas (Chattopadhay et al. 2018, arXiv:1710.11063)."""

from dataclasses import dataclass

from torch import Tensor

from netwright.explain.gradcam import Gradcam


@dataclass(frozen=True)
class GradcamPlusPlus(Gradcam):
    """Grad-CAM whose weights keep small objects from vanishing beside large ones of the same class.

    Attributes:
        stage: whose map: 0 is the largest, -1 the last of more than one place that the scores depend on.
    """

    def weighed(self, map_: Tensor, gradient: Tensor) -> Tensor:
        """See `Gradcam.weighed`."""
        return cam_plus_plus(map_, gradient)


def cam_plus_plus(map_: Tensor, gradient: Tensor) -> Tensor:
    """max(0, Σ_k w_k A_k) with w_k = Σ α g⁺ and α = g² / (2 g² + g³ Σ A), for the exponential of a score that is
    piecewise linear in the map (equations 10, 19). N C h w -> N h w.
    """
    total = map_.sum((2, 3), keepdim=True)
    below = 2 * gradient**2 + gradient**3 * total
    share = gradient**2 / below.where(below != 0, below.new_ones(()))
    weight = (share * gradient.relu()).sum((2, 3), keepdim=True)
    return (weight * map_).sum(1).relu()
