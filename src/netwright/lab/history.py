"""The history of architectures on one's own pictures: many families, one protocol, one table."""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, quantiles, stdev
from typing import Any

import numpy as np
import torch

from netwright.bundle.predictor import Predictor, load_classifier
from netwright.core.errors import Interrupted, NetwrightError
from netwright.core.spec import Spec
from netwright.engine.loop import Watcher
from netwright.models import check_model
from netwright.recipes._fit import fit
from netwright.recipes._inputs import Inputs, read_inputs
from netwright.recipes._recipe import Recipe, read_recipe
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.intervals import Interval, bootstrap_mean, of_values
from netwright.report import write_history
from netwright.report.reading import Reading

LEAST = 32  # networks that halve five times need as much; smaller pictures are enlarged for them
SMALL = 64  # pictures up to this side need networks that do not halve them five times
# Of each family a network that a laptop trains in minutes: DenseNet-BC's 100 layers take ten times as long as 40.
SMALL_DENSENET = "densenetbc100_k12(layers=(6, 6, 6))"
FOR_SMALL = ("lenet5", "vgg", "googlenet(aux=False)", "resnet20", SMALL_DENSENET, "mobilenet_v2")
FOR_PHOTOS = ("alexnet", "vgg11_bn", "googlenet(aux=False)", "resnet18", "densenet121", "mobilenet_v2", "convnext_tiny")
ROUNDS = 20  # of latency measurements


@dataclass(frozen=True)
class Told:
    """Who hears how it goes: of each run before it starts, what it was, and while it trains."""

    starting: Callable[[Recipe, int, int], None] = lambda recipe, number, total: None
    known: Callable[[Recipe, Path], None] = lambda recipe, path: None
    failed: Callable[[Recipe, NetwrightError], None] = lambda recipe, error: None
    watcher: Callable[[], Watcher] = Watcher


def plan(base: Recipe, models: Sequence[str], seeds: int) -> list[Recipe]:
    """Every run of the history: each model with each seed, and nothing else changed.

    Raises:
        NetwrightError: an unknown model or option, or no model or seed at all.
    """
    if not models or seeds < 1:
        raise NetwrightError(f"{len(models)} models with {seeds} seeds are no history", "give at least one of each")
    models = list(dict.fromkeys(str(Spec.parse(model)) for model in models))
    for model in models:
        check_model(model)
    return [base.changed(model=model, seed=base.seed + seed) for model in models for seed in range(seeds)]


def _refuse_masks(inputs: Inputs) -> None:
    if inputs.masks is not None:
        fix = 'compare networks for masks as arms: netwright ablate DATA --arms "model=unet_2015; model=segnet"'
        raise NetwrightError("history trains networks that give each picture one class, and this data has masks", fix)


def history(
    base: Recipe,
    models: Sequence[str] | None = None,
    *,
    seeds: int = 1,
    output: str | Path = "history",
    told: Told | None = None,
) -> dict[str, Any]:
    """Train every model under one protocol and write `history.json`, `.html`, `.md` and `.png` into `output`.

    Runs that are in `output` already are not repeated, and one that was interrupted goes on: the same call continues.

    Args:
        base: the protocol: data, budget, augmentation, optimiser and first seed.
        models: specs; by default a list that suits the size of the pictures.
        seeds: runs of each model.
        output: folder for the runs and the result.
        told: hears how it goes.

    Returns:
        What `history.json` holds.

    Raises:
        NetwrightError: unknown names, unusable data, or no model could be trained.
        Interrupted: a signal stopped it; what is finished is kept.
    """
    told, output = told or Told(), Path(output)
    inputs = read_inputs(base, None, None)
    _refuse_masks(inputs)
    if not models:
        models = FOR_SMALL if max(inputs.shape[1:]) <= SMALL else FOR_PHOTOS
        base = base.resolved(image_size=max(LEAST, *inputs.shape[1:]))
        inputs = read_inputs(base, None, None)
    fingerprint = inputs.record["fingerprint"]
    paths: dict[str, list[Path]] = {}
    problems: dict[str, str] = {}
    runs = plan(base, models, seeds)
    del inputs  # each run opens the data itself, from the cache
    for number, recipe in enumerate(runs, 1):
        told.starting(recipe, number, len(runs))
        try:
            paths.setdefault(recipe.model, []).append(_trained(recipe, output, fingerprint, told))
        except Interrupted:
            raise
        except NetwrightError as error:
            told.failed(recipe, error)
            problems[recipe.model] = str(error)
    finished = {model: [Reading.of(RunFolder.open(path)) for path in of_model] for model, of_model in paths.items()}
    finished = {model: readings for model, readings in finished.items() if model not in problems}
    finished = comparable(finished, problems)
    if not finished:
        raise NetwrightError("no model could be trained", next(iter(problems.values())))
    chosen = {model: readings[0].folder.path for model, readings in finished.items()}
    found = summary(base, finished, latencies(chosen, base.device))
    found["problems"] = problems
    output.mkdir(parents=True, exist_ok=True)
    write_atomic(output / "history.json", json.dumps(found, indent=2, ensure_ascii=False))
    write_history(output)
    return found


