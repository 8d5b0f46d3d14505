"""Whether a heat map is right about its network: deletion and insertion (Petsiuk, Das & Saenko 2018, arXiv:1806.07421).

Places are blurred in the order of their heat, and sharpened in that order; the areas under the two curves of the
class's probability are compared with those of the same map moved elsewhere in the picture. A map that is no better than
its own moved copies says nothing about places, however well it looks.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.explain._colour import blurred
from netwright.explain._method import Subject

Ends = tuple[float, float]
STEPS = 6  # from the whole picture to nothing of it
CERTAIN = 0.05
SOFT = 1 / 8  # of the side: what is left of a place that was blurred so is its mean colour


@dataclass(frozen=True)
class Faithful:
    """Two areas under curves of probability, each beside those of moved maps.

    Attributes:
        deletion: blurring the hottest places first; the lower, the better the map knows what counts.
        insertion: sharpening the hottest places first; the higher, the better.
        moved_deletion: the same for each moved map.
        moved_insertion: the same for each moved map.
    """

    deletion: float
    insertion: float
    moved_deletion: tuple[float, ...]
    moved_insertion: tuple[float, ...]

    @property
    def p_deletion(self) -> float:
        """The chance that a map at a random place does as well, by the Monte Carlo test (Besag & Clifford 1989)."""
        return _p([other <= self.deletion for other in self.moved_deletion])

    @property
    def p_insertion(self) -> float:
        """The same for insertion."""
        return _p([other >= self.insertion for other in self.moved_insertion])

    @property
    def verdict(self) -> str:
        """In words, with the spread over moved maps."""
        better = [p <= CERTAIN for p in (self.p_deletion, self.p_insertion)]
        says = {2: "better than", 1: "in one of two tests better than", 0: "not better than"}[sum(better)]
        n = len(self.moved_deletion)
        return (
            f"the map is {says} the same map at {n} random places: "
            f"deletion {self.deletion:.3f} (moved {_spread(self.moved_deletion)}, p = {self.p_deletion:.2f}), "
            f"insertion {self.insertion:.3f} (moved {_spread(self.moved_insertion)}, p = {self.p_insertion:.2f})"
        )

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "deletion": self.deletion,
            "insertion": self.insertion,
            "moved_deletion": list(self.moved_deletion),
            "moved_insertion": list(self.moved_insertion),
            "p_deletion": self.p_deletion,
            "p_insertion": self.p_insertion,
            "verdict": self.verdict,
        }


def faithful(subject: Subject, image: Tensor, target: Tensor, heat: Tensor, *, orders: int, seed: int = 0) -> Faithful:
    """Compare a map with moved copies of itself.

    Args:
        subject: the network.
        image: one normalised picture, 1 C H W.
        target: the class, 1.
        heat: the map, 1 H W.
        orders: how many copies; fewer than 19 can never be sure at the level of 5 %.
        seed: of the moves.
    """
    soft = blurred(image, SOFT)
    maps = [heat[0].to(image.device), *moved(heat[0].to(image.device), orders, seed)]
    whole, nothing = subject.probability(torch.cat([image, soft]), target.expand(2)).tolist()
    areas = [_areas(subject, image, soft, target, map_, (whole, nothing)) for map_ in maps]
    (deletion, insertion), others = areas[0], areas[1:]
    return Faithful(deletion, insertion, tuple(each[0] for each in others), tuple(each[1] for each in others))


def moved(heat: Tensor, copies: int, seed: int) -> list[Tensor]:
    """A map shifted around its edges, at least a quarter of a side away, each copy perhaps mirrored. H W -> H W."""
    height, width = heat.shape
    random = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while len(found) < copies:
        down, across = (int(torch.randint(side, (1,), generator=random)) for side in (height, width))
        mirrored = bool(torch.rand(1, generator=random) < 0.5)
        far = (min(down, height - down) >= height / 4, min(across, width - across) >= width / 4)
        if any(far) or min(height, width) < 4:
            found.append((heat.flip(1) if mirrored else heat).roll((down, across), (0, 1)))
    return found


def hottest(heat: Tensor, share: float) -> Tensor:
    """Where the hottest pixels are, as many as a share of all. H W -> bool H W."""
    count = round(share * heat.numel())
    order = heat.flatten().argsort(descending=True, stable=True)
    chosen = torch.zeros(heat.numel(), dtype=torch.bool, device=heat.device)
    chosen[order[:count]] = True
    return chosen.view_as(heat)


def area(curve: list[float]) -> float:
    """The area under a curve at even steps from 0 to 1, by trapezoids."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


def _areas(subject: Subject, image: Tensor, soft: Tensor, target: Tensor, heat: Tensor, ends: Ends) -> Ends:
    """The areas under the deletion and the insertion curve, whose ends are the same for all maps."""
    whole, nothing = ends
    masks = torch.stack([hottest(heat, step / STEPS) for step in range(1, STEPS)])[:, None]
    removed, inserted = torch.where(masks, soft, image), torch.where(masks, image, soft)
    found = subject.probability(torch.cat([removed, inserted]), target.expand(2 * len(masks))).tolist()
    return area([whole, *found[: len(masks)], nothing]), area([nothing, *found[len(masks) :], whole])


def _p(as_good: list[bool]) -> float:
    return (1 + sum(as_good)) / (1 + len(as_good))


def _spread(values: tuple[float, ...]) -> str:
    """The range of the moved maps' areas; with 19 of them, what 90 % of further ones stay within."""
    return f"{min(values):.3f} to {max(values):.3f}" if values else "none"
