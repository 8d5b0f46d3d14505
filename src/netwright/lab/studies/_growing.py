"""A network whose head grows by a part for each group of classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from netwright.core.spec import Spec
from netwright.data.split import Data, Split
from netwright.engine.random import key
from netwright.lab.studies._networks import State
from netwright.lab.studies._parts import pictures
from netwright.models import create_model
from netwright.models._weights import load_weights
from netwright.nn.headed import Headed
from netwright.nn.init import evaluating
from netwright.tricks import TRICKS


class GrowingHead(nn.Module):
    """One linear layer in parts, so that each part's scores are the same bits however many parts there are.

    Args:
        features: F.
        sizes: classes of each part, in the order in which they came.
    """

    def __init__(self, features: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(features, size) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """N F -> N K."""
        return torch.cat([part(x) for part in self.parts], 1)


def begun(model: str | Spec, channels: int, sizes: Sequence[int], *, seed: int, weights: str | None = None) -> Headed:
    """A network before it is trained on anything of ours: its backbone drawn by seed or with learnt weights.

    Raises:
        NetwrightError: an unknown model, weights that do not fit, or a network without a last linear layer.
    """
    torch.manual_seed(key(seed, "begun"))
    family = create_model(model, classes=2, in_channels=channels)
    if weights is not None:
        load_weights(family, weights)
    headed: Headed = TRICKS.build("head").model(family)
    last = [layer for layer in headed.head.modules() if isinstance(layer, nn.Linear)][-1]
    torch.manual_seed(key(seed, "head", len(sizes)))
    headed.head = GrowingHead(last.in_features, sizes)
    return headed


def grown(network: Headed, state: State, *, still: bool = False) -> Headed:
    """A network with the tensors of one whose head had fewer parts; the newest part stays as it was drawn.

    Args:
        network: to take them.
        state: of the older one.
        still: whether the older parts of the head are withheld from training.
    """
    network.load_state_dict({**network.state_dict(), **state})
    if still and isinstance(network.head, GrowingHead):
        network.head.parts[:-1].requires_grad_(False)
    return network


def features_of(network: Headed, data: Data, split: Split) -> Tensor:
    """What the head would be given, N F, of pictures seen as in evaluation; on the CPU."""
    with evaluating(network):
        found = [network.features(image).float().cpu() for image in pictures(data, split, network)]
    return torch.cat(found)


def herded(features: Tensor, count: int) -> Tensor:
    """Places of pictures whose mean feature stays nearest to that of all, one after the other. N F -> count.

    Herding (Welling 2009) as iCaRL uses it (Rebuffi et al. 2017, arXiv:1611.07725): features of length one, each next
    picture being the one that brings the mean of those chosen closest to the mean of all.
    """
    unit = nn.functional.normalize(features.double(), dim=1)
    mean, total = unit.mean(0), torch.zeros_like(unit[0])
    chosen: list[int] = []
    for taken in range(1, min(count, len(unit)) + 1):
        distance = (mean - (total + unit) / taken).norm(dim=1)
        distance[chosen] = torch.inf
        chosen.append(int(distance.argmin()))
        total = total + unit[chosen[-1]]
    return torch.tensor(chosen, dtype=torch.int64)
