"""Where in a network a trick may act: its heads, and the layers at the ends of its stages."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.headed import Headed
from netwright.nn.watched import SIDE, Call, Staged, Watched, black

__all__ = ["SIDE", "Hook", "Layer", "Place", "Staged", "heads", "stage_ends"]

Layer = nn.Linear | nn.Conv2d
Hook = Callable[..., Any]  # as torch wants it: (layer, what it is given) or (layer, what it is given, what it gives)


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

    A network without linear layers, such as one that judges each pixel, has its last convolution for a head.

    Raises:
        NetwrightError: there is neither.
    """
    if isinstance(network, Staged):
        return [cast(nn.Module, network).get_submodule(network.head_name)]
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    if not linear:
        return [_convolutions(network)[-1]]
    return [layer for layer in linear if layer.out_features == linear[-1].out_features]


def stage_ends(network: nn.Module, stages: int) -> list[Place]:
    """Where the maps of a family's last stages pass; of another network the places after its last convolutions.

    A convolution that is the head gives no map, unless it is the only one.

    Raises:
        NetwrightError: there are no maps.
    """
    if isinstance(network, Headed):
        return stage_ends(network.backbone, stages)
    if isinstance(network, Staged):
        return _map_places(network, stages)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    if not convolutions:
        raise _no_maps(network)
    ends = heads(network)
    before = [layer for layer in convolutions if layer not in ends] or convolutions
    return [Place(layer, after=True) for layer in before[-stages:]]


def _convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """All of a network's.

    Raises:
        NetwrightError: there is none.
    """
    found = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    if not found:
        raise NetwrightError(
            f"{type(network).__name__} has no linear layer and no convolution", "leave out the trick that wants one"
        )
    return found


def _place(calls: list[Call], map_: Tensor) -> tuple[str, bool] | None:
    """The outermost layer that gave a map, else the first that was given it; only one that is used once."""
    times = Counter(call.name for call in calls)
    once = [call for call in calls if times[call.name] == 1]
    gave = [call for call in once if call.output is map_]
    given = [call.name for call in once if call.given and call.given[0] is map_]
    return (max(gave, key=lambda call: call.end).name, True) if gave else (given[0], False) if given else None


def _map_places(network: Any, stages: int) -> list[Place]:
    image = black(network)
    if image is None:
        raise _no_maps(network)
    watched = Watched(network)
    maps = watched.maps(image)
    found = [_place(watched.calls, map_) for map_ in maps[-stages:]]
    places = [Place(network.get_submodule(place[0]), place[1]) for place in found if place]
    if len(places) < len(found):
        raise _no_maps(network)
    return places


def _no_maps(network: nn.Module) -> NetwrightError:
    return NetwrightError(
        f"{type(network).__name__} has no feature maps to drop parts of",
        "choose a convolutional network, or the trick dropout, which drops what the last layer sees",
    )
