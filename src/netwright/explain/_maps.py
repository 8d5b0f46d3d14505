"""The feature maps of a pass and the scores that came of them, in one graph."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.explain._method import Subject, scores_of
from netwright.nn.places import Staged, stage_ends

Maps = list[Tensor]


class Pass(NamedTuple):
    """Scores, N K, and the maps N C h w that they came of, from large to small."""

    scores: Tensor
    maps: Maps


def passed(subject: Subject, image: Tensor, *, keep: bool = False) -> Pass:
    """One pass of pictures, N C H W, whose maps can be asked for gradients; `keep` those of the picture, too.

    A family's maps are those of its `stages`, also where a wrapper calls it; where it is called more than once, as with
    test-time augmentation, those of the first call. A timm model's are found by the layers that give them. Of another
    network, the last convolution at each resolution gives the map.

    Raises:
        NetwrightError: the network has no maps, or gives no class scores.
    """
    subject.network.eval()
    # Not a leaf, so that a layer may work in place on it; and with a gradient, so that frozen layers have one too.
    image = (image if keep else image.detach().clone().requires_grad_()) + 0
    staged = [layer for layer in subject.network.modules() if isinstance(layer, Staged)]
    for look in (_shown, _placed) if staged else (_convolved,):
        scores, maps = look(subject.network, image)
        if any(_places(map_) > 1 for map_ in maps):
            return Pass(scores, maps)
    raise no_maps(subject.network)


def gradient_at(seen: Pass, target: Tensor, stage: int) -> tuple[Tensor, Tensor]:
    """A map and the gradient of the target classes' scores there: both N C h w.

    Negative stages count back from the last map with places that the scores depend on: a head may read an earlier one,
    and of a small picture the last map may be a single place, which tells nothing from anything else.

    Raises:
        NetwrightError: there is no such stage, it has one place, or the scores do not depend on it.
    """
    total = seen.scores.gather(1, target[:, None]).sum()
    maps = seen.maps
    if stage < 0:
        while maps and not (_places(maps[-1]) > 1 and _gradient(total, maps[-1]) is not None):
            maps = maps[:-1]
        if not maps:
            fix = "use occlusion, which asks any network"
            raise NetwrightError("no feature map with more than one place leads to this network's scores", fix)
    if not -len(maps) <= stage < len(maps):
        fix = f"give stage=0 to stage={len(maps) - 1}, or -1 for the last"
        raise NetwrightError(f"{len(maps)} stages of this network can be looked at, and there is no {stage}", fix)
    if _places(maps[stage]) <= 1:
        fix = "choose an earlier stage, or -1 for the last with places, or give larger pictures"
        raise NetwrightError(f"the map of stage {stage} is 1x1, so no place in it differs from another", fix)
    gradient = _gradient(total, maps[stage])
    if gradient is None:
        fix = "choose another stage; -1 is the last that counts"
        raise NetwrightError(f"the scores do not depend on the map of stage {stage}", fix)
    return maps[stage].detach().float(), gradient.float()


def no_maps(network: nn.Module) -> NetwrightError:
    """The error for a network that keeps no places apart."""
    return NetwrightError(
        f"{type(network).__name__} has no feature maps that can be read", "use occlusion, which asks any network"
    )


def _places(map_: Tensor) -> int:
    return map_.shape[-2:].numel()


def _gradient(total: Tensor, map_: Tensor) -> Tensor | None:
    if not map_.requires_grad or not total.requires_grad:
        return None
    return torch.autograd.grad(total, map_, retain_graph=True, allow_unused=True)[0]


def _shown(network: nn.Module, image: Tensor) -> tuple[Tensor, Maps]:
    """Maps as the network's own method gives them while it computes scores; none where these go another way."""
    seen: list[Maps] = []
    with ExitStack() as held:
        for layer in network.modules():
            if isinstance(layer, Staged):
                held.enter_context(_watched(layer, seen))
        scores = scores_of(network(image))
    return scores, seen[0] if seen else []


@contextmanager
def _watched(layer: Any, seen: list[Maps]) -> Generator[None]:
    compute: Callable[[Tensor], Maps] = layer.maps

    def kept(x: Tensor) -> Maps:
        maps = list(compute(x))
        seen.append(maps)
        return maps

    layer.maps = kept
    try:
        yield
    finally:
        del layer.__dict__["maps"]


def _placed(network: nn.Module, image: Tensor) -> tuple[Tensor, Maps]:
    """Maps at the layers that give them, where the network's method is not part of its pass."""
    layer = next(layer for layer in network.modules() if isinstance(layer, Staged))
    try:
        with torch.no_grad():
            stages = len(layer.maps(image[:1].detach()))
        places = stage_ends(cast(nn.Module, layer), stages)
    except NetwrightError:
        raise no_maps(network) from None
    found: dict[int, Tensor] = {}
    with ExitStack() as held:
        for number, place in enumerate(places):
            if place.after:
                handle = place.layer.register_forward_hook(_after(number, found))
            else:
                handle = place.layer.register_forward_pre_hook(_before(number, found))
            held.callback(handle.remove)
        scores = scores_of(network(image))
    return scores, [found[number] for number in sorted(found)]


def _after(number: int, found: dict[int, Tensor]) -> Callable[..., None]:
    def hook(layer: nn.Module, given: Any, gave: Tensor) -> None:
        found.setdefault(number, gave)

    return hook


def _before(number: int, found: dict[int, Tensor]) -> Callable[..., None]:
    def hook(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        found.setdefault(number, given[0])

    return hook


def _convolved(network: nn.Module, image: Tensor) -> tuple[Tensor, Maps]:
    """The last convolution's output at each resolution that still has places."""
    found: dict[int, Tensor] = {}

    def hook(layer: nn.Module, given: Any, gave: Tensor) -> None:
        if gave.dim() == 4 and gave.shape[-2:].numel() > 1:
            found[gave.shape[-1]] = gave

    with ExitStack() as held:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                held.callback(layer.register_forward_hook(hook).remove)
        scores = scores_of(network(image))
    return scores, list(found.values())
