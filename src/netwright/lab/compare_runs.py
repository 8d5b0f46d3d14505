"""Finished runs over the same test pictures: which is better, how sure that is, and what their recipes have different.

What is read is what a run left in its folder; no network is loaded, and no torch.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.lab.compare import holm
from netwright.lab.paired import calibration, equivalent, mcnemar, pictures_needed, seeds_p, tango
from netwright.lab.run_arms import Arm, arms_of, chosen_arm, paired, recipe_key
from netwright.lab.run_differences import differences
from netwright.lab.run_folders import RUNS, Run, read_runs
from netwright.lab.two_way import METHOD, two_way, two_way_draws
from netwright.records.atomic import write_atomic
from netwright.records.intervals import Interval, bootstrap_mean
from netwright.records.plain import json_text
from netwright.report.calibration import calibration_error
from netwright.report.words import split_name

Floats = NDArray[np.float64]
FORMAT = 1
FILE = "compare.json"
ALPHA = 0.05
MOST_PICTURES = 30
FEW_SEEDS = 4  # Student's t with fewer degrees of freedom than 3 doubles intervals
ONE_SEED = (
    "One seed each: this covers other pictures, not another training; for that train several seeds and give them all "
    "with --by-recipe, or use netwright ablate."
)


def compare_runs(
    names: Sequence[str],
    *,
    against: str | None = None,
    by_recipe: bool = False,
    margin: float = 0.01,
    runs: Path = RUNS,
) -> dict[str, Any]:
    """Each run against one of them, picture by picture; what compare.json holds.

    Args:
        names: run folders, or parts of names in `runs` that only one run has.
        against: the one to compare against; by default the first.
        by_recipe: take runs that differ in nothing but their seeds as seeds of one arm.
        margin: a difference in accuracy that would not matter.
        runs: where names that are no folders are looked for.

    Raises:
        NetwrightError: a run that cannot be read or is not finished, or runs that have nothing to be compared by.
    """
    found, notes = read_runs(names, runs)
    arms = arms_of(found, notes, by_recipe=by_recipe)
    base = chosen_arm(arms, against)
    others = [arm for arm in arms if arm is not base]
    compared = [_compared(arm, base, margin, notes) for arm in others]
    _judge(compared, margin)
    notes += _notes(arms, compared)
    return json.loads(
        json_text(
            {
                "format": FORMAT,
                "title": f"{others[0].name if len(others) == 1 else f'{len(others)} runs'} against {base.name}",
                "data": found[0].reading.at("data", "name") or "",
                "split": found[0].evaluation.split,
                "n": len(base.labels),
                "metric": "accuracy",
                "margin": margin,
                "alpha": ALPHA,
                "by_recipe": by_recipe,
                "against": base.name,
                "runs": [_run_row(arm) for arm in arms],
                "comparisons": compared,
                "differences": differences({arm.label: [run.record for run in arm.runs] for arm in arms}),
                "notes": notes,
            }
        )
    )


def write(found: Mapping[str, Any], output: Path) -> Path:
    """Write `compare.json`, and from it page, table and picture, into a folder; the page's path.

    Raises:
        NetwrightError: the disk is full or not writable.
    """
    from netwright.report.compare import write as write_page  # matplotlib takes half a second

    output.mkdir(parents=True, exist_ok=True)
    write_atomic(output / FILE, json_text(found, indent=1) + "\n")
    return write_page(output)


def _compared(arm: Arm, base: Arm, margin: float, notes: list[str]) -> dict[str, Any]:
    """One arm less the one it is compared against; Holm and verdicts come when all are known."""
    one, other = paired(arm, base, notes)
    moved, n = one.correct - other.correct, len(one.labels)
    b, c = int((moved < 0).sum()), int((moved > 0).sum())
    effect, p, p_equivalence = _tested(moved, margin)
    seeds = len(one.runs)
    return {
        "name": arm.name,
        "label": arm.label,
        "against": base.name,
        "against_label": base.label,
        "effect": effect.value,
        "interval": [effect.low, effect.high],
        "method": effect.method,
        "covers": "pictures" if seeds == 1 else "seeds and pictures",
        "p": p,
        "n": n,
        "seeds": seeds,
        "b": b,
        "c": c,
        "p_equivalence": p_equivalence,
        "pictures_needed": pictures_needed(b, c, n) if seeds == 1 else None,
        "loss": _mean(one.losses - other.losses),
        "calibration": calibration((one.confidence, one.correct), (other.confidence, other.correct)),
        "classes": _classes(one, moved, margin),
        "pictures": _pictures(one, other),
    }


def _tested(moved: Floats, margin: float) -> tuple[Interval, float, float]:
    """A difference in right answers, p that it is 0, and p that it is not within the margin. S N."""
    if len(moved) > 1:
        return two_way(moved, difference=True), *seeds_p(moved, margin)
    b, c, n = int((moved < 0).sum()), int((moved > 0).sum()), moved.shape[1]
    return tango(b, c, n), mcnemar(b, c), equivalent(b, c, n, margin)


def _mean(moved: Floats) -> Interval:
    """A mean difference of any size. S N."""
    if len(moved) == 1:
        return bootstrap_mean(moved[0])
    draws, mean = two_way_draws(moved[None])[:, 0], float(moved.mean())
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(mean, min(mean, float(low)), max(mean, float(high)), moved.shape[1], METHOD)


def _classes(arm: Arm, moved: Floats, margin: float) -> list[dict[str, Any]]:
    """Differences in recall, tested together."""
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(arm.runs[0].classes):
        of_class = moved[:, arm.labels == place]
        if of_class.size:
            effect, p, _ = _tested(of_class, margin)
            row = {"class": name, "n": effect.n, "effect": effect.value, "interval": [effect.low, effect.high], "p": p}
            rows.append(row | {"b": int((of_class < 0).sum()), "c": int((of_class > 0).sum())})
    for row, raised in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = raised
    return rows


def _pictures(arm: Arm, base: Arm) -> list[dict[str, Any]]:
    """Pictures that one side got right with more seeds than the other; first those where they are furthest apart."""
    right = arm.correct.mean(0) - base.correct.mean(0)
    apart = np.abs(base.losses.mean(0) - arm.losses.mean(0))
    places = np.flatnonzero(np.abs(right) > 1e-9)
    order = sorted(places.tolist(), key=lambda at: (-abs(right[at]), -apart[at], at))
    classes, names = arm.runs[0].classes, arm.runs[0].evaluation.names

    def said(side: Arm, at: int) -> dict[str, Any]:
        guesses = [classes[guess] for guess in dict.fromkeys(side.guesses[:, at].tolist())]
        return {"guesses": guesses, "right": float(side.correct[:, at].mean()), "given": _given(side, at)}

    return [
        {
            "name": names[at],
            "truth": classes[arm.labels[at]],
            "only": (arm if right[at] > 0 else base).label,
            arm.label: said(arm, at),
            base.label: said(base, at),
        }
        for at in order[:MOST_PICTURES]
    ]


def _given(side: Arm, at: int) -> float:
    """The probability that the truth was given, the mean over seeds."""
    return float(side.probabilities[:, at, side.labels[at]].mean())


def _judge(compared: list[dict[str, Any]], margin: float) -> None:
    """Holm over all that is compared, and a verdict for each."""
    raised, alike = (holm([each[name] for each in compared]) for name in ("p", "p_equivalence"))
    for each, p, p_equivalence in zip(compared, raised, alike, strict=True):
        each["p_holm"], each["p_equivalence_holm"] = p, p_equivalence
        if p <= ALPHA:
            each["verdict"] = "better" if each["effect"] > 0 else "worse"
        elif p_equivalence <= ALPHA:
            each["verdict"] = f"no difference larger than {100 * margin:g} point{'' if margin == 0.01 else 's'}"
        else:
            each["verdict"] = "not resolved"


def _run_row(arm: Arm) -> dict[str, Any]:
    """What an arm reached and what it took."""
    readings = [run.reading for run in arm.runs]
    right = arm.correct
    return {
        "label": arm.label,
        "name": arm.name,
        "names": [run.name for run in arm.runs],
        "paths": [str(reading.folder.path) for reading in readings],
        "seeds": arm.seeds,
        "model": readings[0].at("recipe", "model") or "",
        "accuracy": two_way(right, difference=False),
        "by_seed": right.mean(1).tolist(),
        "loss": _mean(arm.losses),
        "calibration": _calibration(arm),
        "epochs": len(readings[0].epochs),
        "seconds": _average([reading.at("seconds") for reading in readings]),
        "images_per_second": _average([reading.at("result", "images_per_second") for reading in readings]),
        "params": readings[0].at("model", "params"),
        "command": readings[0].at("command") or "",
        "curves": [_curves(run) for run in arm.runs],
    }


def _calibration(arm: Arm) -> Interval:
    """Of one seed as its report has it."""
    if len(arm.runs) == 1:
        return calibration_error(arm.confidence[0], arm.correct[0] > 0)
    return calibration((arm.confidence, arm.correct))


def _average(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if isinstance(value, int | float)]
    return sum(known) / len(known) if known else None


def _curves(run: Run) -> dict[str, Any]:
    """What was measured after each epoch, with the seconds of training until then."""
    rows = run.reading.epochs
    spent = np.cumsum([float(row.get("seconds") or 0) for row in rows]).tolist()
    measured = {name: [row.get(name) for row in rows] for name in ("val_accuracy", "train_loss")}
    return {"seed": run.seed, "epoch": [row["epoch"] for row in rows], "seconds": spent, **measured}


def _notes(arms: Sequence[Arm], compared: Sequence[Mapping[str, Any]]) -> list[str]:
    """What else a reader has to know."""
    notes: list[str] = []
    if any(each["seeds"] == 1 for each in compared):
        notes.append(ONE_SEED)
    few = [each["seeds"] for each in compared if 1 < each["seeds"] < FEW_SEEDS]
    if few:
        notes.append(f"{min(few)} seeds hardly tell their own spread, and make intervals wide: train some more.")
    keys = [recipe_key(arm.runs[0].record) for arm in arms]
    same = [arm.label for arm, key in zip(arms, keys, strict=True) if keys.count(key) > 1]
    if same:
        notes.append(f"{', '.join(same)} have one recipe: between them is what another seed or machine does.")
    split = arms[0].runs[0].evaluation.split
    if split != "test":
        notes.append(f"There is no test split: {split_name(split)} pictures may also have guided choices.")
    if len(compared) > 1:
        notes.append(f"{len(compared)} comparisons are made together: p is Holm's, intervals are each one's own.")
    return notes
