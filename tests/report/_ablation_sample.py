"""Ablations made up after the schema of `ablation.json`: what the page must be able to show."""

import copy
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from netwright.records.intervals import Interval

HELPS, HARMS, SAME, OPEN = "helps", "harms", "no difference larger than 1 point", "not resolved"
# name, effect, reach of the interval over both, verdict, Holm's p, more seeds
SIX = (
    ("label_smoothing", 0.018, 0.009, HELPS, 0.0312, None),
    ("flip", 0.031, 0.011, HELPS, 0.0004, None),
    ("ema", -0.014, 0.008, HARMS, 0.021, None),
    ("no_decay", 0.001, 0.006, SAME, 0.81, None),
    ("cutout(size=8)", 0.007, 0.012, OPEN, 0.38, 5),
    ("mixup(alpha=0.2)", -0.004, 0.013, OPEN, 1.0, None),
)


def interval(value: float, reach: float, n: int = 2000, method: str = "two_way") -> dict[str, Any]:
    return Interval(value, value - reach, value + 1.1 * reach, n, method).to_json()


def effect(
    name: str, value: float, reach: float, verdict: str, p: float, more: int | None, *, seeds: int = 6, order: int = 1
) -> dict[str, Any]:
    random.seed(name)
    by_seed = [value + random.gauss(0, reach * 0.7) for _ in range(seeds)]
    intervals = {
        "both": interval(value, reach),
        "seeds": interval(value, 0.8 * reach, seeds, "bca"),
        "pictures": interval(value, 0.5 * reach, 2000, "bca"),
    }
    return {
        "name": name, "verdict": verdict, "effect": value, "p": p, "n": seeds, "p_raw": p / 3, "p_seeds": p / 4,
        "interval": [value - reach, value + 1.1 * reach], "intervals": intervals, "by_seed": by_seed, "d_z": 1.2,
        "same_sign": 5 / 6, "p_equivalence": 0.4, "more_seeds": more,
        "limited_by": "seeds" if more else "pictures", "weights": {}, "aliases": [], "order": order,
        "loss": interval(-0.9 * value, reach), "calibration": interval(-0.3 * value, reach / 2),
        "time_ratio": 1 + 3 * abs(value), "memory_ratio": 1.0, "words": f"{name} {verdict}.",
    }  # fmt: skip


def row(name: str, accuracy: float, seconds: float, changes: Sequence[str] = (), seeds: int = 6) -> dict[str, Any]:
    random.seed(name)
    by_seed = [accuracy + random.gauss(0, 0.008) for _ in range(seeds)]
    curve = [accuracy * (1 - 0.75 * 0.72**epoch) + random.gauss(0, 0.004) for epoch in range(1, 17)]
    return {
        "name": name, "changes": list(changes), "accuracy": interval(accuracy, 0.012), "by_seed": by_seed,
        "spec": {"tricks": ["flip", "ema"], "optimizer": "adamw", "schedule": "cosine", "model": "resnet8",
                 "epochs": 16, "batch_size": 128},
        "loss": interval(1.1 - accuracy / 2, 0.03), "seconds": seconds, "images_per_second": 160_000 / seconds,
        "calibration": {"value": 0.041, "by_seed": [0.04] * seeds, "interval": [0.03, 0.05]}, "memory": 812_000_000,
        "epochs": 16, "steps": 1264, "n": seeds,
        "curves": {"val_accuracy": curve, "train_loss": [2.3 * 0.9**epoch for epoch in range(1, 17)]},
        "command": f"netwright train cifar10.npz --recipe modern --seed 0 --name '{name}'",
    }  # fmt: skip


def whole(kind: str, effects: list[dict[str, Any]], rows: list[dict[str, Any]], seeds: int = 6) -> dict[str, Any]:
    return {
        "format": 1, "title": "Which trick helps on cifar10?", "kind": kind, "data": "cifar10", "split": "test",
        "pictures": {"train": 10000, "val": 0, "test": 2000}, "n": 2000, "metric": "accuracy", "model": "resnet8",
        "image_size": 32, "epochs": 16, "device": "CPU", "processes": 2, "seeds": list(range(seeds)),
        "machine": {"device": "cpu", "name": "AMD EPYC 7B13", "precision": "fp32", "threads": 1, "torch": "2.15"},
        "test": "sign_flip", "margin": 0.01, "alpha": 0.05, "equal": "epochs", "runs": len(rows) * seeds, "found": 4,
        "run_seconds": 61.0 * len(rows) * seeds, "wall_seconds": 32.0 * len(rows) * seeds,
        "preflight": {"seconds_per_run": {"modern": 61.0}, "memory": 812_000_000, "smallest_effect": 0.012},
        "baseline": rows[0], "rows": rows, "arms": effects, "factorial": None, "looks": None,
        "commands": ["netwright ablate cifar10.npz --recipe modern --leave-one-out --seeds 6"],
        "notes": ["early_stopping stays in every arm: it decides how long a run is."],
    }  # fmt: skip


