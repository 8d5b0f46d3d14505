"""Kinds of autoencoders, principal components and raw pixels: what each gives back, mends, and tells of classes.

Plain, denoising (Vincent et al. 2010, JMLR 11), sparse (Makhzani & Frey 2014, arXiv:1312.5663) and variational ones
(Kingma & Welling 2014, arXiv:1312.6114) learn from the same pictures for as long, and all are asked the same: how well
they give pictures back, how well they mend corrupted ones, and what a linear classifier with few labels makes of their
codes. Beside them stand what learns by algebra, what learns nothing, and what does nothing.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.data.split import Data, Split
from netwright.engine.random import generator
from netwright.lab.reduction import Components, components
from netwright.lab.studies._autoencoders_arms import DRAWN, PIXELS, PLAIN, Arm, arms_of, body_for
from netwright.lab.studies._autoencoders_found import found
from netwright.lab.studies._autoencoders_kept import Kept
from netwright.lab.studies._autoencoders_measure import (
    CLEAN,
    Answers,
    Bench,
    Coder,
    Codes,
    Measured,
    Projection,
    as_they_are,
    begun,
    bench,
    flat,
    measured,
    network_of,
    pictures_of,
    probed,
)
from netwright.lab.studies._autoencoders_sheet import SHEET, drawn_sheet
from netwright.lab.studies._autoencoders_values import Results
from netwright.lab.studies._parts import trained_on
from netwright.lab.studies._study import Setting
from netwright.models import check_model
from netwright.models._family import Count
from netwright.recipes._choose import suited
from netwright.recipes._inputs import read_inputs
from netwright.recipes._recipe import LARGEST, Recipe
from netwright.report.words import duration

TASK = "reconstruction"
TIMED = 1024  # pictures that one epoch is timed on
FEWEST = 20  # test pictures
USED = ("image_size", "channels", "precision", "device", "threads")  # what the data and the machine settle


@dataclass
class Autoencoders:
    """Which kind of autoencoder gives pictures back, mends them, and makes features when labels are few.

    Attributes:
        latent: numbers of a code: of variational ones each of these, of all others the largest.
        labels: how many labels the linear probe learns from; none where pictures have no classes.
        amount: of each corruption, as of the trick `denoise`.
        limit: training pictures at most, drawn at random by the protocol's seed.
        tested: test pictures at most, drawn likewise.
        seeds: runs of everything: first weights, order, noise, and whose labels are known.
        first: the first of these runs, counted from the protocol's seed: parts of one study may run side by side, on
            the same pictures, into the same folder.
    """

    latent: tuple[Count, ...] = (2, 8, 32)
    labels: tuple[Count, ...] = (50, 500)
    amount: Annotated[float, Between(0.01, 1)] = 0.25
    limit: Annotated[int, Between(10)] = 20_000
    tested: Annotated[int, Between(FEWEST)] = 2000
    seeds: Annotated[int, Between(1, 1000)] = 5
    first: Annotated[int, Between(0, 1000)] = 0

    task = TASK

    def __post_init__(self) -> None:
        for name in ("latent", "labels"):
            given: tuple[int, ...] = getattr(self, name)
            if (name == "latent" and not given) or len(set(given)) < len(given):
                raise NetwrightError(f"{name} cannot be {given}", "name one or more numbers, each once")

    def __call__(self, setting: Setting) -> dict[str, Any]:
        """Train every network with every seed, and measure all on the same pictures."""
        with own_threads():
            return Studied(self, setting).found()


@contextmanager
def own_threads() -> Generator[None]:
    """Put back how many threads torch has, which training changes."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Studied:
    """One study of one data set."""

    def __init__(self, study: Autoencoders, setting: Setting) -> None:
        self.study, self.setting = study, setting
        drawn_by = setting.protocol.seed
        self.seeds = range(drawn_by + study.first, drawn_by + study.first + study.seeds)
        self.data, self.test = self._data(drawn_by)
        self.labels = tuple(sorted(study.labels)) if len(self.data.classes) > 1 else ()
        chosen = setting.protocol.sources.get("model") != "auto"
        self.body = setting.protocol.model if chosen else body_for(self.data.preprocess)
        self.arms = arms_of(self.body, study.latent, study.amount)
        for arm in self.arms:
            if arm.model:
                check_model(arm.model, TASK)
        self.protocol = self._protocol()
        self.kept = Kept(setting.networks.folder, f"{self.data.fingerprint} {self.test.ids.tolist()} {study.amount}")
        self._components: Components | None = None
        self._met: tuple[int, Bench] | None = None

    def found(self) -> dict[str, Any]:
        """Everything measured, and what the report shows."""
        first = self._bench(self.seeds[0])  # labels that there are not are refused before anything is trained
        seen = replace(first, few=first.few[:0], draws={})
        left = sum(not self.kept.place(*known).is_file() for known in self._runs())
        self.setting.total = len(self.arms) * len(self.seeds)
        self._foretell(left, first)
        by_arm: dict[str, list[Measured]] = {arm.name: [] for arm in self.arms}
        for seed in self.seeds:  # a study that is stopped has whole seeds
            for arm in self.arms:
                one = self._one(arm, seed)
                by_arm[arm.name].append(replace(one, vectors=None))
                self._told(arm, seed, one)
        results = Results(self.arms, by_arm)
        folder: Path = self.setting.networks.folder.parent
        plain = self.recipe(self._arm(PLAIN), self.seeds[0]).model_dump(mode="json", exclude={"name"})
        return found(self.study, self.setting, results, self.labels, len(self.test)) | {
            "sheet": drawn_sheet(seen, results, folder / SHEET),
            "options": asdict(self.study),
            "protocol": plain | dict(by_arm[PLAIN][0].used),
            "pictures": {"train": len(self.data.splits["train"]), self.setting.split: len(self.test)},
        }

    def recipe(self, arm: Arm, seed: int) -> Recipe:
        """How an arm is trained; of one that is not, where the pictures come from."""
        plain = self.protocol.changed("recipe", model=arm.model or self.body, seed=seed)
        return plain.with_(arm.trick, origin="recipe") if arm.trick else plain

    def _protocol(self) -> Recipe:
        """With a batch size that is a number, so that what was trained with another is not taken for it.

        Raises:
            NetwrightError: what each training would find for itself.
        """
        given = self.setting.protocol.changed("recipe", task=TASK, model=self.body)
        for open_, what, fix in (
            (given.finds_rate, "learning rate", "--lr 1e-3"),
            (given.batch_size == LARGEST, "batch size", "--batch-size 64"),
        ):
            if open_:
                raise NetwrightError(f"each training would find a {what} of its own, and none could be compared", fix)
        return suited(given, read_inputs(given, self.data, None))

    def _data(self, seed: int) -> tuple[Data, Split]:
        """Some of the training pictures, without those for validation where there are others; and some to test on."""
        data, whole = self.setting.data, self.setting.measured
        train = data.splits["train"]
        if len(whole) < FEWEST:
            problem = f"{len(whole)} {self.setting.split} pictures are too few to compare autoencoders on"
            raise NetwrightError(problem, f"give at least {FEWEST}: --set test_fraction=0.2")
        if len(train) > self.study.limit:
            places = generator(seed, "limit").permutation(len(train))[: self.study.limit]
            data = trained_on(data, np.sort(places))
        if "test" in data.splits:
            data = replace(data, splits={side: split for side, split in data.splits.items() if side != "val"})
        chosen = np.sort(generator(seed, "tested").permutation(len(whole))[: self.study.tested])
        return data, whole.taken(chosen)

    def _one(self, arm: Arm, seed: int) -> Measured:
        """One arm with one seed, and its probes."""
        recipe = self.recipe(arm, seed)
        make = partial(self._measured, arm, seed)
        one = self.kept(arm.name, recipe, make)

        def asked(many: int) -> Answers:
            on = self._bench(seed)
            return probed(self._codes(one, on, make), on, many)

        probes = {many: self.kept.answers(arm.name, recipe, many, partial(asked, many)) for many in self.labels}
        return replace(one, probes=probes)

    def _codes(self, one: Measured, on: Bench, make: Callable[[], Measured]) -> Codes:
        """Codes of all pictures that probes learn from; made again where fewer were kept."""
        known = one.vectors
        if known is not None and not np.isin(on.places, known.places).all():
            known = make().vectors
        return known or Codes(flat(on.few), on.places, flat(on.clean))

    def _measured(self, arm: Arm, seed: int) -> Measured:
        on, began = self._bench(seed), perf_counter()
        if arm.name == PIXELS:
            return replace(measured(as_they_are, on, began), vectors=None)  # many numbers, and they are at hand
        if not arm.model:
            return measured(Projection(self._principal().first(arm.latent)), on, began)
        untrained = arm.name == DRAWN
        parts = begun(self.recipe(arm, seed), self.data, trained=not untrained)
        used = {name: getattr(parts.recipe, name) for name in USED}
        return replace(measured(network_of(parts, untrained=untrained), on, began), used=used)

    def _bench(self, seed: int) -> Bench:
        """The pictures of a seed, made when the first arm asks for them."""
        if self._met is None or self._met[0] != seed:
            self._met = seed, bench(self.data, self.test, self.labels, self.study.amount, seed)
        return self._met[1]

    def _principal(self) -> Components:
        """The components of the training pictures: no seed changes them."""
        if self._components is None:
            side = self.data.preprocess.image_size
            every = pictures_of(self.data.splits["train"], side)
            self._components = components(flat(every), max(self.study.latent))
        return self._components

    def _runs(self) -> list[tuple[str, Recipe]]:
        return [(arm.name, self.recipe(arm, seed)) for seed in self.seeds for arm in self.arms if arm.trains]

    def _foretell(self, left: int, on: Bench) -> None:
        """Say how long it will take, from one epoch of the plain autoencoder on some of the pictures."""
        if not left:
            self.setting.told("everything is trained already")
            return
        train = self.data.splits["train"]
        part = trained_on(self.data, np.arange(min(TIMED, len(train))))
        recipe = self.recipe(self._arm(PLAIN), self.seeds[0])
        parts = begun(recipe.changed("recipe", epochs=1), part, trained=True)
        beside = min(self._timed(network_of(parts, untrained=False), on) for _ in range(2))  # first, much is loaded
        rate = float(np.median([row["images_per_second"] for row in parts.run.history]))
        each = len(train) * recipe.epochs / rate
        takes = duration(left * (each + beside))
        self.setting.told(
            f"{left} trainings of {recipe.epochs} epochs on {len(train):,} pictures: about {takes} on this machine "
            f"({duration(each)} each, and {duration(beside)} to measure it)"
        )

    def _timed(self, coder: Coder, on: Bench) -> float:
        """Seconds that all questions to an arm take."""
        began = perf_counter()
        one = measured(coder, on, began)
        for many in self.labels:
            probed(self._codes(one, on, lambda: one), on, many)
        return perf_counter() - began

    def _told(self, arm: Arm, seed: int, one: Measured) -> None:
        setting = self.setting
        setting.done += 1
        parts = [f"mse {one.errors[CLEAN].mean():.4f}"] if arm.name != PIXELS and CLEAN in one.errors else []
        parts += [f"{100 * each.right.mean():.1f} % right with {many} labels" for many, each in one.probes.items()]
        said = ", ".join(parts)
        setting.told(f"{setting.done} of {setting.total}: {arm.name}, seed {seed}: {said}, {one.seconds:.0f} s")

    def _arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)
