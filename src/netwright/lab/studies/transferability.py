"""How transferable features are, stage by stage (Yosinski et al. 2014, arXiv:1411.1792).

The classes are split at random into A and B, and a base network is trained on each. Then networks for B begin with the
first n stages of one of them, frozen or not, and the rest drawn anew:

- BnB: from the base network of B, frozen. Below the base network, they miss what had adapted to them: co-adaptation.
- BnB+: the same, fine-tuned.
- AnB: from that of A, frozen. Below BnB, what they know is special to A.
- AnB+: the same, fine-tuned.
- random: frozen as drawn, norms with the statistics of B's pictures; what transfer has to beat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.data.subset import of_classes
from netwright.engine.random import generator, key
from netwright.lab.studies._networks import State, Trained
from netwright.lab.studies._parts import pictures
from netwright.lab.studies._study import Setting, refuse_unmeasured
from netwright.lab.trial import Trial
from netwright.lab.two_way import above, below, two_way
from netwright.models import create_model
from netwright.nn.depth import depths
from netwright.nn.norm import batch_norms, refresh_
from netwright.recipes._recipe import Recipe
from netwright.records.intervals import Interval

Correct = Sequence[NDArray[np.float64]]  # by split of the classes, 1 where a network was right, NaN for A's. R of N

AGAIN = 1_000_003  # arms draw what is not copied, and the order of pictures, by another seed than their base networks


@dataclass(frozen=True)
class Arm:
    """One way to begin: whose first stages, and whether they stand still."""

    name: str
    source: str
    frozen: bool
    colour: str

    @property
    def dashed(self) -> bool:
        """In the picture."""
        return not self.frozen


ARMS = (
    Arm("BnB", "B", True, "first"),
    Arm("BnB+", "B", False, "first"),
    Arm("AnB", "A", True, "second"),
    Arm("AnB+", "A", False, "second"),
    Arm("random", "", True, "muted"),
)


@dataclass
class Transferability:
    """Which stages of a network carry over to other classes, and which only to their own.

    Attributes:
        seeds: random splits of the classes, each with networks of its own.
    """

    seeds: Annotated[int, Between(1, 1000)] = 4

    def __call__(self, setting: Setting) -> dict[str, Any]:
        """Train all arms on all splits, and compare them."""
        protocol, classes = setting.protocol, setting.data.classes
        if len(classes) < 4:
            problem = f"{len(classes)} classes cannot be split into two halves of at least two"
            raise NetwrightError(problem, "give data with 4 classes or more")
        if protocol.weights:
            fix = "leave out --weights; `netwright study continual` takes some"
            raise NetwrightError("transferability trains the networks that it takes stages from", fix)
        stages = depths(create_model(protocol.model, classes=2, in_channels=setting.channels)).stages
        setting.total = self.seeds * (2 + len(ARMS) * stages)
        base: list[NDArray[np.float64]] = []
        reached: dict[str, list[list[NDArray[np.float64]]]] = {arm.name: [[] for _ in range(stages)] for arm in ARMS}
        seeds = range(protocol.seed, protocol.seed + self.seeds)
        halved = [halves(classes, seed) for seed in seeds]
        refuse_unmeasured(setting, [half for each in halved for half in each.values()])
        for seed in seeds:
            replicate = Replicate(setting, protocol.changed(seed=seed), stages)
            base.append(replicate.measured(replicate.bases["B"].trial))
            for arm in ARMS:
                for n in range(1, stages + 1):
                    reached[arm.name][n - 1].append(replicate.reached(arm, n))
        return _found(setting, base, reached, halved)


class Replicate:
    """One split of the classes, its two base networks, and the networks that begin with their stages."""

    def __init__(self, setting: Setting, recipe: Recipe, stages: int) -> None:
        self.setting, self.recipe, self.stages = setting, recipe, stages
        self.halves = halves(setting.data.classes, recipe.seed)
        self.data = {name: of_classes(setting.data, classes) for name, classes in self.halves.items()}
        self.bases = {name: self._base(name) for name in self.halves}
        self.again = recipe.changed(seed=recipe.seed + AGAIN)

    def reached(self, arm: Arm, n: int) -> NDArray[np.float64]:
        """Train one network for B that begins with `n` stages. N, as `measured`."""
        recipe = self.again.with_(f"freeze(last={self.stages - n})") if arm.frozen else self.again
        base = self.bases[arm.source] if arm.source else None
        made_from = f"transferability {arm.source} {n} {base.key if base else ''}"
        made = partial(self._network, base, n)
        trial = self.setting.trials.run(recipe, self.data["B"], made_from=made_from, network=made)
        self.setting.count(f"{arm.name}, n = {n}, seed {self.recipe.seed}", trial.accuracy, trial.seconds)
        return self.measured(trial)

    def measured(self, trial: Trial) -> NDArray[np.float64]:
        """Of every picture of all classes whether a network for B was right; NaN where the picture is not of B. N."""
        classes = self.setting.data.classes
        of_b = np.isin(self.setting.measured.labels, [classes.index(name) for name in self.halves["B"]])
        found = np.full(len(of_b), np.nan)
        found[of_b] = trial.correct
        return found

    def _base(self, name: str) -> Trained:
        made = partial(drawn, self.recipe, len(self.halves[name]), self.setting.channels)
        trained = self.setting.networks.trained(self.recipe, self.data[name], made_from="base", network=made)
        trial = trained.trial
        self.setting.count(f"base network {name}, seed {self.recipe.seed}", trial.accuracy, trial.seconds)
        return trained

    def _network(self, base: Trained | None, n: int) -> nn.Module:
        network = drawn(self.again, len(self.halves["B"]), self.setting.channels)
        if base is not None:
            return begun_with(network, base.state(), n)
        if batch_norms(network):
            refresh_(network, pictures(self.data["B"], self.data["B"].splits["train"], network))
        return network


def halves(classes: Sequence[str], seed: int) -> dict[str, list[str]]:
    """The classes split at random into two halves of one size; of an odd number one is left out."""
    order = generator(seed, "halves").permutation(len(classes))
    half = len(classes) // 2
    parts = {"A": order[:half], "B": order[half : 2 * half]}
    return {name: [str(classes[place]) for place in places] for name, places in parts.items()}


def drawn(recipe: Recipe, classes: int, channels: int) -> nn.Module:
    """The recipe's network, its weights drawn by the recipe's seed."""
    torch.manual_seed(key(recipe.seed, "init"))
    return create_model(recipe.model, classes=classes, in_channels=channels)


def begun_with(network: nn.Module, state: State, n: int) -> nn.Module:
    """A network whose first `n` stages, parameters and buffers, are those of another one of its kind."""
    depth = depths(network).of
    own = network.state_dict()
    network.load_state_dict({name: state[name] if depth[name] < n else tensor for name, tensor in own.items()})
    return network


def _found(
    setting: Setting, base: Correct, reached: Mapping[str, Sequence[Correct]], halved: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the report shows."""
    scratch = two_way(np.stack(base), difference=False)
    seen = {arm: [two_way(np.stack(each), difference=False) for each in ns] for arm, ns in reached.items()}
    lost = {arm: [_ahead(each, base) for each in ns] for arm, ns in reached.items()}
    special = [_ahead(a, b) for a, b in zip(reached["AnB"], reached["BnB"], strict=True)]
    probe = _ahead(reached["AnB"][-1], reached["random"][-1])
    stages, model, split = len(special), setting.protocol.model, setting.split
    rows = [[f"n = {n + 1}", *(_cell(seen[arm.name][n]) for arm in ARMS)] for n in range(stages)]
    points = [
        [f"n = {n + 1}", *(_cell(lost[arm.name][n], "points") for arm in ARMS), _cell(special[n], "points")]
        for n in range(stages)
    ]
    names = [arm.name for arm in ARMS]
    from_base = "Percentage points against the base network of B, paired picture by picture"
    tables = [
        {
            "caption": f"Accuracy of networks for B; the base network, trained from scratch: {scratch.percent()}",
            "heads": ["stages taken over", *names],
            "rows": rows,
        },
        {"caption": from_base, "heads": ["stages taken over", *names, "AnB − BnB"], "rows": points},
    ]
    return {
        "title": f"How transferable the stages of {model} are on {setting.data.name}",
        "seeds": len(base),
        "said": _said(lost, special, probe),
        "legend": _legend(len(base), scratch.n, split),
        "panels": [
            _panel("accuracy on B", "percent", seen, scratch),
            _panel("points against the base network", "points", lost, None),
        ],
        "tables": tables,
        "measured": {
            "halves": halved,
            "base": {"interval": scratch.to_json(), "by_seed": _means(base)},
            "arms": {arm: [_both(i, c) for i, c in zip(seen[arm], reached[arm], strict=True)] for arm in names},
            "against_base": {arm: [each.to_json() for each in lost[arm]] for arm in names},
            "a_against_b": [each.to_json() for each in special],
            "probe_against_random": probe.to_json(),
        },
    }


