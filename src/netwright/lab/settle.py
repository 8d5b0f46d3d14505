"""Recipes of a plan with nothing left open, so that arms differ from the baseline in what they say and nowhere else."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError
from netwright.data import Data
from netwright.engine.device import available_threads, profile
from netwright.lab.plan import Arm, Plan
from netwright.lab.preflight import Cost, preflight
from netwright.lab.trial import SEEN, contents, data_of, network_for
from netwright.lab.wanted import Equal
from netwright.recipes._choose import batch_size_for
from netwright.recipes._memory import left
from netwright.recipes._recipe import LARGEST, Recipe
from netwright.records.atomic import write_atomic

FORMAT = 2
NOISE = 0.1  # of the logarithm of a ratio of times: what two measurements of the same arm differ by
USABLE = 0.8  # of the memory that is left, for processes beside each other


def replaced(plan: Plan, recipe_of: Callable[[Arm], Recipe]) -> Plan:
    """A plan with other recipes under the same names."""
    first, *others = (replace(arm, recipe=recipe_of(arm)) for arm in plan.rows)
    return replace(plan, baseline=first, arms=tuple(others))


def opened(plan: Plan) -> dict[str, Data]:
    """The data of each arm, opened once for all that see them alike.

    Raises:
        NetwrightError: they cannot be used.
    """
    known: dict[str, Data] = {}
    found: dict[str, Data] = {}
    for arm in plan.rows:
        seen = json.dumps([getattr(arm.recipe, name) for name in SEEN])
        found[arm.name] = known[seen] if seen in known else known.setdefault(seen, data_of(arm.recipe))
    return found


def settled(plan: Plan, data: Mapping[str, Data]) -> Plan:
    """The plan with the size of pictures, network and batch size of every recipe named: the baseline's for all.

    Raises:
        NetwrightError: a batch size or learning rate that would have to be found by trying, arm by arm.
    """
    baseline = plan.baseline.recipe
    model = network_for(baseline.weights, data[plan.baseline.name])
    own = data[plan.baseline.name]
    batch_size = batch_size_for(len(own.splits["train"]), masked=own.masks is not None)

    def recipe_of(arm: Arm) -> Recipe:
        if arm.recipe.batch_size == LARGEST or arm.recipe.finds_rate:
            fix = "give numbers, as in --batch-size 128 --lr 0.01: lr-find and train --batch-size largest find them"
            raise NetwrightError(f"{arm.name} leaves the batch size or the learning rate to be found by trying", fix)
        sees = data[arm.name].preprocess
        return arm.recipe.resolved(
            image_size=sees.image_size, channels=sees.channels, model=model, batch_size=batch_size
        )

    return replaced(plan, recipe_of)


def refuse_other_pictures(plan: Plan, data: Mapping[str, Data], split: str) -> None:
    """Arms are compared picture by picture.

    Raises:
        NetwrightError: an arm would be measured on others.
    """
    own = data[plan.baseline.name].splits[split]
    for arm in plan.arms:
        other = data[arm.name].splits[split]
        if own is not other and not (np.array_equal(own.ids, other.ids) and np.array_equal(own.labels, other.labels)):
            problem = f"{arm.name} is measured on other pictures than {plan.baseline.name}"
            raise NetwrightError(problem, "let arms differ in how they train, not in which pictures are held out")


def costs_of(plan: Plan, data: Mapping[str, Data], split: str, threads: int) -> dict[str, Cost]:
    """What one run of each arm takes, measured by a few updates with so many threads.

    Raises:
        NetwrightError: whatever training refuses, with the name of the arm.
    """
    found: dict[str, Cost] = {}
    for arm in plan.rows:
        try:
            found[arm.name] = preflight(arm.recipe.resolved(threads=threads), data[arm.name], split)
        except NetwrightError as error:
            raise NetwrightError(f"{arm.name}: {error.problem}", error.fix) from error
    return found


def equalised(plan: Plan, costs: Mapping[str, Cost], equal: Equal) -> tuple[Plan, dict[str, Cost]]:
    """The plan with so many epochs in each arm that updates, or the time expected, are as near as epochs allow.

    Args:
        plan: settled.
        costs: of one run of each arm.
        equal: "epochs" leaves them as they are.
    """
    if equal == "epochs":
        return plan, dict(costs)
    base = costs[plan.baseline.name]

    def epochs(arm: Arm) -> int:
        own = costs[arm.name]
        ratio = base.steps_an_epoch / own.steps_an_epoch if equal == "steps" else base.epoch / own.epoch
        alike = equal == "time" and abs(math.log(ratio)) < NOISE
        return plan.baseline.recipe.epochs if alike else max(1, round(plan.baseline.recipe.epochs * ratio))

    lengths = {arm.name: epochs(arm) for arm in plan.arms} | {plan.baseline.name: plan.baseline.recipe.epochs}
    same = replaced(plan, lambda arm: arm.recipe.changed("auto", epochs=lengths[arm.name]))
    return same, {name: cost.of(lengths[name]) for name, cost in costs.items()}


def computed_alike(plan: Plan, costs: Mapping[str, Cost], threads: int) -> Plan:
    """The plan with the device, the precision and the threads of the baseline in every arm that does not say."""
    device = str(profile(plan.baseline.recipe.device).device)
    precision = costs[plan.baseline.name].precision
    return replaced(plan, lambda arm: arm.recipe.resolved(device=device, precision=precision, threads=threads))


def threads_for(plan: Plan, processes: int) -> int:
    """Threads of each run, so that all processes together have the cores."""
    return plan.baseline.recipe.threads or max(1, available_threads() // processes)


def with_threads(plan: Plan) -> Plan:
    """The plan with one thread a run, unless the recipe says; device and precision are left to the workers."""
    return replaced(plan, lambda arm: arm.recipe.resolved(threads=plan.baseline.recipe.threads or 1))


def processes_for(costs: Mapping[str, Cost], recipe: Recipe) -> int:
    """How many runs are computed beside each other: one for each core, as far as memory allows; one on a GPU."""
    if profile(recipe.device).device.type != "cpu":
        return 1
    room = left() * USABLE / max(1, max(cost.memory for cost in costs.values()))
    return max(1, min(available_threads() // (recipe.threads or 1), int(min(room, 1024))))


def plan_key(plan: Plan, data: Mapping[str, Data]) -> str:
    """A hash of what the runs of a plan take."""
    known = [(arm.name, arm.recipe.key, contents(arm.recipe.weights), data[arm.name].fingerprint) for arm in plan.rows]
    return sha256(json.dumps([FORMAT, known]).encode()).hexdigest()


@dataclass(frozen=True)
class Known:
    """What was found out before the first run of a plan, and holds for the rest of it.

    Attributes:
        costs: of one run, by the name of the arm.
        threads: of each run; another number would round otherwise. None until it is settled.
    """

    costs: Mapping[str, Cost]
    threads: int | None = None

    def keep(self, file: Path, key: str) -> None:
        """Remember it under the plan's key, so that a plan that goes on is the same plan."""
        file.parent.mkdir(parents=True, exist_ok=True)
        costs = {name: cost.to_json() for name, cost in self.costs.items()}
        write_atomic(file, json.dumps({"key": key, "costs": costs, "threads": self.threads}, indent=2))


def known(file: Path, key: str) -> Known | None:
    """What was kept of this plan; None where nothing was, or it cannot be read."""
    try:
        held = parsed(file.read_bytes())
        if held["key"] != key:
            return None
        return Known({name: Cost.from_json(cost) for name, cost in held["costs"].items()}, held["threads"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
