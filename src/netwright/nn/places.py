"""Where in a network a trick may act: its heads, and the layers at the ends of its stages."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError

SIDE = 224  # of the image that shows where maps come from, in pixels, for networks that do not say how small it may be

Layer = nn.Linear | nn.Conv2d
Hook = Callable[..., Any]  # as torch wants it: (layer, what it is given) or (layer, what it is given, what it gives)


@runtime_checkable
class Staged(Protocol):
    """What every model family says of itself."""

    head_name: str
    smallest: int

    def maps(self, x: Tensor) -> list[Tensor]:
        """The last feature map at each resolution, from large to small."""
        ...


@dataclass(frozen=True)
class Place:
    """After a layer, or before it."""

    layer: nn.Module
    after: bool

    def attach(self, hook: Hook) -> None:
        """Let a hook act here."""
        register = self.layer.register_forward_hook if self.after else self.layer.register_forward_pre_hook
        register(hook)


def heads(network: nn.Module) -> list[nn.Module]:
    """The layer a family calls its head; of another network all linear layers with as many outputs as the last.

    Raises:
        NetwrightError: there is no linear layer.
    """
    if isinstance(network, Staged):
        return [cast(nn.Module, network).get_submodule(network.head_name)]
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise NetwrightError(f"{type(network).__name__} has no linear layer", "leave out the trick that wants one")
    return [layer for layer in linear if layer.out_features == linear[-1].out_features]


def stage_ends(network: nn.Module, stages: int) -> list[Place]:
    """Where the maps of a family's last stages pass; of another network the places after its last convolutions.

    Raises:
        NetwrightError: there are no maps.
    """
    if isinstance(network, Staged):
        return _map_places(network, stages)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    if not convolutions:
        raise _no_maps(network)
    return [Place(layer, after=True) for layer in convolutions[-stages:]]


class _Watched:
    """A copy of a network that remembers what its layers were given and gave."""

    def __init__(self, network: Staged) -> None:
        self.network: Any = cast(nn.Module, copy.deepcopy(network)).eval()
        self.starts: list[tuple[str, Any]] = []
        self.ends: list[tuple[str, Any]] = []
        for name, layer in self.network.named_modules():
            layer.register_forward_pre_hook(partial(self._started, name))
            layer.register_forward_hook(partial(self._ended, name))

    def maps(self, image: Tensor) -> list[Tensor]:
        """The maps of a whole pass, or of the method alone where the pass goes another way (timm's models)."""
        seen: list[Tensor] = []
        compute: Callable[[Tensor], list[Tensor]] = self.network.maps

        def kept(x: Tensor) -> list[Tensor]:
            maps = compute(x)
            seen.extend(maps)
            return maps

        self.network.maps = kept
        self.network(image)
        if not seen:
            self.starts.clear()
            self.ends.clear()
            seen = compute(image)
        return seen

    def _started(self, name: str, _: nn.Module, given: tuple[Any, ...]) -> None:
        self.starts.append((name, given[0] if given else None))

    def _ended(self, name: str, _: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        self.ends.append((name, output))

    def place(self, map_: Tensor) -> tuple[str, bool] | None:
        """The outermost layer that gave a map, else the first that was given it; only one that is used once."""
        times = Counter(name for name, _ in self.starts)
        gave = [name for name, output in self.ends if output is map_ and times[name] == 1]
        given = [name for name, first in self.starts if first is map_ and times[name] == 1]
        return (gave[-1], True) if gave else (given[0], False) if given else None


def _map_places(network: Any, stages: int) -> list[Place]:
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        raise _no_maps(network)
    watched, side = _Watched(network), network.smallest if network.smallest > 1 else SIDE
    with torch.no_grad():  # for real: the first use of torch's meta device imports the compiler, which takes seconds
        maps = watched.maps(first.weight.new_zeros(1, first.in_channels, side, side))
    found = [watched.place(map_) for map_ in maps[-stages:]]
    places = [Place(network.get_submodule(place[0]), place[1]) for place in found if place]
    if len(places) < len(found):
        raise _no_maps(network)
    return places


def _no_maps(network: nn.Module) -> NetwrightError:
    return NetwrightError(
        f"{type(network).__name__} has no feature maps to drop parts of",
        "choose a convolutional network, or the trick dropout, which drops what the last layer sees",
    )
