"""The kernels of a network's first layer, as pictures (Krizhevsky, Sutskever & Hinton 2012, figure 3)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.explain._colour import coloured, pixels
from netwright.explain._method import Sheet, Subject, What
from netwright.records.intervals import Interval, bootstrap_mean


@dataclass(frozen=True)
class Filters(What):
    """First-layer kernels, the strongest first, and whether they look trained.

    Attributes:
        most: how many are shown.
        shown: the kernels themselves, or how strongly each answers to each spatial frequency, 0 in the middle.
    """

    most: Annotated[int, Between(1, 256)] = 64
    shown: Literal["kernel", "spectrum"] = "kernel"

    def sheets(self, subject: Subject, image: Tensor | None = None, target: int | None = None) -> list[Sheet]:
        """One sheet; see `What.sheets`."""
        name, weight = first_kernels(subject)
        strength = weight.flatten(1).norm(dim=1)
        order = strength.argsort(descending=True, stable=True)[: self.most]
        draw = _kernel if self.shown == "kernel" else _spectrum
        some = f"{len(order)} of {len(weight)}" if len(order) < len(weight) else f"all {len(weight)}"
        count, channels, height, width = weight.shape
        name_of = "channel" if channels == 1 else "channels"
        title = f"First layer ({name}): {some} kernels of {height}x{width} over {channels} {name_of}, strongest first"
        note, facts = judged(weight)
        return [Sheet(title, [draw(weight[i]) for i in order], [""] * len(order), note, facts | {"kernels": count})]


def first_kernels(subject: Subject) -> tuple[str, Tensor]:
    """The first layer's name and its weights, O C h w; those of a dense layer are as large as its picture.

    Raises:
        NetwrightError: the first layer's weights are no pictures.
    """
    layers = [(n, m) for n, m in subject.network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    if layers:
        name, layer = layers[0]
        weight = layer.weight.detach().float().cpu()
        if isinstance(layer, nn.Conv2d):
            return name, weight
        if subject.shape and weight.shape[1] == int(np.prod(subject.shape)):
            return name, weight.unflatten(1, subject.shape)
    raise NetwrightError(
        f"the first layer of {type(subject.network).__name__} has no kernels to draw", "choose a convolutional network"
    )


def alikeness(weight: Tensor) -> np.ndarray:
    """The correlation of weights side by side, kernel by kernel: near 0 where they are random. O C h w -> O."""
    w = weight.double()
    across, down = w[..., 1:] * w[..., :-1], w[..., 1:, :] * w[..., :-1, :]
    pairs = max(1, across[0].numel() + down[0].numel())
    products = across.flatten(1).sum(1) + down.flatten(1).sum(1)
    power = (w**2).flatten(1).mean(1).clamp_min(1e-30)
    return (products / pairs / power).numpy()


def judged(weight: Tensor) -> tuple[str, dict[str, object]]:
    """Whether kernels look trained, in words and numbers."""
    if min(weight.shape[2:]) < 2 or len(weight) < 2:
        return "They are too small, or too few, for their looks to say whether they were trained.", {}
    found: Interval = bootstrap_mean(alikeness(weight))
    said = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    facts: dict[str, object] = {"neighbour_correlation": found.to_json()}
    if found.low > 0:
        return f"Weights side by side are alike: correlation {said}, where kernels drawn at random have 0.", facts
    if found.high < 0:
        words = "Weights side by side oppose each other, as in kernels for edges and fine texture"
        return f"{words}: correlation {said}, where kernels drawn at random have 0.", facts
    words = f"Weights side by side are no more alike than in kernels drawn at random (correlation {said}, random 0)"
    return f"{words}: these look untrained.", facts


def _kernel(weight: Tensor) -> np.ndarray:
    """Grey is 0; three channels are red, green and blue, others their mean. C h w -> h w 3."""
    shown = weight if len(weight) in (1, 3) else weight.mean(0, keepdim=True)
    return pixels(0.5 + shown / (2 * shown.abs().max().clamp_min(1e-30)))


def _spectrum(weight: Tensor) -> np.ndarray:
    """|Fourier transform|, summed over channels, on a grid of 16 frequencies. C h w -> 16 16 3."""
    side = max(16, *weight.shape[1:])
    power = torch.fft.fft2(weight, s=(side, side)).abs().pow(2).sum(0).sqrt()
    power = torch.fft.fftshift(power)
    return coloured((power / power.max().clamp_min(1e-30)).numpy(), "viridis")