def summary(
    base: Recipe, finished: Mapping[str, list[Reading]], latency: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """The table: a row a model, with what it reached, what it cost and how far it is behind the best."""
    correct = {model: correctness(readings) for model, readings in finished.items()}
    best = max(correct, key=lambda model: correct[model].mean())
    first = next(iter(finished.values()))[0]
    return {
        "format": 1,
        "data": first.at("data", "name") or base.data,
        "split": first.split,
        "seeds": len(next(iter(finished.values()))),
        "image_size": first.at("data", "image_size"),
        "protocol": base.model_dump(mode="json", exclude={"model", "seed", "name"}),
        "device": first.at("device", "name"),
        "versions": first.at("versions"),
        "best": best,
        "rows": [_row(model, finished[model], correct, best, latency[model]) for model in finished],
    }


def comparable(finished: Mapping[str, list[Reading]], problems: dict[str, str]) -> dict[str, list[Reading]]:
    """The models whose every picture was measured; the others are told among the problems."""
    pictures = max((_pictures(reading) for readings in finished.values() for reading in readings), default=0)
    whole = {m: readings for m, readings in finished.items() if all(_pictures(r) == pictures > 0 for r in readings)}
    for model in set(finished) - set(whole):
        problems[model] = f"not every one of {pictures} pictures has finite scores: see its report"
    return whole


def _pictures(reading: Reading) -> int:
    return 0 if reading.evaluation is None else len(reading.evaluation.labels)


def correctness(readings: Sequence[Reading]) -> np.ndarray:
    """For each picture of the headline split, the share of seeds that were right about it. N."""
    seen = [reading.evaluation for reading in readings]
    return np.mean([each.correct for each in seen if each is not None], axis=0)


def latencies(runs: Mapping[str, Path], device: str = "auto", rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds from one picture in memory to its probabilities, measured in turn so that noise is shared out."""
    predictors = {model: load_classifier(path, device=device) for model, path in runs.items()}
    draw = random.Random(0)
    seconds: dict[str, list[float]] = {model: [] for model in runs}
    threads = torch.get_num_threads()
    for number in range(rounds + 1):
        for model in draw.sample(list(runs), len(runs)):
            took = _one_picture(predictors[model])
            seconds[model] += [took] if number else []  # the first call makes kernels and memory ready
    torch.set_num_threads(threads)
    return seconds


def _one_picture(predictor: Predictor) -> float:
    size = predictor.preprocess_or_error().image_size
    picture = torch.zeros(1, size, size, predictor.card["model"]["in_channels"], dtype=torch.uint8)
    predictor.profile.apply()
    begun = time.perf_counter()
    predictor.probabilities(picture)  # ends on the CPU, so a GPU has been waited for
    return time.perf_counter() - begun


def _row(
    model: str, readings: Sequence[Reading], correct: Mapping[str, np.ndarray], best: str, latency: Sequence[float]
) -> dict[str, Any]:
    means = [float(reading.evaluation.correct.mean()) for reading in readings if reading.evaluation is not None]
    low, _, high = quantiles(latency, n=4)
    behind = bootstrap_mean(correct[best] - correct[model]) if model != best else Interval(0.0, 0.0, 0.0, 0, "best")
    return {
        "model": model,
        "params": readings[0].at("model", "params"),
        "macs": readings[0].at("model", "macs"),
        "accuracy": of_values(correct[model]).to_json(),
        "seed_sd": stdev(means) if len(means) > 1 else None,
        "behind": behind.to_json(),
        "seconds": fmean(float(reading.at("seconds")) for reading in readings),
        "latency": {"median": median(latency), "low": low, "high": high, "n": len(latency)},
        "precision": readings[0].at("device", "precision"),
        "threads": readings[0].at("device", "threads"),
        "runs": [reading.folder.name for reading in readings],
    }


def _trained(recipe: Recipe, output: Path, fingerprint: str, told: Told) -> Path:
    """The finished run of a recipe: found, gone on with, or made."""
    same = {
        path.parent: status
        for path in sorted(output.glob("*/record.json"))
        if (status := _status(path, recipe, fingerprint))
    }
    done = next((path for path, status in same.items() if status == "done"), None)
    if done:
        told.known(recipe, done)
        return done
    half = next((path for path, status in same.items() if status == "interrupted" and _can_go_on(path)), None)
    if half:
        return fit(resume=half, watcher=told.watcher()).path
    return fit(recipe, output=output, watcher=told.watcher()).path


def _status(record_file: Path, recipe: Recipe, fingerprint: str) -> str:
    """How far a run of this very recipe and data is; nothing where it is another's, or cannot be read."""
    with suppress(NetwrightError, OSError, ValueError, KeyError, TypeError):
        record = json.loads(record_file.read_text("utf-8"))
        if read_recipe(record_file).reopened().key == recipe.reopened().key:
            return record["status"] if record["data"]["fingerprint"] == fingerprint else ""
    return ""


def _can_go_on(run: Path) -> bool:
    """Whether a checkpoint was written before the run stopped."""
    return any(RunFolder.open(run).checkpoints.glob("*.json"))
