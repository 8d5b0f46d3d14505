"""What drawn pictures are worth for training: train on synthetic, test on real.

Esteban, Hyland & Rätsch 2017 (arXiv:1706.02633); of classifiers Ravuri & Vinyals 2019 (arXiv:1905.10887).
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.core.errors import NetwrightError, listed
from netwright.data import Data, open_data
from netwright.data.preprocess import Preprocess
from netwright.data.split import Split, statistics
from netwright.data.subset import changed, of_classes, refuse_several, some_of_each
from netwright.lab.copied import Copied, copied
from netwright.lab.synthetic import Drawn, picture_of
from netwright.lab.trial import Trial, Trials, data_of
from netwright.lab.two_way import two_way
from netwright.recipes._choose import batch_size_for, network_suiting
from netwright.recipes._recipe import Recipe, read_recipe, recipe
from netwright.report.synthetic import page

Pixels = NDArray[np.uint8]
Told = Callable[[str], None]
REAL, DRAWN, BOTH = "real", "synthetic", "real + synthetic"
ARMS = (REAL, DRAWN, BOTH)
EPOCHS, SEEDS = 20, 5
SMALL = 64  # up to this side in pixels the classifier is a LeNet
CHANGES = ("flip",)  # of the recipe for photos: a mirrored digit is another one
SHOWN = 8  # pairs of a drawn picture and the nearest training picture


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of the pictures that a network was trained on.

    Attributes:
        data: with them as its training split; None where they cannot be found.
        notes: sentences about them.
    """

    data: Data | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Tested:
    """What `worth` found.

    Attributes:
        found: numbers, for JSON and the page.
        near: the comparison with training pictures.
        pairs: the drawn pictures nearest to training pictures, each with that: uint8 S S C, S S C.
    """

    found: dict[str, Any]
    near: Copied
    pairs: tuple[tuple[Pixels, Pixels], ...]


def seen_by(run: Path, bundle: AutoencoderBundle, path: str) -> Seen:
    """The training pictures of a run: by its record, or where that is absent in the data that are given.

    Args:
        run: the run's folder, or its bundle.
        bundle: what was loaded from there.
        path: data that may be the same.
    """
    card = bundle.card["recipe"]
    record = next((each for each in (run / "record.json", run.parent / "record.json") if each.is_file()), None)
    try:
        if record is not None:
            return Seen(_prepared(data_of(read_recipe(record), **_geometry(bundle)), bundle))
        if card.get("data") and Path(path).name == card["data"]:
            fields = {name: card[name] for name in ("val_fraction", "test_fraction", "group") if name in card}
            known = Recipe(task=str(bundle.task)).changed("recipe", **fields, data=path)
            return Seen(_prepared(data_of(known, **_geometry(bundle)), bundle))
    except NetwrightError as error:
        return Seen(None, (f"the pictures that the network was trained on cannot be read: {error.problem}",))
    where = f"'{card['data']}'" if card.get("data") else "data that its bundle does not name"
    return Seen(None, (f"the network was trained on {where}, which is not here",))


