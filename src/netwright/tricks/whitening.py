"""Makes the first convolution whiten patches of the training pictures."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.augment import plain_batches
from netwright.engine.trick import Card, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Whitening(Trick):
    """The first convolution's filters become the principal axes of patches, each scaled to variance 1.

    First come the axes by falling variance, then their negatives, so that a ReLU loses neither side; filters beyond
    both keep their first values, and a layer with fewer filters than axes has the leading ones.

    Attributes:
        eps: added to each variance, so that noise in the last axes is not blown up; pictures are normalised.
        frozen: whether the filters stay as they are; the bias learns in any case.
        batches: training batches to take patches from.
    """

    eps: Annotated[float, Between(1e-12)] = 5e-4
    frozen: bool = True
    batches: Annotated[int, Between(1)] = 8

    card = Card(
        paper="Jordan, 94 % on CIFAR-10 in 3.29 seconds on a single GPU, arXiv:2404.00498, 2024; "
        "Page, How to train your ResNet 8, 2019",
        treats=(Symptom.UNDERFITTING,),
        after=("init",),
        excludes=("weight_standardisation",),
        fresh=True,
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Withhold the filters from the optimiser."""
        first_convolution(module).weight.requires_grad_(not self.frozen)
        return module

    def start(self, run: "Run") -> None:
        """Set the filters."""
        layer = first_convolution(run.model)
        patches = (patches_of(batch, layer) for batch in islice(plain_batches(run), self.batches))
        filters = whitening_filters(covariance(patches), self.eps)  # D D
        both = torch.cat([filters, -filters])[: layer.out_channels].to(layer.weight)
        with torch.no_grad():
            layer.weight[: len(both)] = both.view(-1, *layer.weight.shape[1:])


def first_convolution(model: nn.Module) -> nn.Conv2d:
    """The convolution that was made first, which sees the pictures in every family.

    Raises:
        NetwrightError: there is none, or it is cut into groups.
    """
    layer = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    if layer is None or layer.groups > 1:
        lacks = "no convolution" if layer is None else "a first convolution in groups"
        raise NetwrightError(
            f"whitening cannot work: {type(model).__name__} has {lacks}",
            "choose a convolutional network, such as resnet20, or leave it out: --without whitening",
        )
    return layer


def patches_of(images: Tensor, layer: nn.Conv2d) -> Tensor:
    """What a filter sees, each place once and without the padding. N C H W -> P D.

    Raises:
        NetwrightError: another number of channels, or pictures smaller than the filter.
    """
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    if images.shape[1] != layer.in_channels or images.shape[2] < reach[0] or images.shape[3] < reach[1]:
        pictures = "×".join(map(str, images.shape[1:]))
        raise NetwrightError(
            f"whitening wants to cut {layer.in_channels}×{reach[0]}×{reach[1]} from {pictures}",
            "give larger pictures with --image-size, or leave it out: --without whitening",
        )
    return F.unfold(images.float(), layer.kernel_size, layer.dilation).transpose(1, 2).flatten(0, 1)


def covariance(patches: Iterable[Tensor]) -> Tensor:
    """Of patches P D that come in parts, D D, in double precision on the CPU: once a run."""
    n, total, square = 0, torch.zeros(()), torch.zeros(())
    for part in patches:
        part = part.double() if part.device.type == "cpu" else part.cpu().double()
        n, total, square = n + len(part), total + part.sum(0), square + part.T @ part
    mean = total / n
    return square / n - mean.outer(mean)


def whitening_filters(covariance: Tensor, eps: float) -> Tensor:
    """Principal axes as rows by falling variance, divided by √(variance + eps). D D -> D D.

    An axis has two directions; the one whose largest component is positive is taken, on every machine.
    """
    variances, axes = torch.linalg.eigh(covariance)  # axes are columns, by rising variance
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return (axes * largest.sign() / (variances.clamp(min=0) + eps).sqrt()).T.flip(0)
