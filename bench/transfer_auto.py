"""Does `--transfer auto` pick what turns out better? Its pick beside whole runs on the test split.

    OMP_NUM_THREADS=2 python bench/transfer_auto.py --clothing photos/ --squeezenet squeezenet1_0.pth \\
        --cifar cifar10.npz --mnist raw/ --resnet20 resnet20.th --threads 2

Each case is a data set of some size with some weights; those whose files are not named are left out, and all together
are meant to take some twelve minutes on two quiet cores. The truth is the difference of whole fine-tunes and whole
heads on features, a run each a seed, paired by test picture. `auto` sees training pictures only. `--long` adds all the
photos, of which a whole fine-tune takes minutes.
"""

import argparse
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _measure import machine

from netwright.data import Data, from_arrays, open_data
from netwright.data.subset import some_of_each
from netwright.lab.transfer_auto import Auto, auto
from netwright.lab.transfer_words import odd, picked, points, skipped, transfer
from netwright.lab.trial import Trials
from netwright.recipes._recipe import Recipe
from netwright.recipes._transfer import transfer_recipe
from netwright.records.intervals import Interval, bootstrap_mean

TESTED = 1000  # pictures


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    data: Data
    model: str
    weights: str

    def recipe_of(self, seed: int, threads: int) -> Callable[[str], Recipe]:
        """Its recipes."""

        def recipe_of(way: str) -> Recipe:
            weights = None if way == "random_features" else self.weights
            return transfer_recipe(way, weights).changed(model=self.model, seed=seed, threads=threads)

        return recipe_of


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """Those for which there is data."""
    if given.clothing and given.squeezenet:
        photos = open_data(given.clothing, image_size=96)
        for size in (5, None) if given.long else (5,):
            name = "clothing, " + ("all" if size is None else f"{size} a class")
            yield Case(name, sized(photos, size), "squeezenet1_0", given.squeezenet)
    if given.cifar and given.resnet20:
        pictures = open_data(given.cifar)
        yield Case("CIFAR-10, its own weights, 20 a class", sized(pictures, 20), "resnet20", given.resnet20)
    if given.mnist and given.resnet20:
        digits = mnist(given.mnist)
        for size in (20, 50, 100):
            yield Case(f"MNIST, CIFAR's weights, {size} a class", sized(digits, size), "resnet20", given.resnet20)
    if given.cifar and given.squeezenet:
        pictures = open_data(given.cifar, image_size=64)
        for size in (10, 20):
            name = f"CIFAR-10 at 64 pixels, ImageNet's weights, {size} a class"
            yield Case(name, sized(pictures, size), "squeezenet1_0", given.squeezenet)


def sized(data: Data, per_class: int | None) -> Data:
    """So many training pictures of each class or all, no validation split, and at most 1000 to test on."""
    part = data if per_class is None else some_of_each(data, per_class)
    test = part.splits["test"]
    places = np.linspace(0, len(test) - 1, min(TESTED, len(test))).astype(np.int64)
    fewer: dict[str, Any] = {"labels": test.labels[places], "ids": test.ids[places]}
    kept = replace(test, images=np.asarray(test.images[places]), names=[test.names[i] for i in places], **fewer)
    return replace(part, splits={"train": part.splits["train"], "test": kept})


def mnist(folder: str) -> Data:
    """The idx files, as grey pictures in three channels, since the weights want colours."""
    read = {
        side: (_idx(folder, f"{name}-images-idx3-ubyte.gz", 16), _idx(folder, f"{name}-labels-idx1-ubyte.gz", 8))
        for side, name in (("train", "train"), ("test", "t10k"))
    }
    pairs = {side: (x.reshape(-1, 28, 28, 1).repeat(3, 3)[:10_000], y[:10_000]) for side, (x, y) in read.items()}
    return from_arrays(**pairs, name="mnist", image_size=32, channels=3)


def _idx(folder: str, name: str, header: int) -> np.ndarray:
    with gzip.open(Path(folder) / name) as file:
        return np.frombuffer(file.read()[header:], np.uint8)


def truth(case: Case, seeds: int, threads: int, trials: Trials) -> Interval:
    """Whole fine-tune − whole features on the test split, mean of the seeds, paired by picture."""
    gaps = []
    for seed in range(seeds):
        recipe_of = case.recipe_of(seed, threads)
        whole = {way: trials.run(recipe_of(way), case.data).correct for way in ("features", "finetune")}
        gaps.append(whole["finetune"] - whole["features"])
    return bootstrap_mean(np.mean(gaps, 0))


def verdict(pick: str, resolved: bool, true: Interval) -> str:
    """Whether the pick is the better one, where it is known; `auto` may have said that it does not know."""
    if not (true.low > 0 or true.high < 0):
        return "not resolved in truth"
    right = "right" if pick == ("finetune" if true.low > 0 else "features") else "wrong"
    return right if resolved else f"{right}, as auto's default where it said not resolved"


def report(case: Case, found: Auto, true: Interval, seconds: float) -> str:
    """A case in lines."""
    plan = found.plan
    return "\n".join(
        [
            f"{case.name}: {verdict(found.way, found.resolved, true)}",
            f"  truth, fine-tune − features: {points(true)}, whole runs in {seconds:.0f} s",
            f"  auto: {points(found.difference)} on {len(found.features.correct)} pictures, "
            f"{plan.epochs} of {plan.full} epochs, in {found.seconds:.0f} s; takes {found.way}",
            *(f"    {line}" for line in (*picked(found), *transfer(found), *odd(found), *skipped(found))),
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("clothing", "squeezenet", "cifar", "mnist", "resnet20"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--long", action="store_true", help="also all photos")
    parser.add_argument("--budget", type=float, default=40)
    parser.add_argument("--seeds", type=int, default=2, help="of the truth")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--remember", type=Path, help="folder that whole runs are remembered in")
    given = parser.parse_args()
    print(machine(), f"budget {given.budget:g} s, {given.seeds} seeds", sep="\n", flush=True)
    trials = Trials(given.remember)
    for case in cases(given):
        if given.only not in case.name:
            continue
        found = auto(case.recipe_of(0, given.threads), case.data, budget=given.budget)
        begun = perf_counter()
        true = truth(case, given.seeds, given.threads, trials)
        print(report(case, found, true, perf_counter() - begun), flush=True)


if __name__ == "__main__":
    main()