def _ahead(ones: Correct, others: Correct) -> Interval:
    """By how much some networks are right more often than others, paired split by split and picture by picture."""
    return two_way(np.stack(ones) - np.stack(others), difference=True)


def _said(lost: Mapping[str, Sequence[Interval]], special: Sequence[Interval], probe: Interval) -> list[str]:
    """What the differences allow to say."""
    transfers = above(probe)
    if transfers:
        first = f"A linear probe on features learnt on other classes beats random features by {_points(probe)} points."
    else:
        first = (
            "Features learnt on other classes are not clearly better for a linear probe than random ones "
            f"({_points(probe)} points): nothing can be said about transfer here. Train longer, or on more pictures."
        )
    said = [first, _where("Co-adaptation (BnB below the base network)", lost["BnB"], below)]
    if transfers:
        said.append(_where("Features special to A (AnB below BnB)", special, below))
        said.append(_where("A head start from other classes (AnB+ above the base network)", lost["AnB+"], above))
    said.append(_where("Fine-tuned copies below their base network (BnB+)", lost["BnB+"], below))
    return said


def _where(what: str, found: Sequence[Interval], resolved: Any) -> str:
    clear = [f"n = {n} ({_points(each)} points)" for n, each in enumerate(found, 1) if resolved(each)]
    open_ = [f"n = {n}" for n, each in enumerate(found, 1) if not resolved(each)]
    if not clear:
        return f"{what}: not resolved at any n."
    return f"{what}: resolved at {', '.join(clear)}" + (f"; not at {', '.join(open_)}." if open_ else ".")


