"""How much of learnt weights to use again for how much data: ways of transfer against pictures a class."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.data import Data
from netwright.data.subset import some_of_each
from netwright.engine.device import profile
from netwright.lab.crossing import crossing
from netwright.lab.transfer_plan import LONGEST, SEEDS, UPDATES, Size, epochs_for, sizes_of
from netwright.lab.trial import Trial, Trials, network_for, opened
from netwright.lab.two_way import two_way
from netwright.models import check_model
from netwright.recipes._choose import batch_size_for
from netwright.recipes._recipe import LARGEST, Recipe
from netwright.records.atomic import write_atomic

Floats = NDArray[np.float64]
Told = Callable[[str], None]


def transfer_study(
    arms: Mapping[str, Recipe],
    *,
    sizes: Sequence[int | None],
    seeds: int = SEEDS,
    updates: int = UPDATES,
    trials: Trials,
    told: Told = lambda words: None,
) -> dict[str, Any]:
    """Every way at every size with every seed, measured on the same pictures.

    A seed decides which pictures are drawn (those of a size are among those of the next), the first weights of what is
    not given, and the order of training.

    Args:
        arms: recipes by the name of the way, equal in data, network and preprocessing.
        sizes: pictures a class; None means all.
        seeds: of each.
        updates: at least, see `epochs_for`.
        trials: runs them, and remembers.
        told: hears what is run.

    Returns:
        Rows, differences and crossings, and what was the same for all: a part of `transfer_study.json`.

    Raises:
        NetwrightError: whatever training refuses, or sizes or seeds that are none.
        Interrupted: a signal stopped it; what is finished is remembered.
    """
    if seeds < 1 or updates < 1:
        raise NetwrightError(f"{seeds} seeds with {updates} updates are no study", "give at least one of each")
    data = opened(next(iter(arms.values())))
    arms = named(arms, data)
    known, dropped = sizes_of(class_counts(data), sizes)
    total, done = len(arms) * len(known) * seeds, 0
    found: dict[str, list[list[Trial]]] = {}
    for name, recipe in arms.items():
        for size in known:
            row: list[Trial] = []
            for seed in range(recipe.seed, recipe.seed + seeds):
                done += 1
                told(f"{done} of {total}: {name}, {size.name} pictures a class, seed {seed}")
                row.append(run_one(trials, recipe.changed("auto", seed=seed), data, size.asked, updates))
            found.setdefault(name, []).append(row)
    return summary(arms, data, known, found, updates) | {"left_out": dropped}


def named(arms: Mapping[str, Recipe], data: Data) -> dict[str, Recipe]:
    """The same recipes with network and picture size named, so that they are the same for every part of the data.

    Raises:
        NetwrightError: no such network, or a batch size that only a trial would tell.
    """
    size = data.preprocess.image_size
    model = network_for(next((recipe.weights for recipe in arms.values() if recipe.weights), None), data)
    found: dict[str, Recipe] = {}
    for name, recipe in arms.items():
        if recipe.batch_size == LARGEST:
            fix = "give a whole number, or leave it to netwright, which takes about eighty updates an epoch"
            raise NetwrightError("the batch size of a study cannot be found by trying", fix)
        found[name] = recipe.resolved(image_size=size, channels=data.preprocess.channels, model=model)
        check_model(found[name].model)
    return found


def run_one(
    trials: Trials, recipe: Recipe, data: Data, per_class: int | None, updates: int = UPDATES, made_from: str = ""
) -> Trial:
    """A recipe on so many pictures of each class, drawn by its seed; None means all."""
    recipe, part = prepared(recipe, data, per_class, updates)
    return trials.run(recipe, part, made_from=made_from)


def prepared(recipe: Recipe, data: Data, per_class: int | None, updates: int) -> tuple[Recipe, Data]:
    """The recipe with its epochs, and the part of the data; validation is left out where nothing asks for it."""
    part = data if per_class is None else some_of_each(data, per_class, recipe.seed)
    watched = any(Spec.parse(trick).name == "early_stopping" for trick in recipe.tricks)
    if "test" in part.splits and not watched:
        part = replace(part, splits={side: split for side, split in part.splits.items() if side != "val"})
    n = len(part.splits["train"])
    return recipe.changed("auto", epochs=epochs_for(recipe.epochs, n, batch_of(recipe, n), updates)), part


def class_counts(data: Data) -> list[int]:
    """Training pictures of each class."""
    return np.bincount(data.splits["train"].labels, minlength=len(data.classes)).tolist()


def batch_of(recipe: Recipe, n: int) -> int:
    """Pictures for one update: the recipe's, or what is chosen for n pictures."""
    return min(n, recipe.batch_size if isinstance(recipe.batch_size, int) else batch_size_for(n))


