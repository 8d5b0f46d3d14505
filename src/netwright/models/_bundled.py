"""What a bundle or run folder says of its weights: their model, classes, moments and the tricks in their structure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import nn

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.models import TIMM, create_model
from netwright.models._bodied import suited_to
from netwright.models._published import Moments
from netwright.nn.norm import SWAPPABLE, SwapKind, swapped

CARD, WEIGHTS = "bundle.json", "model.safetensors"
MOST_BYTES = 8 << 20  # of a card
# Where a user's own dataset prepared the pictures, nobody knows their moments; none are those of no number of channels.
UNKNOWN: Moments = ((), (), "nobody's")
NORM, USUAL_NORM = "norm", "group"  # the trick and what it makes without an option
LIKE_BATCH = ("ghost_batch", "sync_batch")  # tensors and evaluation are those of plain batch norms


@dataclass(frozen=True)
class Said:
    """What a bundle says.

    Attributes:
        spec: the name that builds its model; None if that was the trainer's own.
        classes: in the order of its outputs; none where it does not say.
        structure: specs of tricks that changed the structure of the network.
        moments: mean and deviation of each channel with which it was trained.
        task: what it was trained for, by name.
    """

    spec: str | None
    classes: tuple[str, ...]
    structure: tuple[str, ...]
    moments: Moments
    task: str = ""

    @property
    def tricks(self) -> dict[str, Spec]:
        """The tricks that changed the structure, by name."""
        return {spec.name: spec for spec in map(Spec.parse, self.structure)}

    @property
    def norm(self) -> str | None:
        """The kind of norms that the trick norm made; None without it."""
        trick = self.tricks.get(NORM)
        return None if trick is None else str(trick.options.get("kind", USUAL_NORM))


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


def model_of(source: str, task: str | None = None) -> str | None:
    """The spec of the model whose weights a bundle or run folder holds; None for any other source.

    Norms that the trick norm exchanged are the model's own by its option, where it has one for them.

    Args:
        source: a path.
        task: for which a model is wanted; one made for another is named by its encoder (`suited_to`).

    Raises:
        NetwrightError: the bundle's card cannot be read.
    """
    said = said_beside(weights_file(Path(source).expanduser()))
    spec = said and (with_own_norms(said) or said.spec)
    return spec if spec is None or task is None else suited_to(spec, task)


def with_own_norms(said: Said) -> str | None:
    """The bundle's model with an option for the norms that the trick norm gave it; None where no option does that.

    A trick that freezes cannot be combined with one that exchanges norms, but with any model. Names, shapes and layers
    have to be the same, which is seen on torch's meta device.
    """
    if said.spec is None or said.norm is None or said.spec.startswith(TIMM):
        return None
    own = Spec.parse(said.spec).with_options(norm=said.norm)
    try:
        with torch.device("meta"):
            model, exchanged = create_model(own), create_model(said.spec)
            _exchange(exchanged, said.norm)
    except (NetwrightError, RuntimeError, ValueError, TypeError, ArithmeticError, AssertionError):
        return None
    return str(own) if str(model) == str(exchanged) else None


def has_norms(model: nn.Module, kind: str) -> bool:
    """Whether a model's norms are, tensors and evaluation, what the trick norm would make of them."""
    kind = "batch" if kind in LIKE_BATCH else kind
    norms = [layer for layer in model.modules() if type(layer) in SWAPPABLE]
    return kind == "keep" or all(str(swapped(layer, _known(kind))) == str(layer) for layer in norms)


def _exchange(model: nn.Module, kind: str) -> None:
    """As the trick norm does it."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in SWAPPABLE:
                setattr(parent, name, swapped(child, _known(kind)))


def _known(kind: str) -> SwapKind:
    """A kind that a card names, if there is such a one."""
    kinds: tuple[SwapKind, ...] = get_args(SwapKind)
    for known in kinds:
        if kind == known:
            return known
    raise NetwrightError(f"the bundle's card names a norm that is not: '{kind[:80]}'", "copy the bundle again")


def _said(card: Mapping[str, Any]) -> Said:
    model, preprocess = card.get("model", {}), card["preprocess"]
    spec = model.get("spec")
    moments: Moments = UNKNOWN
    if preprocess is not None:
        _check_moments(preprocess["mean"], preprocess["std"])
        moments = tuple(preprocess["mean"]), tuple(preprocess["std"]), "the bundle's"
    if not (spec is None or isinstance(spec, str)):
        raise TypeError("no spec")
    task = str(card.get("task"))
    return Said(spec, _words(card.get("classes", [])), _words(model.get("structure", [])), moments, task)


def _words(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(word, str) for word in cast("list[Any]", given)):
        raise TypeError("no words")
    return tuple(cast("list[str]", given))


def _check_moments(mean: list[float], std: list[float]) -> None:
    if not (1 <= len(mean) == len(std) and all(map(math.isfinite, [*mean, *std])) and min(std) > 0):
        raise ValueError("no moments")
