"""Runs as arms: each for itself, or those that differ in nothing but their seeds as one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.lab.run_folders import Run

Floats = NDArray[np.float64]
# Where and how fast a run is computed does not belong to its recipe, and its data are known by their fingerprint.
NOT_IN_RECIPE = {"device", "workers", "threads", "name", "gate", "seed", "data"}


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but their seeds, and what they said of the pictures that all arms share.

    Attributes:
        label: a letter, as names of runs are long.
        runs: one for each seed.
        labels: N.
        probabilities: S N K.
    """

    label: str
    runs: tuple[Run, ...]
    labels: NDArray[np.int64]
    probabilities: Floats

    @property
    def name(self) -> str:
        """That of the first run."""
        return self.runs[0].name

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return [run.seed for run in self.runs]

    @property
    def guesses(self) -> NDArray[np.int64]:
        """The likeliest classes. S N."""
        return self.probabilities.argmax(2).astype(np.int64)

    @property
    def correct(self) -> Floats:
        """1 where a picture's class was guessed. S N."""
        return (self.guesses == self.labels).astype(np.float64)

    @property
    def confidence(self) -> Floats:
        """The likeliest class's probability. S N."""
        return self.probabilities.max(2)

    @property
    def losses(self) -> Floats:
        """−log of the true class's calibrated probability, in nats. S N."""
        given = self.probabilities[:, np.arange(len(self.labels)), self.labels]
        return -np.log(np.maximum(given, np.finfo(np.float32).tiny))

    def of_seeds(self, seeds: Sequence[int]) -> "Arm":
        """The same with the runs of these seeds, in their order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return Arm(self.label, tuple(self.runs[row] for row in rows), self.labels, self.probabilities[rows])


def recipe_key(record: Mapping[str, Any]) -> str:
    """What decides a run's result but for its seed, as text: recipe, own objects, and the data."""
    recipe = {name: value for name, value in record["recipe"].items() if name not in NOT_IN_RECIPE}
    data = (record.get("data") or {}).get("fingerprint")
    return json.dumps([recipe, record.get("own") or {}, data], sort_keys=True)


def arms_of(found: Sequence[Run], notes: list[str], *, by_recipe: bool) -> list[Arm]:
    """Arms in the order of their first runs; `notes` is told what is left out.

    Raises:
        NetwrightError: there is only one.
    """
    groups: dict[str, list[Run]] = {}
    for place, run in enumerate(found):
        groups.setdefault(recipe_key(run.record) if by_recipe else str(place), []).append(run)
    if len(groups) < 2:
        fix = "give runs of another recipe too, or leave --by-recipe out to compare seeds with each other"
        raise NetwrightError("all these runs have one recipe, and differ in nothing but their seeds", fix)
    arms: list[Arm] = []
    for place, held in enumerate(groups.values()):
        unique = {run.seed: run for run in reversed(held)}
        doubles = [run.name for run in held if unique[run.seed] is not run]
        if doubles:
            notes.append(f"left out, since recipe and seed are another's: {', '.join(doubles)}")
        kept = [run for run in held if unique[run.seed] is run]
        probabilities = np.stack([run.evaluation.probabilities for run in kept])
        arms.append(Arm(_letters(place), tuple(kept), kept[0].evaluation.labels, probabilities))
    return arms


def chosen_arm(arms: Sequence[Arm], given: str | None) -> Arm:
    """The arm that the others are compared against: by folder, name or a part of it; the first where none is given.

    Raises:
        NetwrightError: no arm has such a run, or several have.
    """
    if given is None:
        return arms[0]
    last = Path(given).name
    for fits in (str.__eq__, str.__contains__):
        named = [arm for arm in arms if any(fits(run.name, last) for run in arm.runs)]
        if len(named) == 1:
            return named[0]
    raise unknown("run to compare against", given, [run.name for arm in arms for run in arm.runs])


def paired(arm: Arm, base: Arm, notes: list[str]) -> tuple[Arm, Arm]:
    """Both with as many runs: those of seeds in common, or where there are none, one after the other."""
    if len(arm.runs) == len(base.runs) == 1:
        return arm, base
    common = [seed for seed in arm.seeds if seed in base.seeds]
    pair = f"{arm.label} and {base.label}"
    if common:
        if len(common) < max(len(arm.runs), len(base.runs)):
            shared = ", ".join(map(str, common))
            notes.append(f"{pair} are compared by the seeds that both have: {shared}.")
        return arm.of_seeds(common), base.of_seeds(common)
    count = min(len(arm.runs), len(base.runs))
    notes.append(f"{pair} have no seed in common: {count} runs of each are paired as they come.")
    return arm.of_seeds(arm.seeds[:count]), base.of_seeds(base.seeds[:count])


def _letters(place: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    return (_letters(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)