def worth(
    bundle: AutoencoderBundle,
    made: Drawn,
    path: str,
    seen: Seen,
    *,
    seeds: int = SEEDS,
    real_per_class: int | None = None,
    model: str | None = None,
    epochs: int = EPOCHS,
    seed: int = 0,
    threads: int | None = None,
    trials: Trials | None = None,
    told: Told = lambda words: None,
) -> Tested:
    """A small classifier trained on real, on drawn and on both kinds of pictures, for the same number of updates.

    All are tested on the same real pictures, none of which the autoencoder was trained on, as far as its training
    pictures are known. A seed decides which real pictures are drawn, first weights and the order; the drawn ones stay.

    Args:
        bundle: what drew them.
        made: the drawn pictures.
        path: real data with a test split.
        seen: what the network was trained on.
        seeds: runs of each.
        real_per_class: real pictures of each class to train on; None means all.
        model: the classifier; by default LeNet-5 with modern layers, above 64 pixels a side a ResNet-18.
        epochs: passes over as many pictures as both kinds have together.
        seed: the first.
        threads: that torch may use.
        trials: runs recipes, and may remember them.
        told: hears what is run.

    Raises:
        NetwrightError: data of other classes or without a test split, or whatever training refuses.
    """
    if seeds < 1 or epochs < 1:
        raise NetwrightError(f"{seeds} seeds of {epochs} epochs are no test", "give at least one of each")
    data, notes = real_pictures(bundle, path, seen)
    known = data if seen.data is None else seen.data
    parts = {number: _arms(made, data, real_per_class, number) for number in range(seed, seed + seeds)}
    n = max(len(part.splits["train"]) for part in parts[seed].values())
    chosen = _recipe(data.preprocess, n, model, epochs, threads)
    runs = _trained(chosen, parts, trials or Trials(), told)
    held, shown = data.splits["test"], known.splits["train"]
    against = "val" if "val" in known.splits else "test"
    apart = known.splits["val"] if against == "val" else held  # like those trained on, as test pictures need not be
    near = copied(made.images, lambda chosen: shown.images[chosen], len(shown), np.asarray(apart.images[:]), seed)
    counts = {REAL: _taken(data, real_per_class), DRAWN: len(made.labels)}
    found = {
        "per_class": len(made.labels) // len(made.classes),
        "seeds": seeds,
        "tested": len(held),
        "updates": chosen.epochs * (n // min(int(chosen.batch_size), n)),
        "model": chosen.model,
        "seen": len(shown) if seen.data is not None else None,
        "pictures": {**counts, BOTH: sum(counts.values())},
        "arms": {name: _arm(runs[name], runs[REAL] if name != REAL else None) for name in ARMS},
        "copied": near.to_json() | {"of": "trained on" if seen.data is not None else "given", "against": against},
        "notes": [*seen.notes, *notes],
    }
    first = near.closest[:SHOWN].tolist()
    pairs = [(made.images[q], np.asarray(shown.images[near.places[q : q + 1]])[0]) for q in first]
    return Tested(found, near, tuple(pairs))


def _trained(
    chosen: Recipe, parts: Mapping[int, Mapping[str, Data]], trials: Trials, told: Told
) -> dict[str, list[Trial]]:
    """A run of each seed and kind of pictures, by kind."""
    runs: dict[str, list[Trial]] = {name: [] for name in ARMS}
    for number, arms in parts.items():
        for name, part in arms.items():
            done = sum(map(len, runs.values())) + 1
            told(f"{done} of {len(ARMS) * len(parts)}: trained on {name} pictures, seed {number}")
            runs[name].append(trials.run(chosen.changed("auto", seed=number), part))
    return runs


def _arm(runs: list[Trial], against: list[Trial] | None) -> dict[str, Any]:
    ours = np.stack([run.correct for run in runs])
    found = {"accuracy": two_way(ours, difference=False).to_json()}
    if against is not None:
        theirs = np.stack([run.correct for run in against])
        found["difference"] = two_way(ours - theirs, difference=True).to_json()
    return found


def real_pictures(bundle: AutoencoderBundle, path: str, seen: Seen) -> tuple[Data, list[str]]:
    """Real pictures as the network prepares them, with its classes, tested on what it was not trained on.

    Raises:
        NetwrightError: they cannot be opened, have other classes or no test split, or the network saw all of them.
    """
    data = seen.data if _is_of(seen.data, path) else None
    data = data or _prepared(open_data(path, **_geometry(bundle)), bundle)
    if "test" not in data.splits:
        raise NetwrightError(f"{path} has no test split, on which all would be measured", f"add {path}/test")
    notes: list[str] = []
    if seen.data is None:
        notes.append("whether it was trained on some of the test pictures cannot be checked")
        return data, notes
    test, trained = data.splits["test"], seen.data.splits["train"]
    mine = np.isin(test.ids, trained.ids)
    if mine.all():
        raise NetwrightError("the network was trained on all of the test pictures", "test on others: --test DATA")
    if mine.any():
        notes.append(f"{int(mine.sum())} test pictures on which the network was trained are left out")
        data = replace(data, splits=data.splits | {"test": test.taken(np.flatnonzero(~mine))})
    return data, notes


def _is_of(data: Data | None, path: str) -> bool:
    if data is None:
        return False
    here = Path(path).expanduser()
    return Path(data.root).resolve() == here.resolve() if here.exists() else path in (data.root, data.name)


def _geometry(bundle: AutoencoderBundle) -> dict[str, Any]:
    prepared = bundle.preprocess_or_error()
    names = ("image_size", "stored_size", "fit", "channels")
    return {name: getattr(prepared, name) for name in names} | {"classes": True}


def _prepared(data: Data, bundle: AutoencoderBundle) -> Data:
    """Data with the classes of a network, in its order, each picture as it sees it."""
    refuse_several(data.splits["train"])
    if missing := [name for name in bundle.classes if name not in data.classes]:
        problem = f"the data has no {listed(missing)}, of which the network draws pictures"
        raise NetwrightError(problem, f"give data with the classes {listed(bundle.classes, 12)}")
    data = data if data.classes == bundle.classes else of_classes(data, bundle.classes)
    prepared = data.preprocess
    if prepared.stored_size == prepared.image_size:
        return data
    splits = {name: replace(split, images=_Middle(split, prepared)) for name, split in data.splits.items()}
    return replace(data, splits=splits, preprocess=replace(prepared, stored_size=prepared.image_size))


class _Middle:
    """The middle of stored pictures, which is what the network sees, read when it is indexed."""

    def __init__(self, split: Split, prepared: Preprocess) -> None:
        self.images = split.images
        self.prepared = prepared
        side = prepared.image_size
        self.shape = (len(split), side, side, prepared.channels)
        self.nbytes = int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Any) -> Pixels:
        return np.ascontiguousarray(self.prepared.centre(np.asarray(self.images[chosen])))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        return self[:]


