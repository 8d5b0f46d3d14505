"""The five cases of transfer side by side: one's own task, and features or fine-tuning on a near and on a far one.

Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014; Donahue et al., DeCAF, ICML 2014.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from netwright.core.errors import NetwrightError
from netwright.data import Data
from netwright.data.subset import of_classes
from netwright.lab.transfer_plan import SEEDS, UPDATES
from netwright.lab.transfer_study import (
    Floats,
    Told,
    class_counts,
    common,
    correctness,
    cost_of,
    difference,
    measured_of,
    named,
    opened,
    prepared,
    run_one,
)
from netwright.lab.trial import Trial, Trials, as_json, measured, remembered
from netwright.models._published import IMAGENET
from netwright.recipes._recipe import Recipe
from netwright.records.atomic import replacing, write_atomic

REUSES = ("features", "finetune")
CONTROLS = ("random_features", "scratch")
FEWEST = 6  # classes that can be halved: a network that tells two classes apart has learnt too little to hand on
BASE = "base"  # the folder of networks trained on the first task


@dataclass(frozen=True)
class Tasks:
    """What is learnt where.

    Attributes:
        base: on whose training pictures the handed-on network is trained; None where weights were given.
        others: by "near" and "far".
        notes: why something is missing, or how classes were divided.
    """

    base: Data | None
    others: dict[str, Data]
    notes: list[str]


def transfer_cases(
    arms: Mapping[str, Recipe],
    *,
    near: str | None = None,
    far: str | None = None,
    per_class: int | None = None,
    seeds: int = SEEDS,
    updates: int = UPDATES,
    trials: Trials,
    output: Path,
    told: Told = lambda words: None,
) -> dict[str, Any]:
    """Features and fine-tuning on a near and a far task, with both controls, as one table.

    Args:
        arms: recipes of all REUSES and CONTROLS; where the REUSES name weights, these are handed on, and otherwise a
            network is trained for each seed on the data that the recipes name.
        near: data of a like kind; without it, every second class of the recipes' data is held out for it, or where
            weights are given, all of that data is it.
        far: data of another kind.
        per_class: training pictures of each class of the near and far task; None means all.
        seeds: each decides the base network as well.
        updates: at least, as for `transfer_study`.
        trials: runs them, and remembers.
        output: where base networks are kept.
        told: hears what is run.

    Raises:
        NetwrightError: too few classes to halve, or whatever training refuses.
        Interrupted: a signal stopped it; what is finished is remembered.
    """
    tasks, arms = read_tasks(arms, near, far)
    runs: dict[tuple[str, str], list[Trial]] = {}
    own: list[Trial] = []
    first = arms["scratch"].seed
    for seed in range(first, first + seeds):
        weights, of_base = arms["features"].weights, None
        if tasks.base is not None:
            told(f"seed {seed}: the base network")
            weights, of_base = base_network(arms["scratch"].changed("auto", seed=seed), tasks.base, output, updates)
        own += [of_base] if of_base is not None else []
        for name in (*REUSES, *CONTROLS):
            recipe = arms[name].changed("auto", seed=seed, weights=weights if name in REUSES else None)
            for task, data in tasks.others.items():
                told(f"seed {seed}: {name} on the {task} task")
                runs.setdefault((name, task), []).append(run_one(trials, recipe, data, per_class, updates))
    shared = common(arms, tasks.base or tasks.others["near"], updates)
    return shared | {"seeds": seeds} | _summary(tasks, own, runs, per_class)


def read_tasks(arms: Mapping[str, Recipe], near: str | None, far: str | None) -> tuple[Tasks, dict[str, Recipe]]:
    """The data of every task, prepared alike, and the recipes with network and picture size named.

    Pictures have three channels: a plain file of weights is read as one that was trained on ImageNet's mean and
    deviation, and so base networks are.

    Raises:
        NetwrightError: too few classes to halve, or data that cannot be used.
    """
    arms = {name: recipe.changed("auto", channels=3) for name, recipe in arms.items()}
    first, given = arms["scratch"], arms["features"].weights
    data = opened(first)
    arms = named(arms, data)
    size = data.preprocess.image_size
    others = {
        name: opened(first, path, image_size=size, channels=3)
        for name, path in {"near": near, "far": far}.items()
        if path is not None
    }
    notes = [] if far else ["far task: left out, since no data were named with --far"]
    if given:
        others = {"near": data} | others
        notes.append("same task: the pictures that the given weights were trained on are not here")
        return Tasks(None, others, notes), arms
    base = data
    if near is None:
        base, others["near"] = halves(data)
        held = ", ".join(others["near"].classes)
        notes.append(f"near task: every second class of {data.name}, held out from the base network: {held}")
    moments = replace(base.preprocess, mean=IMAGENET[0], std=IMAGENET[1])
    return Tasks(replace(base, preprocess=moments), dict(sorted(others.items(), reverse=True)), notes), arms


def halves(data: Data) -> tuple[Data, Data]:
    """Every second class from the first and from the second on.

    Raises:
        NetwrightError: there are fewer than FEWEST classes.
    """
    if len(data.classes) < FEWEST:
        problem = f"{data.name} has {len(data.classes)} classes: halves of fewer than {FEWEST} are too small"
        raise NetwrightError(problem, "name data of a like kind with --near PATH, or give --weights")
    return of_classes(data, data.classes[::2]), of_classes(data, data.classes[1::2])


def base_network(recipe: Recipe, data: Data, output: Path, updates: int) -> tuple[str, Trial]:
    """A network trained on the first task: its weights file, and what it reached there; made once."""
    recipe, part = prepared(recipe, data, None, updates)
    known = sha256(f"{recipe.key} {part.fingerprint} {part.preprocess.to_json()}".encode()).hexdigest()[:12]
    place = output / BASE / f"seed{recipe.seed}-{known}.safetensors"
    reached = place.with_suffix(".json")
    if place.is_file() and (trial := remembered(reached)) is not None:
        return str(place), trial
    trial, parts = measured(recipe, part)
    place.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in parts.run.predictor().state_dict().items()}
    with replacing(place) as temporary:
        save_file(state, temporary)
    write_atomic(reached, json.dumps(as_json(trial)))
    return str(place), trial


def _summary(
    tasks: Tasks, own: Sequence[Trial], runs: Mapping[tuple[str, str], Sequence[Trial]], per_class: int | None
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    if tasks.base is not None:
        rows.append(_row("same task", "base", tasks.base, own))
    rows += [
        _row(task, name, tasks.others[task], runs[name, task]) for name in (*REUSES, *CONTROLS) for task in tasks.others
    ]
    values = {key: correctness(trials) for key, trials in runs.items()}
    differences = [each for task in tasks.others for each in _differences(task, values)]
    about = {task: _about(data, per_class) for task, data in tasks.others.items()}
    about |= {} if tasks.base is None else {"base": _about(tasks.base, None)}
    return {"rows": rows, "differences": differences, "tasks": about, "per_class": per_class, "notes": tasks.notes}


def _row(task: str, arm: str, data: Data, trials: Sequence[Trial]) -> dict[str, Any]:
    given = {"task": task, "arm": arm, "data": data.name, "n": len(trials[0].correct), "chance": 1 / len(data.classes)}
    return given | measured_of(correctness(trials)) | cost_of(trials)


def _differences(task: str, values: Mapping[tuple[str, str], Floats]) -> list[dict[str, Any]]:
    """What learnt weights brought over drawn ones, and features against fine-tuning."""
    pairs = (("features", "random_features"), ("finetune", "scratch"), ("finetune", "features"))
    return [{"task": task} | difference(one, values[one, task], other, values[other, task]) for one, other in pairs]


def _about(data: Data, per_class: int | None) -> dict[str, Any]:
    counts = class_counts(data)
    pictures = sum(counts if per_class is None else [min(per_class, count) for count in counts])
    return {"data": data.name, "classes": list(data.classes), "pictures": pictures}
