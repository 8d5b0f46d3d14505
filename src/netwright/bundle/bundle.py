"""A trained network and what it needs to be used, read from disk: what all predictors share."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from netwright.bundle.card import read_card
from netwright.bundle.rebuild import rebuilt, with_structure
from netwright.bundle.save import CARD, WEIGHTS
from netwright.core.errors import NetwrightError
from netwright.data.decode import Pixels
from netwright.data.preprocess import Preprocess
from netwright.engine.device import Profile
from netwright.engine.normalise import Normalise
from netwright.models._weights import read
from netwright.tasks import TASKS


class Bundle:
    """A trained network on a device, its classes, and how pictures are prepared for it.

    Args:
        model: the network.
        card: what `read_card` gave.
        where: the device.
    """

    def __init__(self, model: nn.Module, card: dict[str, Any], where: Profile) -> None:
        self.card = card
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.temperature: float = card["temperature"]
        known = card.get("task") in TASKS.names()  # or a user's own, whose outputs are read as scores of classes
        self.task: str = card["task"] if known else "classification"
        self.profile = where
        self.model = where.place(model).eval()
        self.preprocess = None if card["preprocess"] is None else Preprocess.from_json(card["preprocess"])

    def normalise(self) -> Normalise:
        """The normalisation the network was trained with."""
        preprocess = self.preprocess_or_error()
        return Normalise(preprocess.mean, preprocess.std, preprocess.image_size)

    def preprocess_or_error(self) -> Preprocess:
        """How pictures are prepared; an error for models of a user's own dataset."""
        if self.preprocess is None:
            raise NetwrightError(
                "this model was trained on your own dataset, so netwright does not know how to prepare pictures for it",
                "prepare a tensor as your dataset does and call `load(...).model(tensor)`",
            )
        return self.preprocess


def find_bundle(path: Path) -> Path:
    """The bundle at a path, or in the run folder at a path.

    Raises:
        NetwrightError: neither.
    """
    for folder in (path / "bundle", path):
        if (folder / CARD).is_file():
            return folder
    if (path / "record.json").is_file():
        raise NetwrightError(f"run {path} has no bundle yet", f"let it finish: netwright train --resume {path}")
    raise NetwrightError(f"no run or bundle at {path}", "give a run folder, as printed at the end of `netwright train`")


def read_bundle(path: Path, own: nn.Module | None) -> tuple[nn.Module, dict[str, Any]]:
    """The network a bundle holds, with its weights, and its card.

    Args:
        path: a run folder, its `bundle/`, or a copy of that.
        own: the untrained network, for runs of a user's own network.

    Raises:
        NetwrightError: no bundle there, a damaged one, or one that needs `own`.
    """
    folder = find_bundle(path)
    card = read_card(folder)
    return _network(card, own, folder / WEIGHTS), card


def _network(card: dict[str, Any], own: nn.Module | None, weights: Path) -> nn.Module:
    if card["model"]["spec"] is None and own is None:
        raise NetwrightError(
            "this bundle holds the weights of your own network", "pass it: load(path, model=MyNetwork())"
        )
    tensors = read(weights)
    network = rebuilt(card, weights.stat().st_size) if own is None else with_structure(card, own)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise NetwrightError(f"the weights {weights} cannot be used: {reason}", "copy the bundle again") from None
    return network


def name_of(image: Any, place: int) -> str:
    """What a picture is called: its path, or its place in the list."""
    return str(image) if isinstance(image, str | Path) else str(place)


def stored_of(preprocess: Preprocess, image: Any) -> Pixels:
    """A path, a Pillow image or an array H W (C) as it is kept: S S C.

    Raises:
        NetwrightError: it cannot be read.
    """
    if isinstance(image, str | Path):
        return preprocess.stored(image)
    if isinstance(image, Image.Image):
        return preprocess.from_picture(image)
    return preprocess.from_array(np.asarray(image))