def _legend(seeds: int, n: int, split: str) -> str:
    over = (
        f"95 % intervals over {seeds} random splits of the classes and {n} {split} pictures, each split's B its own"
        if seeds > 1
        else f"95 % intervals over {n} {split} pictures of one split of the classes: another split may say otherwise"
    )
    return (
        f"{over}; each holds by itself, so of twenty comparisons one misses by chance. n counts the stages taken over; "
        "BnB and AnB hold them frozen, BnB+ and AnB+ fine-tune them, random freezes them as drawn. Everything else is "
        "drawn anew and trained on B by one protocol."
    )


def _panel(title: str, unit: str, seen: Mapping[str, Sequence[Interval]], base: Interval | None) -> dict[str, Any]:
    lines: list[dict[str, Any]] = []
    shift = {arm.name: 0.045 * (place - (len(ARMS) - 1) / 2) for place, arm in enumerate(ARMS)}
    for arm in ARMS:
        points = [{"x": n + shift[arm.name], "interval": each.to_json()} for n, each in enumerate(seen[arm.name], 1)]
        lines.append({"name": arm.name, "colour": arm.colour, "dashed": arm.dashed, "points": points})
    if base is not None:
        points = [{"x": 0, "interval": base.to_json()}]
        lines.append({"name": "base network", "colour": "ink", "dashed": False, "points": points})
    ticks = range(0 if base else 1, len(next(iter(seen.values()))) + 1)
    return {"title": title, "x": "stages taken over, n", "unit": unit, "lines": lines, "ticks": [*ticks]}


def _both(interval: Interval, correct: Correct) -> dict[str, Any]:
    return {"interval": interval.to_json(), "by_seed": _means(correct)}


def _means(correct: Correct) -> list[float]:
    return [float(np.nanmean(each)) for each in correct]


def _cell(interval: Interval, unit: str = "percent") -> dict[str, Any]:
    return {"interval": interval.to_json(), "unit": unit}


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:+.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