def _taken(data: Data, per_class: int | None) -> int:
    counts = np.bincount(data.splits["train"].labels, minlength=len(data.classes))
    return int(counts.sum() if per_class is None else np.minimum(counts, per_class).sum())


def _arms(made: Drawn, data: Data, real_per_class: int | None, seed: int) -> Mapping[str, Data]:
    """Three training sets of one length, so that epochs have the same number of updates: shorter ones are repeated."""
    part = data if real_per_class is None else some_of_each(data, real_per_class, seed)
    real = part.splits["train"]
    ids = np.arange(len(made.labels), dtype=np.int64)
    own = Split(made.images, made.labels, ids, [f"drawn[{place}]" for place in ids.tolist()])
    both = Split(
        np.concatenate([np.asarray(real.images[:]), made.images]),
        np.concatenate([real.labels, own.labels]),
        np.concatenate([real.ids, own.ids]),
        [*real.names, *own.names],
    )
    n = len(both)
    kinds = {REAL: real, DRAWN: own, BOTH: both}
    return {name: _as_data(data, _repeated(split, n, seed), name, made.seed, seed) for name, split in kinds.items()}


def _repeated(split: Split, n: int, seed: int) -> Split:
    """So many pictures: each as often as others, or once more; what is over is drawn at random."""
    draw = np.random.default_rng(seed)
    places = np.concatenate([draw.permutation(len(split)) for _ in range(-(-n // len(split)))])[:n]
    ids = np.arange(n, dtype=np.int64)  # each view has a number of its own, so that it is augmented in its own way
    return replace(split.taken(places), ids=ids)


def _as_data(data: Data, train: Split, name: str, drawn_with: int, seed: int) -> Data:
    mean, std = statistics(train.images)
    part = changed(data, {"train": train}, data.classes, f"{name}, drawn with {drawn_with}, seed {seed}")
    splits = {"train": train, "test": data.splits["test"]}
    return replace(part, splits=splits, preprocess=replace(data.preprocess, mean=mean, std=std))


def _recipe(prepared: Preprocess, n: int, model: str | None, epochs: int, threads: int | None) -> Recipe:
    side = prepared.image_size
    small = "lenet5(modern=True)" if side <= SMALL else network_suiting(side)
    wanted: dict[str, Any] = {"image_size": side, "channels": prepared.channels, "threads": threads}
    chosen = recipe("modern").without(*CHANGES).changed(model=model or small, epochs=epochs, **wanted)
    return chosen.resolved(batch_size=batch_size_for(n))


def page_of(tested: Tested, title: str) -> str:
    """What was found, as a page with the pictures."""
    pairs = [(_uri(made), _uri(real)) for made, real in tested.pairs]
    return page(tested.found, title, pairs)


def _uri(pixels: Pixels) -> str:
    file = BytesIO()
    picture_of(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