def summary(
    arms: Mapping[str, Recipe],
    data: Data,
    sizes: Sequence[Size],
    found: Mapping[str, Sequence[Sequence[Trial]]],
    updates: int = UPDATES,
) -> dict[str, Any]:
    """What was reached by way and size, with differences of ways and where one overtakes another."""
    values = {name: [correctness(row) for row in rows] for name, rows in found.items()}
    rows = [
        _row(name, arms[name], size, trials, updates)
        for name, of_arm in found.items()
        for size, trials in zip(sizes, of_arm, strict=True)
    ]
    return common(arms, data, updates) | {
        "classes": list(data.classes),
        "split": "test" if "test" in data.splits else "val",
        "n": int(next(iter(values.values()))[0].shape[1]),
        "seeds": len(next(iter(found.values()))[0]),
        "sizes": [{"asked": size.name, "pictures": size.pictures, "per_class": size.per_class} for size in sizes],
        "rows": rows,
        "differences": _differences(values, sizes),
        "crossings": _crossings(values, sizes),
    }


def common(arms: Mapping[str, Recipe], data: Data, updates: int) -> dict[str, Any]:
    """What was the same for every run, and each way's recipe."""
    first = next(iter(arms.values()))
    kept = {"optimizer", "schedule", "tricks", "epochs", "batch_size", "weights", "normalise"}
    recipes = {name: recipe.model_dump(mode="json", include=kept) for name, recipe in arms.items()}
    return {
        "data": data.name,
        "model": first.model,
        "weights": next((recipe.weights for recipe in arms.values() if recipe.weights), None),
        "image_size": first.image_size,
        "device": profile(first.device, threads=first.threads).name,
        "protocol": {"updates": updates, "longest": LONGEST, "recipes": recipes},
    }


def whole(study: dict[str, Any] | None, cases: dict[str, Any] | None) -> dict[str, Any]:
    """Curves and cases as one result, what is common to them first: what `transfer_study.json` holds."""
    shared = ("data", "model", "weights", "image_size", "seeds", "device", "protocol")
    first: dict[str, Any] = study or cases or {}
    recipes = {name: recipe for part in (cases, study) if part for name, recipe in part["protocol"]["recipes"].items()}
    top = {name: first[name] for name in shared} | {"protocol": first["protocol"] | {"recipes": recipes}}
    return {"format": 1, **top, "study": study, "cases": cases}


def correctness(trials: Sequence[Trial]) -> Floats:
    """By seed and picture: S N."""
    return np.stack([trial.correct for trial in trials])


def measured_of(values: Floats) -> dict[str, Any]:
    """The mean with its interval, and what each seed reached. S N."""
    seeds = [float(mean) for mean in values.mean(1)]
    return {
        "accuracy": two_way(values, difference=False).to_json(),
        "seed_sd": stdev(seeds) if len(seeds) > 1 else None,
        "by_seed": seeds,
    }


def cost_of(trials: Sequence[Trial]) -> dict[str, float]:
    """Means of what the runs took."""
    rates = [trial.images_per_second for trial in trials]
    return {"seconds": fmean(trial.seconds for trial in trials), "images_per_second": fmean(rates)}


def _row(name: str, recipe: Recipe, size: Size, trials: Sequence[Trial], updates: int) -> dict[str, Any]:
    batch = batch_of(recipe, size.pictures)
    epochs = epochs_for(recipe.epochs, size.pictures, batch, updates)
    plan = {"batch_size": batch, "epochs": epochs, "updates": epochs * (size.pictures // batch)}
    given = {"arm": name, "size": size.name, "pictures": size.pictures, "per_class": size.per_class}
    return given | measured_of(correctness(trials)) | cost_of(trials) | plan


def _differences(values: Mapping[str, Sequence[Floats]], sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """Of every two ways at every size, paired by seed and picture; the better one first."""
    found: list[dict[str, Any]] = []
    for place, size in enumerate(sizes):
        for one, other in combinations(values, 2):
            found.append({"size": size.name} | difference(one, values[one][place], other, values[other][place]))
    return found


def difference(one: str, first: Floats, other: str, second: Floats) -> dict[str, Any]:
    """How much the better of two was ahead: S N each, of the same seeds and pictures."""
    if second.mean() > first.mean():
        one, first, other, second = other, second, one, first
    ahead = two_way(first - second, difference=True)
    return {"arm": one, "over": other, "difference": ahead.to_json(), "resolved": ahead.low > 0}


def _crossings(values: Mapping[str, Sequence[Floats]], sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """From which size on one way is ahead of another; the one that is ahead at the largest size stands first."""
    if len(sizes) < 2:
        return []
    places = [size.per_class for size in sizes]
    found: list[dict[str, Any]] = []
    for one, other in combinations(values, 2):
        ahead = np.stack([first - second for first, second in zip(values[one], values[other], strict=True)])
        pair, ahead = ((other, one), -ahead) if ahead[-1].mean() < 0 else ((one, other), ahead)
        found.append({"arm": pair[0], "over": pair[1]} | crossing(places, ahead).to_json())
    return found


def write(found: Mapping[str, Any], output: Path) -> Path:
    """Write `transfer_study.json`, and from it table, picture and page, into a folder; the page's path."""
    from netwright.report.transfer_study import write as write_page  # matplotlib takes half a second

    output.mkdir(parents=True, exist_ok=True)
    write_atomic(output / "transfer_study.json", json.dumps(found, indent=2, ensure_ascii=False))
    return write_page(output)