def leave_one_out() -> dict[str, Any]:
    """Six tricks with all four verdicts."""
    effects = [effect(*each) for each in SIX]
    rows = [row("modern", 0.713, 61)]
    rows += [
        row(f"without {each['name']}", 0.713 - each["effect"], 61 / each["time_ratio"], [f"without {each['name']}"])
        for each in effects
    ]
    for each in effects:
        each["weights"] = {"modern": 1.0, f"without {each['name']}": -1.0}
    return whole("leave_one_out", effects, rows)


def many(n: int = 25) -> dict[str, Any]:
    """Many tricks with long names, one of them far away from all others."""
    random.seed(7)
    effects: list[dict[str, Any]] = []
    for place in range(n):
        name = f"stochastic_depth(p={place / 100:.2f}, mode='batch_{place}')" if place % 4 == 0 else f"trick_{place}"
        value = -0.24 if place == 9 else random.gauss(0.002, 0.009)
        verdict = (
            HARMS if place == 9 else (HELPS if value > 0.009 else HARMS if value < -0.01 else (OPEN, SAME)[place % 2])
        )
        p = 0.0002 if verdict in (HELPS, HARMS) else 0.6
        effects.append(effect(name, value, 0.007, verdict, p, 12 if verdict == OPEN and place % 3 else None))
    rows = [row("modern", 0.713, 61)]
    rows += [
        row(f"without {each['name']}", 0.713 - each["effect"], 61 * random.uniform(0.93, 1.03)) for each in effects
    ]
    return whole("leave_one_out", effects, rows)


def factorial() -> dict[str, Any]:
    """Two to the power of four less one, with interactions."""
    factors = ["flip", "ema", "label_smoothing", "cutout"]
    pairs = [(a, b) for place, a in enumerate(factors) for b in factors[place + 1 :]]
    effects = [effect(name, value, 0.008, *rest) for name, value, *rest in (
        ("flip", 0.028, HELPS, 0.0003, None), ("ema", -0.004, OPEN, 0.7, 9),
        ("label_smoothing", 0.013, HELPS, 0.012, None), ("cutout", 0.001, SAME, 0.9, None),
    )]  # fmt: skip
    for place, (a, b) in enumerate(pairs):
        value = (0.0012, -0.011, 0.003, 0.0004, -0.002, 0.0018)[place]
        verdict = HARMS if place == 1 else OPEN
        name, p = f"{a}:{b}", 0.03 if place == 1 else 0.9
        effects.append(effect(name, value, 0.007, verdict, p, 20 if verdict == OPEN else None, order=2))
    signs = [[1 if run >> place & 1 else -1 for place in range(3)] for run in range(8)]
    signs = [[*each, each[0] * each[1] * each[2]] for each in signs]
    rows: list[dict[str, Any]] = []
    for each in signs:
        name = " ".join(f"{'+' if sign > 0 else '-'}{factor}" for sign, factor in zip(each, factors, strict=True))
        gain = sum(sign * value / 2 for sign, value in zip(each, (0.028, -0.004, 0.013, 0.001), strict=True))
        rows.append(row(name, 0.69 + gain, 58 + 3 * each[1]))
    found = whole("factorial", effects, rows)
    listed = sorted(effects, key=lambda one: abs(one["effect"]))
    half_normal = [
        {"name": one["name"], "effect": one["effect"], "quantile": 2.0 * (place + 0.5) / len(listed)}
        for place, one in enumerate(listed)
    ]
    two_way = [{"factors": list(pair), "means": [[0.672, 0.681], [0.704, 0.7 - 0.004 * place]]}
               for place, pair in enumerate(pairs)]  # fmt: skip
    found["factorial"] = {
        "design": {"runs": 8, "factors": factors, "generators": ["cutout=flip*ema*label_smoothing"], "resolution": 4,
                   "rows": signs},
        "half_normal": half_normal, "margin_of_error": 0.0085, "two_way": two_way,
    }  # fmt: skip
    effects[4]["aliases"] = ["label_smoothing:cutout"]
    return found


