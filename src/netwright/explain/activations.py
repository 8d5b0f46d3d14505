"""What each stage makes of one picture: its strongest channels (Zeiler & Fergus 2014, arXiv:1311.2901)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.explain._colour import coloured, scaled
from netwright.explain._maps import passed
from netwright.explain._method import Sheet, Subject, What


@dataclass(frozen=True)
class Activations(What):
    """Feature maps by stage: the mean over all channels, then the channels that answer most strongly.

    Attributes:
        channels: how many of each stage.
    """

    channels: Annotated[int, Between(1, 64)] = 7

    wants_picture: ClassVar[bool] = True

    def sheets(self, subject: Subject, image: Tensor | None = None, target: int | None = None) -> list[Sheet]:
        """A sheet for each stage; each map has its own scale. See `What.sheets`."""
        if image is None:
            raise NetwrightError("activations are those of a picture", "name one")
        with torch.no_grad():
            maps = passed(subject, image[:1]).maps
        return [self._sheet(number, map_[0].detach().float().cpu()) for number, map_ in enumerate(maps)]

    def _sheet(self, number: int, map_: Tensor) -> Sheet:
        count, height, width = map_.shape
        order = strongest(map_)[: self.channels]
        dead = int((map_.flatten(1).abs().amax(1) == 0).sum())
        tiles = [coloured(scaled(map_.abs().mean(0).numpy()), "viridis")]
        tiles += [coloured(scaled(map_[k].numpy()), "viridis") for k in order]
        title = f"Stage {number}: {count} channels of {height}x{width}"
        note = f"{dead} of {count} channels are 0 everywhere in this picture." if dead else ""
        facts = {"stage": number, "channels": count, "silent": dead, "strongest": order}
        return Sheet(title, tiles, ["mean", *(f"channel {k}" for k in order)], note, facts)


def strongest(map_: Tensor) -> list[int]:
    """Channels by the mean of their positive part, the greatest first. C h w -> C."""
    return map_.relu().flatten(1).mean(1).argsort(descending=True, stable=True).tolist()
