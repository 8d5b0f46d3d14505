"""Finds residual branches by watching what a network computes: y = x + branch(x), whatever its modules are called."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from netwright.engine.live_bytes import tensors_of
from netwright.nn.drop_path import DropPath
from netwright.nn.init import evaluating, shown, watched

aten = torch.ops.aten
PRODUCTS = {aten.convolution, aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.linear}
SUMS = {aten.add, aten.add_}
ENLARGING = ("upsample", "pixel_shuffle")  # in the names of what makes maps larger and is no convolution
CURVES = ("elu", "silu", "swish", "mish", "tanh", "sigmoid")  # in the names of activations; nearly all are some "elu"


@dataclass(frozen=True)
class Node:
    """One result that depends on the images.

    Attributes:
        parents: the results it was computed from, by place.
        roots: the parameters it was computed with.
        ancestors: a bit for every result it depends on, its own among them.
        operation: what computed it; None for the images.
        output: what came out.
        enlarges: whether the map became larger.
    """

    parents: tuple[int, ...]
    roots: tuple[nn.Parameter, ...]
    ancestors: int
    operation: Any
    output: Tensor
    enlarges: bool = False

    @property
    def product(self) -> bool:
        """Whether a convolution or linear layer gave it."""
        return self.operation in PRODUCTS and bool(self.roots)

    @property
    def activation(self) -> bool:
        """Whether an activation gave it."""
        return any(curve in str(self.operation) for curve in CURVES)

    @property
    def norm(self) -> bool:
        """Whether a norm with a weight gave it."""
        return "norm" in str(self.operation) and bool(self.roots)


class Watch(TorchDispatchMode):
    """Writes down from which results and parameters each result of a network is computed."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.nodes = [Node((), (), 1, None, images)]  # holds every tensor, lest an id be given twice
        self.place = {id(images): 0}
        self._roots: dict[int, tuple[nn.Parameter, ...]] = {id(p): (p,) for p in model.parameters()}
        self._held: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in engine/cost.py: keeping the compiler out would import it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note it."""
        given = [id(tensor) for tensor in tensors_of(args)]
        parents = tuple(self.place[i] for i in given if i in self.place)
        roots = tuple(root for i in given if i not in self.place for root in self._roots.get(i, ()))
        result = func(*args, **(kwargs or {}))
        for output in tensors_of(result):
            self._note(Node(parents, roots, 0, func.overloadpacket, output, _enlarges(func.overloadpacket, args)))
        return result

    def _note(self, node: Node) -> None:
        if not node.parents:  # made of parameters alone, such as a transposed weight
            self._held.append(node.output)
            self._roots[id(node.output)] = node.roots
            return
        ancestors = 1 << len(self.nodes)
        for parent in node.parents:
            ancestors |= self.nodes[parent].ancestors
        self.place[id(node.output)] = len(self.nodes)
        self.nodes.append(replace(node, ancestors=ancestors))


def branch_ends(model: nn.Module, images: Tensor) -> list[tuple[nn.Parameter, ...]]:
    """For each residual branch the parameters that silence it at zero, in the order of computing.

    These are the weight of the norm it ends with, else weight and bias of its last convolution or linear layer: behind
    a norm that comes before an activation, as in pre-activation blocks, a weight of zero could never learn. Branches
    are the longer sides of residual sums; in a network without any, what its `DropPath`s are given. What is enlarged
    before it is added is none: where scores of a coarse map meet those of a fine one, as in FCN, the way round is the
    network.
    """
    marked: list[int] = []
    drops = [layer for layer in model.modules() if isinstance(layer, DropPath)]
    watch = Watch(model, images)

    def mark(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        marked.append(watch.place[id(given[0])])

    with evaluating(model), watch, watched(drops, mark):
        shown(model, images)
    found = [_end(watch.nodes, place) for place in list(_branches(watch.nodes)) or marked]
    return [roots for roots in found if roots]


def _branches(nodes: list[Node]) -> Iterator[int]:
    """The longer side of every sum whose other side is its input, as it is or through one linear convolution."""
    for node in nodes:
        if node.operation in SUMS and len(node.parents) == 2:
            one, other = node.parents
            if nodes[one].output.shape == nodes[other].output.shape:
                yield from (b for b, s in ((one, other), (other, one)) if _goes_around(nodes, s, b))


def _goes_around(nodes: list[Node], shortcut: int, branch: int) -> bool:
    products = 0
    while not nodes[branch].ancestors >> shortcut & 1:
        products += nodes[shortcut].product
        if products > 1 or nodes[shortcut].activation or len(nodes[shortcut].parents) != 1:
            return False
        (shortcut,) = nodes[shortcut].parents
    between = nodes[branch].ancestors & ~nodes[shortcut].ancestors
    return sum(node.product for place, node in enumerate(nodes) if between >> place & 1) > products


def _end(nodes: list[Node], place: int) -> tuple[nn.Parameter, ...]:
    node = nodes[place]
    while node.parents and node.operation not in SUMS and not node.enlarges:
        if node.norm:
            return node.roots[:1]
        if node.product:
            return node.roots
        # A gate is smaller than the map that it multiplies.
        node = max((nodes[parent] for parent in node.parents), key=lambda parent: parent.output.numel())
    return ()


def _enlarges(operation: Any, args: Any) -> bool:
    if operation == aten.convolution:
        _, _, _, stride, _, _, transposed, *_ = args
        return transposed and max(stride) > 1
    return any(name in str(operation) for name in ENLARGING)
