"""Whether a heat map depends on what was learned: the randomisation test (Adebayo et al. 2018, arXiv:1810.03292)."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.explain._method import Subject, Where
from netwright.nn.ends import head_parameters
from netwright.records.intervals import Interval, bootstrap_mean

DRAWS = 5


@dataclass(frozen=True)
class Randomised:
    """Rank correlation of a map with those of the same network after its weights were shuffled.

    Attributes:
        head: only the head's weights shuffled.
        whole: all weights shuffled.
    """

    head: Interval
    whole: Interval

    @property
    def verdict(self) -> str:
        """In words."""
        parts = [f"{_said(self.head)} with its head shuffled", f"{_said(self.whole)} with all weights shuffled"]
        says = "1 would mean that the map does not depend on them"
        return f"rank correlation with the map of the same network {parts[0]}, {parts[1]}; {says}"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"head": self.head.to_json(), "whole": self.whole.to_json(), "verdict": self.verdict}


def randomised(subject: Subject, method: Where, image: Tensor, target: Tensor, heat: Tensor) -> Randomised:
    """Compare a map, 1 H W, of one picture, 1 C H W, with those of shuffled copies of its network."""
    heads = head_parameters(subject.network)
    every = {name for name, _ in subject.network.named_parameters()}

    def alike(names: set[str]) -> Interval:
        found: list[float] = []
        for seed in range(DRAWS):
            other = Subject(
                shuffled(subject.network, names, seed),
                subject.normalise,
                subject.shape,
                subject.temperature,
                subject.several,
            )
            found.append(rank_correlation(heat[0], method.heat(other, image, target)[0]))
        return bootstrap_mean(found)

    return Randomised(alike(set(heads)), alike(every))


@torch.no_grad()
def shuffled(network: nn.Module, names: set[str], seed: int) -> nn.Module:
    """A copy whose named weights are each shuffled within their tensor, so that their sizes stay."""
    network = copy.deepcopy(network)
    random = torch.Generator().manual_seed(seed)
    for name, weight in network.named_parameters():
        if name in names:
            order = torch.randperm(weight.numel(), generator=random).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return network


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's, ties sharing their mean rank; 0 where a map is the same everywhere."""
    ranks = torch.stack([_ranks(one.flatten().double()), _ranks(other.flatten().double())])
    ranks = ranks - ranks.mean(1, keepdim=True)
    size = (ranks**2).sum(1).prod().sqrt()
    return float((ranks[0] * ranks[1]).sum() / size) if size > 0 else 0.0


def _ranks(values: Tensor) -> Tensor:
    _, which, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[which]


def _said(found: Interval) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
