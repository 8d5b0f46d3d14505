"""Muon: hidden matrices step by their orthogonalised momentum, everything else by AdamW (Jordan et al. 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from netwright.core.options import Between
from netwright.engine.plans import Group
from netwright.optim._library import Library
from netwright.optim._optimizer import Beta

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass
class Muon(Library):
    """timm's Muon; kernels count as matrices of one row for each output.

    The update is scaled to the size of AdamW's (Liu et al., Muon is scalable for LLM training, 2025), so one rate and
    one decay serve both. AdamW trains biases, norms, the first layer, the heads, and kernels that are hardly matrices:
    depthwise ones, those with fewer than four rows or columns, and those 128 times as long as wide.

    Attributes:
        momentum: Nesterov's, of the gradient that is orthogonalised.
        betas: AdamW's.
    """

    lr: Annotated[float, Between(0)] = 2e-3
    momentum: Annotated[float, Between(0, 1)] = 0.95
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: Annotated[float, Between(0)] = 0.05

    def start(self, groups: Sequence[Group]) -> None:
        """Part each group into what Muon trains and what AdamW does."""
        super().start([part for group in groups for part in _parted(group)])

    def described(self, group: Group) -> dict[str, Any]:
        """With AdamW for a group of what is not hidden."""
        plain = not _hidden(group, *group.parameters[0])
        return super().described(group) | ({"use_fallback": True, "nesterov": False} if plain else {})

    def build(self, groups: list[dict[str, Any]]) -> "Optimizer":
        """timm.optim.Muon with the coefficients and Nesterov's momentum of the original."""
        from timm.optim import Muon as Timm

        options: dict[str, Any] = {"nesterov": True, "ns_coefficients": "original"}
        return Timm(groups, lr=self.lr, momentum=self.momentum, betas=self.betas, **options)


def _hidden(group: Group, name: str, parameter: Any) -> bool:
    return parameter.dim() > 1 and name not in group.ends


def _parted(group: Group) -> list[Group]:
    hidden = tuple(pair for pair in group.parameters if _hidden(group, *pair))
    plain = tuple(pair for pair in group.parameters if not _hidden(group, *pair))
    return [replace(group, parameters=part) for part in (hidden, plain) if part]
