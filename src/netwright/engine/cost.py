"""What a network does to an image, operation by operation: weights, multiply-adds, memory, receptive field."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from netwright.engine.live_bytes import tensors_of
from netwright.nn.output import given

aten = torch.ops.aten


@dataclass(frozen=True)
class View:
    """How a value of a feature map sees the image: a square of `side` pixels, the next value's `jump` pixels on.

    Both are infinite where a value sees the whole image, whatever its size.
    """

    side: float = 1.0
    jump: float = 1.0

    def widened(self, kernel: int, stride: float = 1.0, dilation: int = 1) -> "View":
        """After a window of `kernel` values slides over the map in steps of `stride`."""
        return View(self.side + (kernel - 1) * dilation * self.jump, self.jump * stride)


EVERYTHING = View(math.inf, math.inf)


@dataclass(frozen=True)
class Operation:
    """What one operation gave.

    Attributes:
        output: the tensor itself.
        params: trainable values that it was the first to use.
        macs: multiply-adds.
        bytes: memory that its result took.
        view: of one value of its result.
    """

    output: Tensor
    params: int = 0
    macs: int = 0
    bytes: int = 0
    view: View = EVERYTHING


class Tracer(TorchDispatchMode):
    """Writes down every operation between `with` and its end; on the meta device nothing is computed.

    Args:
        model: whose parameters are counted.
        image: the tensor that views are measured on.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._unused = {id(parameter): parameter.numel() for parameter in model.parameters()}
        self._views: dict[int, View] = {id(image): View()}
        self._storages = {x.untyped_storage()._cdata for x in (image, *model.parameters(), *model.buffers())}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nobody compiles this, and keeping the compiler out imports it, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note it."""
        result = func(*args, **(kwargs or {}))
        given = list(tensors_of(args))
        for place, output in enumerate(tensors_of(result)):
            view = _view(func, args, output, [self._views[id(x)] for x in given if id(x) in self._views])
            if view is not None:
                self._views[id(output)] = view
            operation = Operation(output, bytes=self._new_bytes(output), view=view or EVERYTHING)
            if place == 0:
                used = sum(self._unused.pop(id(x), 0) for x in given)
                operation = replace(operation, params=used, macs=_macs(func, args, output))
            self.operations.append(operation)
        return result

    @property
    def unused(self) -> int:
        """Trainable values that nothing has used yet."""
        return sum(self._unused.values())

    def _new_bytes(self, output: Tensor) -> int:
        storage = output.untyped_storage()
        if storage._cdata in self._storages:
            return 0
        self._storages.add(storage._cdata)
        return output.numel() * output.element_size()


def trace(model: nn.Module, image: Tensor) -> Tracer:
    """What the model does in evaluation mode to an image, 1 C H W, on the model's device."""
    training, label = model.training, torch.zeros(len(image), dtype=torch.long, device=image.device)
    try:
        with torch.no_grad(), Tracer(model.eval(), image) as tracer:
            given(model, image, label)
    finally:
        model.train(training)
    return tracer


def macs_of(model: nn.Module, image: Tensor) -> int:
    """Multiply-adds of convolutions and matrix products for one image, 1 C H W, in evaluation mode.

    Those inside one fused operation, as of attention, are not seen.
    """
    return sum(operation.macs for operation in trace(model, image).operations)


def _macs(func: Any, args: Sequence[Any], output: Tensor) -> int:
    match func.overloadpacket:
        case aten.convolution:
            image, weight, transposed = args[0], args[1], args[6]
            return (image if transposed else output).numel() * weight[0].numel()
        case aten.mm | aten.bmm:
            return output.numel() * args[0].shape[-1]
        case aten.addmm | aten.baddbmm:
            return output.numel() * args[1].shape[-1]
        case _:
            return 0


def _view(func: Any, args: Sequence[Any], output: Tensor, given: list[View]) -> View | None:
    """The view of an operation's result; None where it has nothing to do with the image."""
    if not given:
        return None
    seen = max(given, key=lambda view: (view != EVERYTHING, view.side))  # a gate read off the whole map is left out
    slide = SLIDING.get(func.overloadpacket)
    if slide is not None and seen != EVERYTHING:
        return slide(seen, args, output)
    if output.ndim == 4 or seen == EVERYTHING:
        return seen
    return EVERYTHING if output.ndim == 2 else seen


def _convolution(view: View, args: Sequence[Any], output: Tensor) -> View:
    kernel, stride, dilation, transposed = args[1].shape[-1], args[3][-1], args[5][-1], args[6]
    if transposed:  # a value is made from every stride-th of the kernel's weights
        return replace(view.widened(-(-kernel // stride)), jump=view.jump / stride)
    return view.widened(kernel, stride, dilation)


def _pooling(view: View, args: Sequence[Any], output: Tensor) -> View:
    kernel = args[1][-1]
    return view.widened(kernel, args[2][-1] if len(args) > 2 and args[2] else kernel)


def _resized(view: View, args: Sequence[Any], output: Tensor) -> View:
    """To another number of values: adaptive pooling averages several, interpolation reads one or two."""
    before, after = args[0].shape[-1], output.shape[-1]
    if before == after:
        return view
    if after == 1:
        return EVERYTHING
    return replace(view.widened(-(-before // after) if before > after else 2), jump=view.jump * before / after)


def _mean(view: View, args: Sequence[Any], output: Tensor) -> View:
    over_space = len(args) < 2 or not args[1] or bool({-1, -2, 2, 3} & set(args[1]))
    return EVERYTHING if over_space else view


def _nearest(view: View, args: Sequence[Any], output: Tensor) -> View:
    return replace(view, jump=view.jump * args[0].shape[-1] / output.shape[-1])


SLIDING: dict[Any, Callable[[View, Sequence[Any], Tensor], View]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _pooling,
    aten.avg_pool2d: _pooling,
    aten._adaptive_avg_pool2d: _resized,
    aten.adaptive_max_pool2d: _resized,
    aten.upsample_bilinear2d: _resized,
    aten.upsample_nearest2d: _nearest,
    aten.mean: _mean,
}
