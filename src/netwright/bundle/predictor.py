"""Reads a bundle and predicts. Fast to start: torch, Pillow and the model's own file, nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.bundle.bundle import Bundle, name_of, read_bundle, stored_of
from netwright.bundle.masks import MaskPredictor
from netwright.core.errors import NetwrightError
from netwright.engine.augment import prepare
from netwright.engine.device import profile
from netwright.engine.plans import Raw
from netwright.models._autoencoder import Autoencoding
from netwright.models._bodied import suited_to

BATCH = 64
KINDS: dict[str, type[MaskPredictor | AutoencoderBundle]] = {
    "segmentation": MaskPredictor,
    "reconstruction": AutoencoderBundle,
}


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


class Predictor(Bundle):
    """A network that says what a picture shows: `load(run_or_bundle).predict(["photo.jpg"])`."""

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
        stored = np.stack([stored_of(preprocess, image) for image in many]) if many else None
        if stored is None:
            return []
        names = [name_of(image, place) for place, image in enumerate(many)]
        probabilities = self.probabilities(torch.from_numpy(stored))
        return [self._prediction(name, row, top) for name, row in zip(names, probabilities, strict=True)]

    def probabilities(self, stored: Tensor) -> np.ndarray:
        """Calibrated probabilities of pictures as `Preprocess.stored` gives them. Shape: uint8 N S S C -> N K."""
        return np.concatenate([self._batch(part) for part in stored.split(BATCH)])

    @torch.inference_mode()
    def _batch(self, stored: Tensor) -> np.ndarray:
        count = torch.zeros(len(stored), dtype=torch.long)
        raw = Raw(stored.to(self.profile.device), count, count)
        with self.profile.autocast():
            logits = self.model(prepare(raw, self.normalise(), self.profile))
        scores = logits.float() / self.temperature
        return (scores.sigmoid() if self.task == "multi_label" else scores.softmax(1)).cpu().numpy()

    def _prediction(self, name: str, row: np.ndarray, top: int) -> Prediction:
        best = np.argsort(-row, kind="stable")[:top]
        ranked = tuple((self.classes[i], float(row[i])) for i in best)
        return Prediction(name, ranked[0][0], ranked[0][1], ranked)


def load(
    path: str | Path, *, model: nn.Module | None = None, device: str = "auto"
) -> Predictor | MaskPredictor | AutoencoderBundle:
    """What a run folder or a bundle holds: a predictor of classes or, where each pixel has one, of masks; or an
    autoencoder.

    Args:
        path: a run folder, its `bundle/`, or a copy of that.
        model: the untrained network, for runs of a user's own network.
        device: where to predict.

    Raises:
        NetwrightError: no bundle there, a damaged one, one that needs `model`, or an autoencoder that says it is not.
    """
    network, card = read_bundle(Path(path), model)
    where = profile(device, card["recipe"]["precision"], macs=card["model"]["macs"])
    if card.get("task") != "reconstruction" and any(isinstance(each, Autoencoding) for each in network.modules()):
        problem = f"{path} is an autoencoder, and says that it is for {card.get('task')}"
        raise NetwrightError(problem, "copy the bundle again; where it came so, do not use it")
    return KINDS.get(str(card.get("task")), Predictor)(network, card, where)


def load_classifier(path: str | Path, *, device: str = "auto") -> Predictor:
    """A predictor of classes, for what can be done with those only.

    Raises:
        NetwrightError: as `load`; or the network gives each pixel a class, or is an autoencoder.
    """
    return refuse_others(load(path, device=device), path)


def refuse_others(found: Predictor | MaskPredictor | AutoencoderBundle, path: str | Path) -> Predictor:
    """What was loaded, if it is a predictor of classes.

    Raises:
        NetwrightError: the network gives each pixel a class, or is an autoencoder.
    """
    if isinstance(found, MaskPredictor):
        raise NetwrightError(
            f"{path} gives each pixel a class, and this needs a network that gives each picture one",
            f"`netwright predict {path} PICTURE -o FOLDER` shows what it sees, as masks over pictures",
        )
    if isinstance(found, AutoencoderBundle):
        raise no_classes(path, found)
    return found


def no_classes(path: str | Path, found: AutoencoderBundle) -> NetwrightError:
    """What is said where an autoencoder is asked for classes."""
    problem = f"{path} is an autoencoder: it makes codes and pictures, and this needs a network that knows classes"
    verbs = "denoise`, `generate` and `synthesize`" if found.conditional else "denoise`, `embed` and `anomaly`"
    own = classifier_of(found.card["model"]["spec"])
    train = (
        f'; `netwright train PATH --weights {path} --model "{own}"` makes a classifier of its encoder' if own else ""
    )
    return NetwrightError(problem, f"`netwright {verbs} use it as it is{train}")


def classifier_of(spec: str | None) -> str | None:
    """The classifier that an autoencoder has for its encoder; None where it has none, or is a user's own."""
    own = None if spec is None else suited_to(spec, "classification")
    return None if own == spec else own
