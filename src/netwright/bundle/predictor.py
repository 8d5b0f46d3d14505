"""Reads a bundle and predicts. Fast to start: torch, Pillow and the model's own file, nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from netwright.bundle.card import read_card
from netwright.bundle.rebuild import rebuilt, with_structure
from netwright.bundle.save import CARD, WEIGHTS
from netwright.core.errors import NetwrightError
from netwright.data.preprocess import Preprocess
from netwright.engine.augment import prepare
from netwright.engine.device import Profile, profile
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw
from netwright.models._weights import read
from netwright.tasks import TASKS

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        name: the picture's path, or its place in the list.
        label: the most probable class.
        confidence: its calibrated probability.
        top: the most probable classes with their probabilities, best first.
    """

    name: str
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        ranked = [{"label": label, "probability": probability} for label, probability in self.top]
        return {"name": self.name, "label": self.label, "confidence": self.confidence, "top": ranked}


class Predictor:
    """A trained model with everything it needs: `load(run_or_bundle).predict(["photo.jpg"])`."""

    def __init__(self, model: nn.Module, card: dict[str, Any], where: Profile) -> None:
        self.card = card
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.temperature: float = card["temperature"]
        known = card.get("task") in TASKS.names()  # or a user's own, whose outputs are read as scores of classes
        self.task: str = card["task"] if known else "classification"
        self.profile = where
        self.model = where.place(model).eval()
        self.preprocess = None if card["preprocess"] is None else Preprocess.from_json(card["preprocess"])

    def predict(self, images: Any, *, top: int = 5) -> list[Prediction]:
        """Classes and calibrated probabilities of pictures.

        Args:
            images: one or many; paths, PIL images or uint8 arrays H W (C).
            top: how many classes to name.

        Raises:
            NetwrightError: a picture cannot be read, or the model was trained on a user's own dataset.
        """
        many = list(images) if isinstance(images, list | tuple) else [images]
        preprocess = self.preprocess_or_error()
        stored = np.stack([_stored(preprocess, image) for image in many]) if many else None
        if stored is None:
            return []
        names = [_name(image, place) for place, image in enumerate(many)]
        probabilities = self.probabilities(torch.from_numpy(stored))
        return [self._prediction(name, row, top) for name, row in zip(names, probabilities, strict=True)]

    def probabilities(self, stored: Tensor) -> np.ndarray:
        """Calibrated probabilities of pictures as `Preprocess.stored` gives them. Shape: uint8 N S S C -> N K."""
        return np.concatenate([self._batch(part) for part in stored.split(BATCH)])

    def normalise(self) -> Normalise:
        """The normalisation the network was trained with."""
        preprocess = self.preprocess_or_error()
        return Normalise(preprocess.mean, preprocess.std, preprocess.image_size)

    @torch.inference_mode()
    def _batch(self, stored: Tensor) -> np.ndarray:
        count = torch.zeros(len(stored), dtype=torch.long)
        raw = Raw(stored.to(self.profile.device), count, count)
        with self.profile.autocast():
            logits = self.model(prepare(raw, self.normalise(), self.profile))
        scores = logits.float() / self.temperature
        return (scores.sigmoid() if self.task == "multi_label" else scores.softmax(1)).cpu().numpy()

    def preprocess_or_error(self) -> Preprocess:
        """How pictures are prepared; an error for models of a user's own dataset."""
        if self.preprocess is None:
            raise NetwrightError(
                "this model was trained on your own dataset, so netwright does not know how to prepare pictures for it",
                "prepare a tensor as your dataset does and call `load(...).model(tensor)`",
            )
        return self.preprocess

    def _prediction(self, name: str, row: np.ndarray, top: int) -> Prediction:
        best = np.argsort(-row, kind="stable")[:top]
        ranked = tuple((self.classes[i], float(row[i])) for i in best)
        return Prediction(name, ranked[0][0], ranked[0][1], ranked)


def load(path: str | Path, *, model: nn.Module | None = None, device: str = "auto") -> Predictor:
    """A predictor from a run folder or a bundle.

    Args:
        path: a run folder, its `bundle/`, or a copy of that.
        model: the untrained network, for runs of a user's own network.
        device: where to predict.

    Raises:
        NetwrightError: no bundle there, a damaged one, or one that needs `model`.
    """
    folder = find_bundle(Path(path))
    card = read_card(folder)
    network = _network(card, model, folder / WEIGHTS)
    return Predictor(network, card, profile(device, card["recipe"]["precision"], macs=card["model"]["macs"]))


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


def _network(card: dict[str, Any], own: nn.Module | None, weights: Path) -> nn.Module:
    """The network a bundle holds, with its weights."""
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


def _stored(preprocess: Preprocess, image: Any) -> np.ndarray:
    if isinstance(image, str | Path):
        return preprocess.stored(image)
    if isinstance(image, Image.Image):
        return preprocess.from_picture(image)
    return preprocess.from_array(np.asarray(image))


def _name(image: Any, place: int) -> str:
    return str(image) if isinstance(image, str | Path) else str(place)