def looked_at() -> dict[str, Any]:
    """Seeds added until resolved: effects have 4 to 10 seeds, and rows those of the effects that rest on them."""
    found = leave_one_out()
    counts = (6, 4, 4, 8, 10, 10)
    for each, row_, count in zip(found["arms"], found["rows"][1:], counts, strict=True):
        each |= {"n": count, "test": "sign_flip", "resolvable": 0.004 + 0.001 * count, "time": interval(1.04, 0.06)}
        row_ |= row(row_["name"], row_["accuracy"]["value"], row_["seconds"], row_["changes"], count)
    found["rows"][0] |= row("modern", 0.713, 61, seeds=10)
    for each in found["rows"]:
        level = each["accuracy"]["value"] + 0.002
        each["common"] = {"accuracy": interval(level, 0.014), "seconds": each["seconds"] + 2, "n": 4}
    found["looks"] = {
        "method": "alpha spending, O'Brien-Fleming type, summed over looks planned ahead",
        "source": "Lan & DeMets, Biometrika 70, 1983", "spent": 0.031,
        "rows": [{"look": 1, "seeds": 4, "spent": 0.003, "resolved": ["flip"], "seeds_added": ["ema +2"]},
                 {"look": 2, "seeds": 10, "spent": 0.031, "resolved": ["flip", "ema"], "seeds_added": []}],
    }  # fmt: skip
    return found | {"seeds": list(range(10)), "runs": 52}


def with_failed() -> dict[str, Any]:
    """One arm could not be trained: it has words instead of numbers, and its effect is not there."""
    found = leave_one_out()
    lost = found["arms"].pop(4)
    found["rows"][5] = {
        "name": f"without {lost['name']}", "changes": [f"without {lost['name']}"], "accuracy": None,
        "spec": found["rows"][0]["spec"], "failed": "The loss is not a number\nafter 12 updates; lower lr.", "n": 0,
    }  # fmt: skip
    return found


def equal_time() -> dict[str, Any]:
    """Epochs follow from times, and one row's time came out far from the baseline's."""
    found = leave_one_out()
    for place, each in enumerate(found["rows"]):
        each |= {"epochs": 15 if place == 2 else 16, "seconds": 61.0, "spec": dict(each["spec"])}
    found["rows"][1] |= {"seconds": 90.0, "epochs": 12}
    for each in found["rows"]:
        each["spec"]["epochs"] = each["epochs"]
    return found | {"equal": "time"}


def one_epoch() -> dict[str, Any]:
    """Curves of one point."""
    found = leave_one_out() | {"epochs": 1}
    for each in found["rows"]:
        each |= {"epochs": 1, "curves": {"val_accuracy": [0.4], "train_loss": [2.1]}}
    return found


def unknowns() -> dict[str, Any]:
    """Fields that nobody could fill, as with one seed: None, NaN, missing."""
    found = leave_one_out()
    first, second, third, *_ = found["arms"]
    first |= {"interval": [None, None], "p": None, "intervals": {"both": interval(0.018, float("nan"))}, "by_seed": []}
    second |= {"effect": float("nan"), "interval": [float("nan")] * 2, "intervals": None, "p": float("nan")}
    third |= {"loss": None, "calibration": None, "time_ratio": None, "memory_ratio": None, "by_seed": [None, 0.01]}
    found["rows"][1] |= {"accuracy": None, "curves": None, "seconds": None, "memory": 0}
    found["rows"][2] |= {"loss": None, "calibration": None, "by_seed": [None] * 6, "command": None}
    found |= {"preflight": None, "machine": {}, "commands": [], "notes": [], "image_size": None, "test": "t"}
    return found


def one_arm() -> dict[str, Any]:
    found = leave_one_out()
    return found | {"kind": "arms", "arms": found["arms"][:1], "rows": found["rows"][:2], "runs": 12}


SAMPLES = {
    "six": leave_one_out, "many": many, "factorial": factorial, "looks": looked_at, "unknowns": unknowns,
    "one": one_arm, "failed": with_failed, "time": equal_time, "epoch": one_epoch,
}  # fmt: skip


def stored(folder: Path, found: dict[str, Any]) -> Path:
    """The sample as a folder of the lab."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ablation.json").write_text(json.dumps(copy.deepcopy(found)), "utf-8")
    return folder


def texts(drawn: Figure) -> list[tuple[str, Any]]:
    """What is written beside marks, with the box it takes."""
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    found = [child for axes in drawn.axes for child in axes.texts]
    return [
        (child.get_text(), super(Annotation, child).get_window_extent(canvas.get_renderer()))
        if isinstance(child, Annotation)
        else (child.get_text(), child.get_window_extent(canvas.get_renderer()))
        for child in found
    ]
