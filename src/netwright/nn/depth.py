"""How deep in a network each layer lies: the stage whose map it helps to make."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.ends import head_parameters
from netwright.nn.headed import Headed
from netwright.nn.watched import Call, Staged, Watched, black

NEVER = float("inf")


@runtime_checkable
class Segmenting(Staged, Protocol):
    """What a family that gives each pixel its scores says of itself besides."""

    encoder_name: str


@dataclass(frozen=True)
class Depths:
    """Depths from 0, which helps to make the first map, to `stages`, which is the head.

    What lies between the last map and the head counts to the last stage; of a network with an encoder it is a stage of
    its own, the decoder. What is used in several counts to the first.

    Attributes:
        stages: how many feature maps there are, without those that nothing with parameters of its own makes from the
            one before; of a network that shows no maps, how many parts in a row.
        of: the depth of each parameter and each buffer, by name.
        layers: of each module the depth of the deepest thing in it, by name; the network's own name is "".
        encoder: how many of the stages are an encoder's, that is all of them where there is no decoder.
    """

    stages: int
    of: dict[str, int]
    layers: dict[str, int]
    encoder: int


def depths(network: nn.Module) -> Depths:
    """Depths in a family, in a backbone under a head of ours, or in any network.

    A family's stages are those of its maps, and its layers lie in the order in which a pass uses them; of a family that
    gives each pixel its scores the maps are the encoder's, and one more stage is what comes between those and the head.
    Of a network
    that shows no maps, stages are the parts that have kernels, in the order in which it registers them. Heads are what
    the family names; of another network the last layer with a kernel, and linear layers with as many outputs. Whatever
    a backbone has beyond the map that a head of ours sees counts to the stage of that map.
    """
    if isinstance(network, Segmenting):
        return _with_tensors(network, *_with_decoder(network, *_own_depths(network, _heads(network))), decoder=True)
    if not isinstance(network, Headed):
        return _with_tensors(network, *_own_depths(network, _heads(network)))
    stages, inner = _own_depths(network.backbone, frozenset())
    if network.stage is not None and -stages <= network.stage < stages:
        stages = range(stages)[network.stage] + 1
    own = {_joined("backbone", name): min(depth, stages - 1) for name, depth in inner.items()}
    return _with_tensors(network, stages, {name: own.get(name, stages) for name, _ in network.named_modules()})


def _with_decoder(network: Segmenting, stages: int, own: dict[str, int]) -> tuple[int, dict[str, int]]:
    """The same with one more stage, before the heads, in which all is that the encoder does not hold."""
    body = network.encoder_name
    return stages + 1, {
        name: depth if body in (name, *_holders(name)) else stages + (depth >= stages) for name, depth in own.items()
    }


def _with_tensors(network: nn.Module, stages: int, own: dict[str, int], *, decoder: bool = False) -> Depths:
    """From the depth of what each module does itself to that of its tensors, and of all there is in it."""
    modules = dict(network.named_modules())
    holding = {own[name] for name, module in modules.items() if list(module.parameters(recurse=False))}
    used = sorted(holding - {stages})  # a stage that only pools, as VGG's last without dense layers, is none of its own
    own = {name: max(0, bisect_right(used, own[name]) - 1) if own[name] < stages else len(used) for name in modules}
    of: dict[str, int] = {}
    layers = dict(own)
    for name, module in modules.items():
        held = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        of |= {_joined(name, tensor): own[name] for tensor, _ in held}
        for holder in _holders(name):
            layers[holder] = max(layers[holder], own[name])
    last = decoder and stages - 1 in used  # a decoder without tensors is no stage either
    return Depths(len(used), of, layers, len(used) - last)


def _own_depths(network: nn.Module, heads: frozenset[str]) -> tuple[int, dict[str, int]]:
    """How many stages there are, and the depth of what each module does itself; heads are given by name."""
    seen = _seen(network) if isinstance(network, Staged) else None
    return _by_registration(network, heads) if seen is None else _by_execution(network, heads, *seen)


def _heads(network: nn.Module) -> frozenset[str]:
    """The names of the modules that are heads, or parts of one."""
    if isinstance(network, Staged):
        tops = {network.head_name, *cast("tuple[str, ...]", getattr(network, "auxiliary_names", ()))}
    else:
        heads = head_parameters(network)
        each = ((name, {_joined(name, own) for own, _ in m.named_parameters()}) for name, m in network.named_modules())
        tops = {name for name, own in each if own and own <= heads}
    return frozenset(name for name, _ in network.named_modules() if not tops.isdisjoint((name, *_holders(name))))


def _seen(network: Staged) -> tuple[Watched, list[Tensor]] | None:
    """A pass of a black image and its maps; None for networks without convolutions, or that do not show their maps."""
    image = black(cast(nn.Module, network))
    if image is None:
        return None
    watched = Watched(network)
    try:
        return watched, watched.maps(image)
    except NetwrightError:
        return None


def _by_execution(
    network: nn.Module, heads: frozenset[str], watched: Watched, maps: list[Tensor]
) -> tuple[int, dict[str, int]]:
    """The depth of a module is the number of maps that were complete when it, or a part of it, was first used.

    A module that is never used, as an auxiliary head, counts to the heads; but one that a module of a single stage
    holds, and reads rather than calls, counts to that stage.
    """
    stages = len(maps)
    first, last = _spans(watched)
    ends = _completions(watched.calls, maps)
    holding = {"", *(holder for name in heads for holder in _holders(name))}

    def before(time: float) -> int:
        return sum(end < time for end in ends)

    def depth(name: str) -> int:
        user = next(holder for holder in (name, *_holders(name)) if holder in first)
        reads = user not in holding and before(first[user]) == before(last[user])
        used = name not in heads and (user == name or reads)
        return min(before(first[user]), stages - 1) if used else stages

    return stages, {name: depth(name) for name, _ in network.named_modules()}


def _spans(watched: Watched) -> tuple[dict[str, float], dict[str, float]]:
    """When each module or a part of it was first called, and when it last came back, of those that were used.

    Those that only the pass for scores uses, where that is another than the one for maps, come after all maps.
    """
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for call in watched.calls:
        for name in (call.name, *_holders(call.name)):
            first[name] = min(first.get(name, NEVER), call.start)
            last[name] = max(last.get(name, 0), call.end)
    for call in watched.others:
        if call.name not in first:
            for name in (call.name, *_holders(call.name)):
                first.setdefault(name, NEVER)
                last[name] = NEVER
    return first, last


def _completions(calls: list[Call], maps: list[Tensor]) -> list[float]:
    """When each map was complete; one of which nothing tells, no later than the one after it."""
    found = [_completion(calls, map_) for map_ in maps]
    return [*accumulate(reversed(found), min)][::-1]


def _completion(calls: list[Call], map_: Tensor) -> float:
    """When the outermost of the layers that a map came out of together came back.

    Layers later on that give back what they were given, as dropout does here, are none of these. What no layer gave,
    as a sum, was complete when the next layer took it; of a copy the original tells, in timm's order N h w C too.
    """
    makers = [call for call in calls if call.gave(map_)]
    if not makers and (takers := [call.start for call in calls if call.took(map_)]):
        return min(takers) - 0.5
    makers = makers or [call for call in calls if _copied(call.output, map_)]
    if not makers:
        return NEVER
    made = min(makers, key=lambda call: call.end)
    return max(call.end for call in makers if call.start <= made.start)


def _copied(output: object, map_: Tensor) -> bool:
    if map_.is_meta or not isinstance(output, Tensor) or output.numel() != map_.numel() or output.dim() != map_.dim():
        return False
    return torch.equal(output, map_) or torch.equal(output.movedim(-1, 1), map_)


def _by_registration(network: nn.Module, heads: frozenset[str]) -> tuple[int, dict[str, int]]:
    """Stages are the children with kernels; of an only child, its. One without kernels joins the one before it."""
    top = ""
    while len(parts := _with_kernels(network, top, heads)) == 1 and _with_kernels(network, parts[0], heads):
        top = parts[0]
    own: dict[str, int] = {}
    place = 0
    for name, _ in network.named_modules():
        place += name in parts[1:]
        own[name] = len(parts) if name in heads else place
    return len(parts), own


def _with_kernels(network: nn.Module, name: str, heads: frozenset[str]) -> list[str]:
    """The children of a module that have kernels beside those of heads."""
    children = ((_joined(name, child), module) for child, module in network.get_submodule(name).named_children())
    return [
        child
        for child, module in children
        if any(
            parameter.dim() > 1
            for part, layer in module.named_modules(prefix=child)
            if part not in heads
            for parameter in layer.parameters(recurse=False)
        )
    ]


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if name and part else name or part


def _holders(name: str) -> Iterator[str]:
    """The modules that hold one, from the nearest to the network itself: "a.b.c" -> "a.b", "a", ""."""
    while name:
        name = name.rpartition(".")[0]
        yield name
