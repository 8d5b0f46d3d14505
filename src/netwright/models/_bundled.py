"""What a bundle or run folder says of its weights: their model, classes, moments and the tricks in their structure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError
from netwright.models._published import Moments

CARD, WEIGHTS = "bundle.json", "model.safetensors"
MOST_BYTES = 8 << 20  # of a card
# Where a user's own dataset prepared the pictures, nobody knows their moments; none are those of no number of channels.
UNKNOWN: Moments = ((), (), "nobody's")


@dataclass(frozen=True)
class Said:
    """What a bundle says.

    Attributes:
        spec: the name that builds its model; None if that was the trainer's own.
        classes: in the order of its outputs; none where it does not say.
        structure: specs of tricks that changed the structure of the network.
        moments: mean and deviation of each channel with which it was trained.
    """

    spec: str | None
    classes: tuple[str, ...]
    structure: tuple[str, ...]
    moments: Moments


def weights_file(path: Path) -> Path:
    """A file itself, or that of the bundle or run in a folder."""
    places = [path / WEIGHTS, path / "bundle" / WEIGHTS]
    return next((place for place in places if place.is_file()), path)


def said_beside(weights: Path) -> Said | None:
    """What the card beside a bundle's weights says; None where there is none.

    Raises:
        NetwrightError: it cannot be read.
    """
    card = weights.with_name(CARD)
    if weights.name != WEIGHTS or not card.is_file():
        return None
    try:
        if card.stat().st_size > MOST_BYTES:
            raise ValueError("larger than any")
        return _said(parsed(card.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise NetwrightError(f"{card} cannot be read", "copy the bundle again") from None


def model_of(source: str) -> str | None:
    """The spec of the model whose weights a bundle or run folder holds; None for any other source.

    Raises:
        NetwrightError: the bundle's card cannot be read.
    """
    said = said_beside(weights_file(Path(source).expanduser()))
    return said and said.spec


def _said(card: Mapping[str, Any]) -> Said:
    model, preprocess = card.get("model", {}), card["preprocess"]
    spec = model.get("spec")
    moments: Moments = UNKNOWN
    if preprocess is not None:
        _check_moments(preprocess["mean"], preprocess["std"])
        moments = tuple(preprocess["mean"]), tuple(preprocess["std"]), "the bundle's"
    if not (spec is None or isinstance(spec, str)):
        raise TypeError("no spec")
    return Said(spec, _words(card.get("classes", [])), _words(model.get("structure", [])), moments)


def _words(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(word, str) for word in cast("list[Any]", given)):
        raise TypeError("no words")
    return tuple(cast("list[str]", given))


def _check_moments(mean: list[float], std: list[float]) -> None:
    if not (1 <= len(mean) == len(std) and all(map(math.isfinite, [*mean, *std])) and min(std) > 0):
        raise ValueError("no moments")
