"""`netwright show --signal`: how large values and gradients are, layer by layer, under each scheme of first weights."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from netwright.cli._columns import columns
from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from netwright.engine.signal_scale import Factors, Signal

PICTURES = 8  # enough for a batch norm, few enough for a large network on a laptop
SIDE = 128  # at most, unless asked for: scales hardly depend on it
ROWS = 14  # of the tables; JSON has every layer
HEADER = ("first weights", "forward", "a layer", "theory", "", "backward", "a layer", "theory", "")


def show_signal(name: str, classes: int | None, image_size: int | None, data: str | None, *, as_json: bool) -> None:
    """Print the tables, or JSON with every layer."""
    found = measured(name, classes, image_size, data)
    if as_json:
        typer.echo(json.dumps({"name": name, "schemes": signal_values(found)}))
    else:
        typer.echo("\n".join([f"signal of {name} before training", *signal_tables(found)]))


def measured(name: str, classes: int | None, image_size: int | None, data: str | None) -> "list[Signal]":
    """Signals of a model's name under every scheme.

    Args:
        name: a model with or without options, ours or timm's.
        classes: of the head; by default as published.
        image_size: side in pixels; by default 128, or as published if that is less.
        data: what pictures to show it; by default from N(0, 1).

    Raises:
        NetwrightError: unknown name or option, pictures that it cannot take, or data that cannot be read.
    """
    import torch

    from netwright.engine.signal_scale import signals
    from netwright.models import create_model, summaries, variant

    spec = Spec.parse(name)
    row = variant(spec.name) if spec.name in summaries() else None
    side = image_size or (min(SIDE, row.image_size) if row else 224)
    torch.manual_seed(0)
    channels = spec.options.get("in_channels", row.in_channels if row else 3)
    images = torch.randn(PICTURES, channels, side, side) if data is None else _pictures(data, side)
    known = row.classes if row else 1000
    model = create_model(spec, classes=known if classes is None else classes, in_channels=images.shape[1])
    try:
        return signals(model, images)
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise NetwrightError(
            f"{spec} cannot take images of {side}x{side}: {reason}", "give a larger --image-size"
        ) from None


def signal_tables(found: "list[Signal]") -> list[str]:
    """A line for each scheme with its verdict, then values and gradients layer by layer."""
    lines = ["root mean squares where the signal ends, by where it begins; a layer: of second moments, on average", ""]
    lines += columns([HEADER, *map(_verdict, found)])
    layers = found[0].layers
    shown = sorted({round(i * (len(layers) - 1) / (ROWS - 1)) for i in range(ROWS)})
    if len(shown) < len(layers):
        lines += ["", f"{len(shown)} of {len(layers)} layers; --json has them all"]
    for way in ("forward", "backward"):
        header = (way, "output", *(signal.scheme for signal in found))
        lines += ["", *columns([header, *(_row(found, place, way) for place in shown)], left=2)]
    return lines


def signal_values(found: "list[Signal]") -> list[dict[str, Any]]:
    """The same for JSON, with every layer."""
    return [
        asdict(signal) | {way: asdict(part) | {"verdict": part.verdict} for way, part in _ways(signal)}
        for signal in found
    ]


def _ways(signal: "Signal") -> "list[tuple[str, Factors]]":
    return [("forward", signal.forward), ("backward", signal.backward)]


def _verdict(signal: "Signal") -> tuple[str, ...]:
    return (signal.scheme, *(cell for _, part in _ways(signal) for cell in _cells(part)))


def _cells(part: "Factors") -> tuple[str, ...]:
    theory = "–" if part.theory is None else f"{part.theory:.3g}"
    return f"{part.ratio:.2g}", f"{part.measured:.3g}", theory, part.verdict


def _row(found: "list[Signal]", place: int, way: str) -> tuple[str, ...]:
    layer = found[0].layers[place]
    scales = (f"{getattr(signal.layers[place], way):.2g}" for signal in found)
    return (layer.name, "x".join(map(str, layer.shape)), *scales)


def _pictures(data: str, side: int) -> "Tensor":
    """Some training pictures as evaluation would see them."""
    import numpy as np

    from netwright.engine.augment import prepare
    from netwright.engine.device import profile
    from netwright.recipes._inputs import read_inputs
    from netwright.recipes._recipe import Recipe

    inputs = read_inputs(Recipe(data=data, image_size=side), None, None)
    where = profile("cpu")
    source = inputs.source("train", where, 0)
    places = np.linspace(0, len(source) - 1, min(PICTURES, len(source))).astype(int)
    return prepare(next(iter(source.batches([places]))), inputs.normalise, where)
