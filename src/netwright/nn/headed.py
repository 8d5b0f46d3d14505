"""A network whose features go to a head of their own: what transfer trains, search compares and probes read."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.output import Outputs, main_output

Pool = Literal["avg", "max", "avg_max"]


class Headed(nn.Module):
    """A backbone that gives features, and a head that turns these into scores.

    Args:
        backbone: maps N C H W to its embedding, N F; or, where a stage is named, shows its maps as a family does.
        head: maps N F to N K.
        stage: whose map is pooled, counted from 0, or from -1 backwards; None takes the backbone's own embedding.
        pool: how that map becomes a vector.
    """

    head_name = "head"
    auxiliary_names: tuple[str, ...] = ()

    def __init__(self, backbone: nn.Module, head: nn.Module, *, stage: int | None = None, pool: Pool = "avg") -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.stage = stage
        self.pool: Pool = pool
        self.smallest = int(getattr(backbone, "smallest", 1))
        # Whether the backbone stands still, so that a picture's features are the same whenever they are computed.
        self.fixed = False

    def maps(self, x: Tensor) -> list[Tensor]:
        """The backbone's maps."""
        return self._shown("maps")(x)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The same, for pictures that are large enough.

        Raises:
            NetwrightError: they are not, or the backbone shows no maps.
        """
        return self._shown("stages")(x)

    def features(self, x: Tensor) -> Tensor:
        """What the head is given, in float32 whatever the network computes in: N C H W -> N F."""
        return self._seen(x)[0]

    def forward(self, x: Tensor) -> Any:
        """Class scores, N K, of pictures, N C H W, or of features that were computed before, N F.

        In training, a backbone with auxiliary heads gives their scores beside the head's.
        """
        if x.dim() == 2:
            return self.head(x)
        features, auxiliary = self._seen(x)
        scores = self.head(features)
        return Outputs(scores, auxiliary) if auxiliary else scores

    def _seen(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features, and the scores of auxiliary heads that the backbone has."""
        if self.stage is not None:
            return pooled(stage_of(self.stages(x), self.stage).float(), self.pool), ()
        given = self.backbone(x)
        return main_output(given).flatten(1).float(), given.auxiliary if isinstance(given, Outputs) else ()

    def _shown(self, name: str) -> Any:
        shown = getattr(self.backbone, name, None)
        if shown is None:
            raise NetwrightError(f"{type(self.backbone).__name__} does not show its feature maps", "use a model family")
        return shown


def pooled(map_: Tensor, kind: Pool = "avg") -> Tensor:
    """A feature map as a vector: its mean, its maximum, or both. N C h w -> N C, or N 2C."""
    parts = [map_.mean((2, 3))] if kind != "max" else []
    parts += [map_.amax((2, 3))] if kind != "avg" else []
    return torch.cat(parts, 1)


def stage_of(maps: list[Tensor], stage: int) -> Tensor:
    """One of a network's maps by its place.

    Raises:
        NetwrightError: there are not as many.
    """
    if not -len(maps) <= stage < len(maps):
        fix = f"give 0 to {len(maps) - 1}, or -1 for the last"
        raise NetwrightError(f"the network has {len(maps)} stages, and no stage {stage}", fix)
    return maps[stage]
