"""Whether an autoencoder tells a class that it never saw: each class is left out of training in turn.

What it cannot give back shall be what it has not seen (Japkowicz, Myers and Gluck, A novelty detection approach to
classification, IJCAI 1995). But a code that is large enough gives everything back, and simple pictures are easy whether
or not they were seen. So scores that need no network stand beside it: what principal components leave, and distances to
the nearest and to the mean training picture.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from netwright.bundle.autoencoder import autoencoding_of
from netwright.core.document import parsed
from netwright.core.errors import Interrupted, NetwrightError
from netwright.core.options import Between
from netwright.data.split import Data, statistics
from netwright.data.subset import of_classes, some_of_each
from netwright.engine.loop import Watcher, interruption, train
from netwright.engine.signals import stops_on_signals
from netwright.lab._anomaly_baselines import baselines, flat
from netwright.lab._anomaly_numbers import Floats, separation
from netwright.lab._anomaly_pictures import class_named
from netwright.lab._anomaly_scores import Codes, Scorer
from netwright.lab.studies._anomaly_found import LeftOut, found
from netwright.lab.studies._study import Setting, refuse_unmeasured
from netwright.lab.trial import KEPT, Unsaved
from netwright.models import create_model
from netwright.recipes._assemble import Parts, assemble
from netwright.recipes._choose import suited
from netwright.recipes._inputs import read_inputs
from netwright.recipes._recipe import Recipe, recipe
from netwright.records.atomic import write_atomic

FORMAT = 2
LATENT = 16
EPOCHS, RATE = 12, 3e-3  # for the network that is chosen here
FLAT = 4096  # values of a picture up to which dense layers are taken
SMALL = 64
VALIDATED = 500  # pictures: only curves come of them


@dataclass
class Anomaly:
    """How well an autoencoder tells pictures of a class that it never saw from those of the others.

    Attributes:
        classes: those that are left out in turn; all where none is named.
        limit: training pictures of each of the others, at most.
        seeds: trainings of each.
    """

    classes: tuple[str, ...] = ()
    limit: Annotated[int, Between(2)] = 1000
    seeds: Annotated[int, Between(1, 1000)] = 1

    task: ClassVar[str] = "reconstruction"

    def __call__(self, setting: Setting) -> dict[str, Any]:
        """Train an autoencoder without each class, and score the test pictures of all."""
        left = self.left_out(setting.data)
        refuse_unmeasured(setting, [*([name] for name in left)])
        protocol = protocol_of(setting.protocol, setting.data)
        refuse_network(protocol.model, setting.data)
        setting.total = len(left) * self.seeds
        rounds = range(protocol.seed, protocol.seed + self.seeds)
        runs = [[self._without(name, seed, protocol, setting) for name in left] for seed in rounds]
        used = resolved(protocol, without(setting.data, left[0], self.limit, protocol.seed))
        options = asdict(self) | {"classes": list(left)}
        document = {"options": options, "protocol": used.model_dump(mode="json", exclude={"name"})}
        return found(setting, runs, left, self.limit) | document

    def left_out(self, data: Data) -> tuple[str, ...]:
        """The classes to leave out in turn.

        Raises:
            NetwrightError: a class that is not there or is named twice, or only one class in the data.
        """
        named = tuple(class_named(name, data.classes) for name in self.classes)
        if len(set(named)) < len(named):
            raise NetwrightError(f"classes cannot be {', '.join(self.classes)}", "name each once")
        if len(data.classes) < 2:
            raise NetwrightError(f"{data.name} has one class, and one is left out", "give data of two classes or more")
        return named or data.classes

    def _without(self, name: str, seed: int, protocol: Recipe, setting: Setting) -> LeftOut:
        """Scores of the test pictures, by a network trained without a class: computed now, or read."""
        data = without(setting.data, name, self.limit, seed)
        own = resolved(protocol.changed(seed=seed), data)
        known = f"{FORMAT} {own.key} {data.fingerprint} {setting.data.fingerprint}"
        place = setting.networks.folder / f"anomaly-{sha256(known.encode()).hexdigest()[:24]}.json"
        held = _remembered(place)
        if held is None:
            held = _measured(own, data, setting)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, json.dumps(_as_json(held)))
        other = setting.measured.labels == setting.data.classes.index(name)
        setting.done += 1
        auroc = separation(held.scores[held.kind], other).auroc
        words = f"{setting.done} of {setting.total}: without {name}, seed {seed}: AUROC {100 * auroc:.1f} %"
        setting.told(f"{words}, {held.seconds:.0f} s")
        return held


def without(data: Data, name: str, limit: int, seed: int) -> Data:
    """The data to train on: no picture of a class in any split, and not more of each of the others than `limit`.

    Not even the mean and deviation by which pictures are normalised know the class.
    """
    rest = of_classes(data, [other for other in data.classes if other != name])
    rest = some_of_each(rest, limit, seed)
    mean, std = statistics(rest.splits["train"].images)
    rest = replace(rest, preprocess=replace(rest.preprocess, mean=mean, std=std))
    if "val" not in rest.splits:
        return rest
    val = rest.splits["val"]
    some = np.unique(np.linspace(0, len(val) - 1, min(VALIDATED, len(val))).astype(np.int64))
    return replace(rest, splits=rest.splits | {"val": val.taken(some)})


def protocol_of(given: Recipe, data: Data) -> Recipe:
    """How every network is trained: where none is named with one that suits the pictures, and a budget that suits it.

    Args:
        given: a recipe for reconstruction.
        data: which the network has to suit, where none is named.

    Raises:
        NetwrightError: weights are named, which may know the class that is left out.
    """
    if given.weights is not None:
        fix = "leave out --weights: every network is trained from its first weights"
        raise NetwrightError(f"{given.weights} may have seen the class that is left out", fix)
    open_ = given.model == "auto" or given.sources["model"] == "auto"
    if not open_:
        return given
    sources, base = given.sources, recipe("autoencode")
    changes: dict[str, Any] = {"model": network_for(data)}
    if sources["epochs"] == "recipe" and given.epochs == base.epochs:
        changes["epochs"] = EPOCHS
    if sources.get("optimizer.lr", "recipe") == "recipe" and given.optimizer == base.optimizer:
        changes["lr"] = RATE
    return given.changed("auto", **changes)


def resolved(protocol: Recipe, data: Data) -> Recipe:
    """With the batch size that training would choose, so that equal keys mean equal trainings."""
    return suited(protocol, read_inputs(protocol, data, None))


def refuse_network(model: str, data: Data) -> None:
    """Refuse a network that cannot say of any picture how odd it is, before anything is trained.

    Raises:
        NetwrightError: it is no autoencoder, or one that is told the class.
    """
    prepared = data.preprocess
    classes = max(1, len(data.classes) - 1)
    network = create_model(model, classes=classes, in_channels=prepared.channels, image_size=prepared.image_size)
    if autoencoding_of(network).conditional:
        problem = f"{model} has to be told the class of each picture, and a class that it never saw is none of its own"
        raise NetwrightError(problem, "take one that is not conditional: --model vae")


def network_for(data: Data) -> str:
    """Dense layers for pictures of few values, else convolutions; a code of few numbers."""
    prepared = data.preprocess
    if prepared.image_size**2 * prepared.channels <= FLAT:
        return f"mlp_autoencoder(latent={LATENT})"
    encoder = "resnet20" if prepared.image_size <= SMALL else "resnet18"
    return f"autoencoder(encoder='{encoder}', latent={LATENT})"


def _measured(protocol: Recipe, data: Data, setting: Setting) -> LeftOut:
    """Train, and score every picture of the measured split by the network and without one."""
    begun = perf_counter()
    parts = _trained(protocol, data)
    run, network = parts.run, autoencoding_of(parts.run.predictor()).eval()
    plain = Scorer(network, run.normalise, run.profile)
    codes = plain.mean_codes(data.splits["train"])
    scorer = replace(plain, codes=Codes.fitted(codes.mean(0), np.atleast_2d(np.cov(codes, rowvar=False))))
    scores = scorer.scores(setting.measured, scorer.kinds())
    took = perf_counter() - begun
    train_rows, rows = (flat(split, data.preprocess) for split in (data.splits["train"], setting.measured))
    scores |= baselines(train_rows, rows, network.latent)
    params = sum(parameter.numel() for parameter in network.parameters())
    return LeftOut("elbo" if network.random else "error", scores, network.latent, params, took)


def _trained(protocol: Recipe, data: Data) -> Parts:
    threads = torch.get_num_threads()
    try:
        parts = assemble(protocol, data=data)
        try:
            with stops_on_signals(parts.run):
                train(parts.run, Watcher(), Unsaved())
        except Interrupted:
            raise interruption(parts.run, KEPT) from None
        return parts
    finally:
        torch.set_num_threads(threads)


def _as_json(held: LeftOut) -> dict[str, Any]:
    scores = {kind: [float(f"{value:.9g}") for value in values] for kind, values in held.scores.items()}
    return {"kind": held.kind, "scores": scores, "latent": held.latent, "params": held.params, "seconds": held.seconds}


def _remembered(place: Path) -> LeftOut | None:
    """What was kept; None where nothing was, or it cannot be read."""
    if not place.is_file():
        return None
    try:
        held: Mapping[str, Any] = parsed(place.read_bytes())
        scores: dict[str, Floats] = {kind: np.array(each, np.float64) for kind, each in held["scores"].items()}
        numbers = int(held["latent"]), int(held["params"]), float(held["seconds"])
        return LeftOut(str(held["kind"]), scores, *numbers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
