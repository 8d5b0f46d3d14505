"""A pass through a copy of a network, call by call: which layer was given what, and what it gave."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.nn.init import shown

SIDE = 224  # of the image that shows where maps come from, in pixels, for networks that do not say how small it may be


@runtime_checkable
class Staged(Protocol):
    """What every model family says of itself."""

    head_name: str
    smallest: int

    def maps(self, x: Tensor) -> list[Tensor]:
        """The last feature map at each resolution, from large to small."""
        ...


@dataclass(eq=False)
class Call:
    """One use of a layer.

    Attributes:
        name: the layer's.
        start: when it was called; all starts and ends of a pass are counted together.
        given: what it was called with, by position.
        end: when it came back.
        output: what it gave.
        changes: how often each tensor that it was given, and that it gave, had been overwritten by then.
    """

    name: str
    start: int
    given: tuple[Any, ...]
    end: int = 0
    output: Any = None
    changes: tuple[list[int], list[int]] = ([], [])

    def took(self, tensor: Tensor) -> bool:
        """Whether it was given a tensor, as that is now."""
        return _among(tensors(self.given), self.changes[0], tensor)

    def gave(self, tensor: Tensor) -> bool:
        """Whether it gave a tensor, as that is now, and nothing else."""
        return isinstance(self.output, Tensor) and _among(tensors(self.output), self.changes[1], tensor)


class Watched:
    """A copy of a network that remembers the calls of a pass, in the order in which they were made.

    Attributes:
        calls: those that led to the maps.
        others: those of the pass for scores, where that goes another way than the maps (timm's models).
    """

    def __init__(self, network: Staged) -> None:
        self.network: Any = cast(nn.Module, copy.deepcopy(network)).eval()
        self.calls: list[Call] = []
        self.others: list[Call] = []
        self._open: list[Call] = []
        self._time = 0
        for name, layer in self.network.named_modules():
            layer.register_forward_pre_hook(partial(self._started, name))
            layer.register_forward_hook(partial(self._ended, name))

    def maps(self, image: Tensor) -> list[Tensor]:
        """The maps of a whole pass, or of the method alone where a pass does not call it. N C H W -> N D h w, each."""
        seen: list[Tensor] = []
        compute: Callable[[Tensor], list[Tensor]] = self.network.maps

        def kept(x: Tensor) -> list[Tensor]:
            maps = compute(x)
            seen.extend(maps)
            return maps

        self.network.maps = kept
        with torch.no_grad():
            shown(self.network, image)
            if not seen:
                self.others, self.calls = self.calls, []
                seen = compute(image)
        return seen

    def _started(self, name: str, _: nn.Module, given: tuple[Any, ...]) -> None:
        self._open.append(Call(name, self._tick(), given, changes=(_changes(given), [])))
        self.calls.append(self._open[-1])

    def _ended(self, name: str, _: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        call = self._open.pop()
        call.end, call.output = self._tick(), output
        call.changes = (call.changes[0], _changes(output))

    def _tick(self) -> int:
        self._time += 1
        return self._time


def tensors(value: Any) -> Iterator[Tensor]:
    """A tensor, or those in a tuple or list."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in cast("list[Any]", value):
            yield from tensors(part)


def _changes(value: Any) -> list[int]:
    return [tensor._version for tensor in tensors(value)]


def _among(several: Iterator[Tensor], changes: list[int], wanted: Tensor) -> bool:
    """Whether one of the tensors has the values of another: views have, and so has what is written over in place."""
    memory = wanted.untyped_storage()._cdata
    pairs = zip(several, changes, strict=True)
    return any(tensor.untyped_storage()._cdata == memory and seen == wanted._version for tensor, seen in pairs)


def black(network: nn.Module) -> Tensor | None:
    """A black image, 1 C H W, that a network with convolutions can see; None where there are none.

    For real, not on torch's meta device: the first use of that imports the compiler, which takes seconds.
    """
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        return None
    # Transformers of timm say what size they take.
    fixed = [size for layer in network.modules() if (size := getattr(layer, "img_size", None))]
    fixed = [network.image_size] if isinstance(getattr(network, "image_size", None), tuple) else fixed
    smallest: int = getattr(network, "smallest", 1)
    sides = fixed[0] if fixed else smallest if smallest > 1 else SIDE
    height, width = cast("tuple[int, int]", sides if isinstance(sides, tuple | list) else (sides, sides))
    return first.weight.new_zeros(1, first.in_channels, height, width)
