"""A network laid out stage by stage: what `netwright show resnet50` prints."""

from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.engine.cost import Operation, Tracer
from netwright.models import RECONSTRUCTION, create_model, variant
from netwright.models._autoencoder import Autoencoding
from netwright.models._bodies import Bodied, DenseEncoder
from netwright.models._encoder import Encoder
from netwright.models._family import Family, Variant
from netwright.models._segmenter import Segmenter
from netwright.nn.output import Decoded, wants_labels


@dataclass(frozen=True)
class Part:
    """One stage of a network, for one image.

    Attributes:
        name: how much smaller than the image its map is ("1/4"), or what it is ("head"; "decoder", with its head).
        shape: of what it gives: channels, height and width, or classes.
        params: trainable values.
        macs: multiply-adds.
        bytes: memory of all its operations' results in float32; training keeps about as much.
        receptive_field: side in pixels of the square of the image that one value of its map depends on, global gates
            aside; None where it is the whole image.
    """

    name: str
    shape: tuple[int, ...]
    params: int
    macs: int = 0
    bytes: int = 0
    receptive_field: int | None = None


def anatomy(name: str | Spec, *, classes: int | None = None, image_size: int | None = None) -> list[Part]:
    """The parts of a model in the order in which an image passes them; nothing is computed.

    Args:
        name: a variant, with options where the default ones won't do.
        classes: of the head; by default as published.
        image_size: side of the square image in pixels; by default as published.

    Raises:
        NetwrightError: unknown name or option, or an image that is too small.
    """
    spec = Spec.parse(name)
    row = variant(spec.name)
    side = image_size or row.image_size
    with torch.device("meta"):
        model = _made(spec, row, row.classes if classes is None else classes, image_size)
        size = model.image_size if isinstance(model, Autoencoding) else (side, side)
        image = torch.empty(1, spec.options.get("in_channels", row.in_channels), *size)
    try:
        tracer, maps, output = _traced(model.eval(), image)
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise NetwrightError(
            f"{spec} cannot take images of {side}x{side}: {reason}", "give a larger --image-size"
        ) from None
    places = [next(i for i, done in enumerate(tracer.operations) if done.output is map_) for map_ in maps]
    ends = [0, *(place + 1 for place in places)]
    stages = [
        _part(f"1/{stride}", map_, tracer.operations[start:end])
        for stride, map_, start, end in zip(_strides(model, maps, side), maps, ends, ends[1:], strict=False)
    ]
    rest = "head" if row.task == "classification" else "decoder"
    parts = [*stages, _part(rest, output, tracer.operations[ends[-1] :])]
    return [*parts, Part("auxiliary heads", (), tracer.unused)] if tracer.unused else parts


def _made(spec: Spec, row: Variant, classes: int, image_size: int | None) -> Family:
    """The model; only an autoencoder is another one for images of another size."""
    if row.task != RECONSTRUCTION:
        return create_model(spec, classes=classes, in_channels=row.in_channels)
    return create_model(spec, classes=classes, in_channels=row.in_channels, image_size=image_size)


def _traced(model: Family, image: Tensor) -> tuple[Tracer, list[Tensor], Tensor]:
    maps: list[Tensor] = []
    compute = model.maps

    def kept(x: Tensor) -> list[Tensor]:
        maps.extend(compute(x))
        return maps

    def seen(_: nn.Module, __: Any, given: Any) -> None:
        maps.extend(given)

    if isinstance(model, Segmenter):
        model.get_encoder().register_forward_hook(seen)
    else:
        model.maps = kept
    with torch.no_grad(), Tracer(model, image) as tracer:
        output: Any = model(image, *_labels(model, image))
    return tracer, maps, output.natural if isinstance(output, Decoded) else output


def _labels(model: Family, image: Tensor) -> list[Tensor]:
    return [torch.zeros(1, dtype=torch.long, device=image.device)] if wants_labels(model) else []


def _strides(model: Family, maps: list[Tensor], side: int) -> list[int]:
    """How many times smaller than the image each map is."""
    smaller = [side / map_.shape[-1] for map_ in maps]
    if not isinstance(model, Segmenter | Bodied):
        return [round(times) for times in smaller]
    encoder = model.get_encoder()  # maps are those of a padded image
    if isinstance(encoder, DenseEncoder):
        return [round(times) for times in smaller]
    return list(encoder.strides) if isinstance(encoder, Encoder) else [2 ** round(log2(times)) for times in smaller]


def _part(name: str, output: Tensor, operations: list[Operation]) -> Part:
    last = operations[-1].view.side if operations and name != "head" else float("inf")
    return Part(
        name,
        tuple(output.shape[1:]),
        sum(operation.params for operation in operations),
        sum(operation.macs for operation in operations),
        sum(operation.bytes for operation in operations),
        None if last == float("inf") else round(last),
    )
