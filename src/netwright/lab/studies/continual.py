"""Classes that come one group after the other: what a network that learns them forgets of those that it knew.

One head grows by a part for each group of new classes, and no picture says from which group it is. Strategies:

- finetune: train on the new classes, and on nothing else. What comes of it is what the others are for.
- frozen: the backbone and the older parts of the head stand still; the new part trains.
- distilled: the older network's answers to the new pictures are to stay (Li & Hoiem 2016, arXiv:1606.09282).
- joint: train anew on everything so far, which the others may not look at: the bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netwright.core.errors import NetwrightError, unknown
from netwright.core.options import Between
from netwright.data.split import Data
from netwright.data.subset import of_classes
from netwright.engine.random import generator
from netwright.engine.trick import ALL_TASKS, Tricks
from netwright.lab.studies._continual_found import found
from netwright.lab.studies._distilled import Careful, Distilled
from netwright.lab.studies._forgetting import Course, course
from netwright.lab.studies._growing import begun, features_of, grown, herded
from netwright.lab.studies._networks import State, Trained
from netwright.lab.studies._parts import trained_on
from netwright.lab.studies._study import Setting, normalised_as, refuse_unmeasured, tricks_of
from netwright.lab.trial import Trial
from netwright.models import create_model
from netwright.models._weights import load_weights
from netwright.nn.digest import digest
from netwright.nn.headed import Headed
from netwright.recipes._recipe import Recipe

STRATEGIES = ("finetune", "frozen", "distilled", "joint")
CAREFUL = ("frozen", "distilled")


@dataclass
class Continual:
    """What a network forgets of the classes that it knows while it learns new ones, and what helps.

    Attributes:
        base: classes to begin with: a number, or below 1 a share of them.
        step: classes that come at a time, in the same way; the last step has what is left.
        strategies: of finetune, frozen, distilled and joint.
        memory: pictures of each older class that stay in training.
        choose: these at random, or by herding, those whose mean feature is that of their class (Rebuffi et al. 2017).
        temperature: at which the older network's answers are softened.
        weight: of the distillation.
        among: the classes that frozen and distilled tell a new picture's from: the new ones, which leaves older scores
            alone, or all so far. It is all where a step brings one class, or with a memory.
        seeds: orders of the classes, each with networks of its own.
    """

    base: int | float = 0.5
    step: int | float = 1
    strategies: tuple[str, ...] = STRATEGIES
    memory: Annotated[int, Between(0)] = 0
    choose: Literal["random", "herding"] = "random"
    temperature: Annotated[float, Between(0.1, 100)] = 2.0
    weight: Annotated[float, Between(0, 1000)] = 1.0
    among: Literal["new", "all"] = "new"
    seeds: Annotated[int, Between(1, 1000)] = 3

    def __post_init__(self) -> None:
        for name in self.strategies:
            if name not in STRATEGIES:
                raise unknown("strategy", name, STRATEGIES)
        if not self.strategies or len(set(self.strategies)) < len(self.strategies):
            raise NetwrightError(f"strategies cannot be {self.strategies}", "name one or more, each once")

    def __call__(self, setting: Setting) -> dict[str, Any]:
        """Train every strategy through all steps, with every order of the classes, and compare them."""
        ends = self.ends(len(setting.data.classes))
        if "distilled" in self.strategies:
            _refuse_changed_targets(setting.protocol)
        start = Start.of(setting)
        one_by_one = self.seeds * (len(ends) - 1)
        setting.total = self.seeds + one_by_one * len(self.strategies)
        courses: dict[str, list[Course]] = {name: [] for name in self.strategies}
        seeds = range(setting.protocol.seed, setting.protocol.seed + self.seeds)
        orders = [ordered(setting.data.classes, seed) for seed in seeds]
        refuse_unmeasured(setting, [order[i:j] for order in orders for i, j in pairwise([0, *ends])])
        for seed, order in zip(seeds, orders, strict=True):
            for name, one in Order(self, start, seed, order, ends).courses().items():
                courses[name].append(one)
        return found(self, setting, courses, orders, ends)

    def ends(self, classes: int) -> list[int]:
        """How many classes have come after the base and after each step.

        Raises:
            NetwrightError: there are too few for a base of two and a step.
        """
        base, step = _count("base", self.base, classes), _count("step", self.step, classes)
        if base < 2 or base >= classes:
            allowed = f"give 2 to {classes - 1}" if classes > 2 else "give data with 3 classes or more"
            raise NetwrightError(f"a base of {base} of {classes} classes leaves nothing to learn or to forget", allowed)
        return [base, *range(base + step, classes, step), classes]


@dataclass(frozen=True)
class Start:
    """Where every base network begins.

    Attributes:
        weights: learnt ones, or None to draw them.
        digest: of these.
        data: normalised as they want it.
        protocol: without them.
    """

    setting: Setting
    weights: str | None
    digest: str
    data: Data
    protocol: Recipe

    @classmethod
    def of(cls, setting: Setting) -> "Start":
        """What a protocol says of weights; they are read once to see whether they fit.

        Raises:
            NetwrightError: they do not.
        """
        weights, data = setting.protocol.weights, setting.data
        if weights is None:
            return cls(setting, None, "", data, setting.protocol)
        network = create_model(setting.protocol.model, classes=2, in_channels=setting.channels)
        loaded = load_weights(network, weights)
        learnt = {name: tensor for name, tensor in network.state_dict().items() if name not in loaded.missing}
        protocol = setting.protocol.changed(weights=None)
        return cls(setting, weights, digest(learnt), normalised_as(data, loaded.moments), protocol)

    def network(self, sizes: Sequence[int], seed: int) -> Headed:
        """One that nothing has trained here."""
        return begun(self.protocol.model, self.setting.channels, sizes, seed=seed, weights=self.weights)


class Order:
    """One order of the classes."""

    def __init__(self, study: Continual, start: Start, seed: int, order: Sequence[str], ends: Sequence[int]) -> None:
        self.study, self.start, self.seed, self.ends = study, start, seed, list(ends)
        self.recipe = start.protocol.changed(seed=seed)
        self.sizes = [ends[0], *np.diff(ends).tolist()]
        self.data = [of_classes(start.data, order[:end]) for end in ends]
        self.base = self._base()

    def courses(self) -> dict[str, Course]:
        """Every strategy from the same base network to the last step."""
        found = {name: [self.base.trial] for name in self.study.strategies}
        for name, trials in found.items():
            trials += self._joint() if name == "joint" else self._through(name)
        return {name: self._course(trials) for name, trials in found.items()}

    def _course(self, trials: Sequence[Trial]) -> Course:
        return course([trial.correct for trial in trials], [trial.labels for trial in trials], self.ends)

    def _base(self) -> Trained:
        made = partial(self.start.network, self.sizes[:1], self.seed)
        made_from = f"continual base {self.start.digest}"
        trained = self.start.setting.networks.trained(self.recipe, self.data[0], made_from=made_from, network=made)
        self._told("base", 0, trained.trial)
        return trained

    def _through(self, strategy: str) -> list[Trial]:
        """One step after the other, each from the network of the one before."""
        passed = [self.base]
        for step in range(1, len(self.ends)):
            passed.append(self._step(strategy, step, passed))
            self._told(strategy, step, passed[-1].trial)
        for trained in passed[1:]:
            self.start.setting.networks.forget_network(trained)
        return [trained.trial for trained in passed[1:]]

    def _step(self, strategy: str, step: int, passed: Sequence[Trained]) -> Trained:
        recipe = self.recipe.with_("freeze") if strategy == "frozen" else self.recipe
        before = passed[-1]
        first = self._first(step) if strategy in CAREFUL else 0
        softly = f" {self.study.temperature} {self.study.weight}" if strategy == "distilled" else ""
        made_from = f"continual {strategy} {first}{softly} {before.key} {self._kept_as}"

        def network() -> nn.Module:
            fresh = self.start.network(self.sizes[: step + 1], self.seed)
            return grown(fresh, before.state(), still=strategy == "frozen")

        def task() -> Careful:
            if strategy == "frozen":
                return Careful(self.ends[step], first)
            teacher = grown(self.start.network(self.sizes[:step], self.seed), before.state())
            softened = {"temperature": self.study.temperature, "weight": self.study.weight}
            return Distilled(self.ends[step], first, teacher=teacher, **softened)

        return self.start.setting.networks.trained(
            recipe,
            self._new_pictures(step, passed),
            made_from=made_from,
            network=network,
            task=task if strategy in CAREFUL else None,
            beside=partial(self._exemplars, step),
        )

    def _first(self, step: int) -> int:
        """The first class that careful strategies compare: one new class has nobody else, and memory has older ones."""
        alone = self.sizes[step] == 1 or self.study.memory > 0 or self.study.among == "all"
        return 0 if alone else self.ends[step - 1]

    def _joint(self) -> list[Trial]:
        """Each step anew, from where the base network began, on all classes so far."""
        trials: list[Trial] = []
        for step in range(1, len(self.ends)):
            made = partial(self.start.network, self.ends[step : step + 1], self.seed)
            made_from = f"continual joint {self.start.digest}"
            trials.append(
                self.start.setting.trials.run(self.recipe, self.data[step], made_from=made_from, network=made)
            )
            self._told("joint", step, trials[-1])
        return trials

    def _new_pictures(self, step: int, passed: Sequence[Trained]) -> Data:
        """The training pictures of the classes that come, and those that were kept of older ones."""
        labels = self.data[step].splits["train"].labels
        places = [np.flatnonzero(labels >= self.ends[step - 1])]
        for kept in (self._of_base, *(trained.other for trained in passed[1:])):
            places += [np.flatnonzero(labels == int(name))[ranks.numpy()] for name, ranks in kept.items()]
        return trained_on(self.data[step], np.sort(np.concatenate(places)))

    @cached_property
    def _of_base(self) -> State:
        """What is kept of the base classes, chosen when somebody learns more."""
        if not self.study.memory:
            return {}
        return self._exemplars(0, grown(self.start.network(self.sizes[:1], self.seed), self.base.state()))

    @property
    def _kept_as(self) -> str:
        memory = self.study.memory
        return f"{memory} {self.study.choose}" if memory else "0"

    def _exemplars(self, step: int, network: nn.Module) -> State:
        """Which pictures of each class that came with a step are kept, by their rank in it."""
        if not self.study.memory:
            return {}
        train = self.data[step].splits["train"]
        headed = cast(Headed, network)
        new = range(self.ends[step - 1] if step else 0, self.ends[step])
        of_label = {label: np.flatnonzero(train.labels == label) for label in new}
        return {str(label): self._chosen(step, label, places, headed) for label, places in of_label.items()}

    def _chosen(self, step: int, label: int, places: NDArray[np.int64], network: Headed) -> torch.Tensor:
        if self.study.choose == "herding":
            data = self.data[step]
            return herded(features_of(network, data, data.splits["train"].taken(places)), self.study.memory)
        drawn = generator(self.seed, "memory", label).permutation(len(places))[: self.study.memory]
        return torch.from_numpy(np.sort(drawn))

    def _told(self, strategy: str, step: int, trial: Trial) -> None:
        what = f"{strategy}, {self.ends[step]} classes, seed {self.seed}"
        self.start.setting.count(what, trial.accuracy, trial.seconds)


def ordered(classes: Sequence[str], seed: int) -> list[str]:
    """The classes in an order drawn at random."""
    return [str(classes[place]) for place in generator(seed, "order").permutation(len(classes))]


def _count(name: str, given: float, classes: int) -> int:
    """A number of classes, given as such or as a share."""
    if isinstance(given, bool) or given <= 0 or (isinstance(given, float) and given >= 1 and given % 1):
        raise NetwrightError(f"{name} cannot be {given!r}", "give a number of classes, as in 5, or a share, as in 0.5")
    return max(1, round(given * classes)) if given < 1 else int(given)


def _refuse_changed_targets(protocol: Recipe) -> None:
    """Targets hold the older network's answers beside the classes, of which tricks know only the latter."""
    tricks = Tricks(tricks_of(protocol))
    judging = [trick for trick in tricks.at("loss") if set(trick.card.tasks) != set(ALL_TASKS)]
    for trick in (*tricks.at("batch"), *judging):
        fix = f"--without {trick.name}, or leave out that strategy: --strategies finetune,frozen,joint"
        raise NetwrightError(f"{trick.name} changes targets, where distilled keeps the older network's answers", fix)
