"""What a network's units do on some pictures: which no longer answer to their input, and what norms are given."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.nn.depth import depths
from netwright.nn.init import ACTIVATIONS, Images, evaluating, shown
from netwright.nn.norm import batch_norms

FLAT = 0.05  # of an activation's steepest slope: a rectifier below 0, tanh above 0.975
REACH, KNOTS = 9.0, 3601  # where the steepest slope is looked for

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Activity:
    """One use of an activation.

    Attributes:
        name: the layer's.
        stage: whose map it helps to make, from 0; one more than the last for the head.
        flat: for each picture, the share of values at which the slope is nearly 0. N.
        dead: for each unit, whether that is so at every place of every picture. U.
        scale: root mean square of what it gives.
    """

    name: str
    stage: int
    flat: Floats
    dead: Bools
    scale: float


@dataclass(frozen=True, eq=False)
class Moved:
    """What a batch norm is given, beside the running statistics it subtracts and divides by.

    Attributes:
        name: the layer's.
        stage: as for activations.
        shift: for each unit, |mean − running mean| / running deviation. U.
        log_ratio: for each unit, ln(variance / running variance). U.
    """

    name: str
    stage: int
    shift: Floats
    log_ratio: Floats


@dataclass(frozen=True, eq=False)
class UnitStatistics:
    """Everything that was watched, in the order in which the network computes it."""

    activations: tuple[Activity, ...]
    norms: tuple[Moved, ...]


class _Use:
    """Sums over the pictures that one use of an activation has seen."""

    def __init__(self) -> None:
        self.flat: list[Tensor] = []
        self.dead: Tensor | None = None
        self.squares = 0.0
        self.values = 0

    def add(self, flat: Tensor, output: Tensor) -> None:
        """Take in N U ... of each."""
        wide = flat.reshape(flat.shape[0], flat.shape[1], -1)
        self.flat.append(wide.double().mean((1, 2)))
        dead = wide.all(2).all(0)
        self.dead = dead if self.dead is None else self.dead & dead
        self.squares += float(output.double().square().sum())
        self.values += output.numel()


class _Sums:
    """Sums over what one batch norm was given."""

    def __init__(self) -> None:
        self.total: Any = 0.0
        self.squares: Any = 0.0
        self.values = 0

    def add(self, given: Tensor) -> None:
        """Take in N U ...."""
        wide = given.detach().double().transpose(0, 1).flatten(1)
        self.total = self.total + wide.sum(1)
        self.squares = self.squares + wide.square().sum(1)
        self.values += wide.shape[1]


def unit_statistics(network: nn.Module, batches: Iterable[Images]) -> UnitStatistics:
    """Show a network some pictures as it would see them in use, and watch its activations and batch norms.

    Activations and norms are seen where they are modules of the kinds torch has; a network that calls functions
    instead has none. Units are channels, or the numbers of a vector; of N L F, tokens, they are F.

    Args:
        network: looked at in evaluation mode, and left as it was.
        batches: normalised, N C H W each, on the network's device; with classes where it takes them.
    """
    of_stage = depths(network).layers
    uses: dict[tuple[str, int], _Use] = {}
    sums: dict[str, _Sums] = {}
    calls: Counter[str] = Counter()
    steepest: dict[str, float] = {}

    def seen(name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        slopes, output = slope(layer, given[0])
        most = steepest.setdefault(name, _steepest(layer, given[0].device))
        place = (name, calls[name])
        calls[name] += 1
        flat = slopes.abs() < FLAT * most
        uses.setdefault(place, _Use()).add(_units_second(flat), output)

    def summed(name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        sums.setdefault(name, _Sums()).add(given[0])

    norms = set(batch_norms(network))
    with ExitStack() as stack, evaluating(network):
        for name, layer in network.named_modules():
            hook: Callable[..., None] | None = (
                seen if isinstance(layer, ACTIVATIONS) else summed if layer in norms else None
            )
            if hook:
                stack.callback(layer.register_forward_pre_hook(partial(hook, name)).remove)
        for batch in batches:
            calls.clear()
            shown(network, batch)
    found = [_activity(name, of_stage[name], use) for (name, _), use in uses.items()]
    moved = [_moved(name, of_stage[name], network.get_submodule(name), held) for name, held in sums.items()]
    return UnitStatistics(tuple(found), tuple(moved))


def slope(activation: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """An activation's derivative at each value, and what it gives there; the values stay as they are."""
    with torch.enable_grad():
        z = z.detach().float().requires_grad_()
        output: Tensor = activation.forward(z.clone())  # a copy: it may write over what it is given
        (found,) = torch.autograd.grad(output.sum(), z)
    return found, output.detach()


def _steepest(activation: nn.Module, device: torch.device) -> float:
    found, _ = slope(activation, torch.linspace(-REACH, REACH, KNOTS, device=device))
    return float(found.abs().max())


def _units_second(value: Tensor) -> Tensor:
    """N U ... of maps and vectors, N U L of tokens."""
    return value.transpose(1, 2) if value.dim() == 3 else value


def _activity(name: str, stage: int, use: _Use) -> Activity:
    dead = np.zeros(0, bool) if use.dead is None else use.dead.cpu().numpy()
    flat = torch.cat(use.flat).cpu().numpy()
    return Activity(name, stage, flat, dead, (use.squares / use.values) ** 0.5)


def _moved(name: str, stage: int, norm: Any, held: _Sums) -> Moved:
    mean = held.total / held.values
    variance = (held.squares / held.values - mean.square()).clamp(min=0)
    known = norm.running_var.double() + norm.eps
    shift = (mean - norm.running_mean.double()).abs() / known.sqrt()
    return Moved(name, stage, shift.cpu().numpy(), ((variance + norm.eps) / known).log().cpu().numpy())
