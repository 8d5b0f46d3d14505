"""What a report tells of a network's masks: measures of a split's whole pictures, each with its interval."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.data.masks import BORDERED
from netwright.engine.device import Profile
from netwright.engine.evaluate import batches_of, predict
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Source
from netwright.engine.run import Task
from netwright.records.intervals import Interval, bootstrap_mean
from netwright.tasks import _mask_metrics as metrics
from netwright.tasks._boundary import EDGES
from netwright.tasks._instances import Matched, grown, matched, regions
from netwright.tasks._mask_metrics import Bootstrap, Tally, boundary_sums, counted, tally
from netwright.tasks._otsu import luma, otsu
from netwright.tasks.segmentation import Segmentation

Ids = NDArray[np.int64]
AT_ONCE = 16  # pictures that are predicted together
POLARITY = 64  # training pictures, at most, from which it is seen whether things are bright or dark
MEASURES = {"iou": metrics.iou, "dice": metrics.dice, "precision": metrics.precision, "recall": metrics.recall}


def inspect(
    model: nn.Module,
    source: Source,
    task: Task,
    normalise: Normalise,
    profile: Profile,
    classes: Sequence[str],
    *,
    split: str = "",
    names: Sequence[str] = (),
    numbered: Callable[[int], NDArray[Any] | None] = lambda place: None,
    train: Source | None = None,
    batch_size: int = AT_ONCE,
) -> dict[str, Any]:
    """Run a network over a split and measure its masks, as JSON.

    Args:
        model: maps N C H W to logits N K H W; it is put in evaluation mode.
        source: the split's pictures and masks.
        task: says which classes are counted, and whether they overlap.
        normalise: the preprocessing that training used.
        profile: the device.
        classes: their names.
        split: what the split is called.
        names: of its pictures.
        numbered: the true things of the picture at a place, numbered from 1, H W; None where nobody numbered them:
            then they are the connected parts of its mask.
        train: training pictures, from which Otsu's threshold learns whether things are bright or dark; without, it is
            not measured.
        batch_size: pictures that are predicted together.

    Raises:
        NetwrightError: the task is not `segmentation`.
    """
    if not isinstance(task, Segmentation):
        raise NetwrightError(f"the masks of {task.name} cannot be measured", "train with --task segmentation")
    order = np.concatenate([np.zeros(0, np.int64), *batches_of(source, batch_size)]).tolist()
    bright = _bright(train) if train is not None and _binary(task) else None
    things_of = _things_of(task, classes)
    tallies: dict[int, Tally] = {}
    things: dict[int, Matched] = {}
    baseline: list[Ids] = []
    pictures = _pictures(model, source, task, normalise, profile, batch_size)
    for place, (picture, found, label) in zip(order, pictures, strict=True):
        tallies[place] = tally(found, label, task.classes)
        if things_of:
            things[place] = _matched(things_of, found, label, numbered(place))
        if bright is not None:
            baseline.append(counted(_thresholded(picture, bright), label, task.classes)[0])
    in_order = [tallies[place] for place in sorted(tallies)]
    return {
        "split": split,
        "n": len(in_order),
        "classes": list(classes),
        "background": task.background and not task.several,
        **_summary(in_order, task, classes),
        "otsu": _two(np.stack(baseline), task) if baseline else None,
        "instances": _instances([things[place] for place in sorted(things)]) if things else None,
        "by_picture": _by_picture(in_order, task, names),
    }


def _matched(things_of: Callable[[Ids], Ids], found: Ids, label: Ids, own: NDArray[Any] | None) -> Matched:
    """Things found beside the true ones: those that somebody numbered, or those of the label. H W each."""
    ignored = label < 0
    seen, truth = (things_of(np.where(ignored, 0, mask)) for mask in (found, label))
    return matched(seen, truth if own is None else np.where(ignored, 0, own))


def _pictures(
    model: nn.Module, source: Source, task: Segmentation, normalise: Normalise, profile: Profile, batch_size: int
) -> Iterator[tuple[Tensor, Ids, Ids]]:
    """Every picture (H W C or C H W, as stored), what was found in it, and its label."""
    model.eval()
    for raw, output in predict(model, source, normalise, profile, batch_size):
        found = (output > 0).long() if task.several else output.max(1).indices
        for picture, one, label in zip(raw.image, found, raw.label, strict=True):
            yield picture, one.cpu().numpy(), label.long().cpu().numpy()


def _summary(tallies: list[Tally], task: Segmentation, classes: Sequence[str]) -> dict[str, Any]:
    """Tables over all pictures: by class, their means, by distance from the outline, and the confusion."""
    counts = np.stack([each.counts for each in tallies]) if tallies else np.zeros((0, task.classes, 3))
    pooled, counted = Bootstrap(counts), Bootstrap(counts[:, task.counted])
    outlines = boundary_sums(tallies) if tallies else np.zeros((0, task.classes, 2))
    f1, f1_counted = Bootstrap(outlines), Bootstrap(outlines[:, task.counted])
    columns = {name: pooled.each(measure) for name, measure in MEASURES.items()}
    columns["boundary_f1"] = f1.each(metrics.share)
    means = {name: counted.mean(measure) for name, measure in MEASURES.items()}
    means["boundary_f1"] = f1_counted.mean(metrics.share)
    means["pixel_accuracy"] = metrics.bootstrap_ratio(
        [each.right for each in tallies], [each.known for each in tallies]
    )
    labelled = max(1, sum(each.known for each in tallies) // (task.classes if task.several else 1))
    there = counts[..., 2]
    rows = [
        {
            "name": name,
            "pixels": float(there[:, k].sum() / labelled),
            "pictures": int((there[:, k] > 0).sum()),
            **{column: values[k].to_json() for column, values in columns.items()},
        }
        for k, name in enumerate(classes)
    ]
    distances = np.stack([each.distances for each in tallies]) if tallies else np.zeros((0, len(EDGES), 2))
    matrix = sum((each.confusion for each in tallies), np.zeros((task.classes, task.classes), np.int64))
    return {
        "per_class": rows,
        "mean": {name: value.to_json() for name, value in means.items()},
        "boundary": _by_distance(distances),
        "confusion": [] if task.several else matrix.tolist(),
    }


def _by_distance(distances: NDArray[Any]) -> dict[str, Any]:
    """Errors in bins of distance: the share of wrong pixels in each, and how many of all pixels each holds."""
    pixels = distances[..., 1].sum(0)
    errors: list[Interval] = Bootstrap(distances).each(metrics.share)
    return {
        "edges": [*EDGES, None],
        "error": [each.to_json() for each in errors],
        "share": (pixels / max(1, pixels.sum())).tolist(),
    }


def _by_picture(tallies: list[Tally], task: Segmentation, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each picture's own IoU and Dice, as `Segmentation.metrics` has them."""
    rows: list[dict[str, Any]] = []
    for i, each in enumerate(tallies):
        counts = each.counts[task.counted].astype(np.float64)
        scores = {name: float(metrics.mean_known(metrics.ratio(*MEASURES[name](counts)))) for name in ("iou", "dice")}
        rows.append(({"name": names[i]} if names else {}) | scores)
    return rows


def _two(counts: NDArray[Any], task: Segmentation) -> dict[str, Any]:
    """IoU and Dice over all pixels, and means of the pictures' own."""
    counted = counts[:, task.counted].astype(np.float64)
    pooled = Bootstrap(counted)
    found = {name: pooled.mean(MEASURES[name]).to_json() for name in ("iou", "dice")}
    for name in ("iou", "dice"):
        own = [float(metrics.mean_known(metrics.ratio(*MEASURES[name](each)))) for each in counted]
        found[f"{name}_of_images"] = bootstrap_mean(own).to_json()
    return found


def _binary(task: Segmentation) -> bool:
    return task.classes == 2 and task.background and not task.several


def _things_of(task: Segmentation, classes: Sequence[str]) -> Callable[[Ids], Ids] | None:
    """How things are told apart in a mask: regions of the one class, or interiors with their borders."""
    if _binary(task):
        return lambda mask: regions(mask == 1)
    if tuple(classes) == BORDERED:
        return grown
    return None


def _instances(things: list[Matched]) -> dict[str, Any]:
    """How many things there are and were found, how far off the count of a picture is, and average precision."""
    off = [each.found - each.truth for each in things]
    precisions = np.stack([each.precisions for each in things])
    return {
        "truth": sum(each.truth for each in things),
        "found": sum(each.found for each in things),
        "count_error": bootstrap_mean(off).to_json(),
        "count_absolute": bootstrap_mean(np.abs(off)).to_json(),
        "ap50": bootstrap_mean(precisions[:, 0]).to_json(),
        "ap": bootstrap_mean(precisions.mean(1)).to_json(),
    }


def _bright(train: Source) -> bool:
    """Whether things are what is above the threshold: that polarity of two which has the larger IoU in training."""
    totals = np.zeros((2, 3))
    for raw in train.batches(batches_of(train, AT_ONCE)[: POLARITY // AT_ONCE]):
        for picture, label in zip(raw.image, raw.label.cpu().numpy(), strict=True):
            for bright in (False, True):
                totals[int(bright)] += tally_binary(_thresholded(picture, bright), label)
    dark, light = metrics.ratio(*metrics.iou(totals))
    return bool(light >= dark) if math.isfinite(light) and math.isfinite(dark) else True


def tally_binary(found: Ids, label: Ids) -> NDArray[np.float64]:
    """Pixels of class 1 that are both found and there, found, and there. H W, H W -> 3."""
    known = label >= 0
    seen, there = (found == 1) & known, label == 1
    return np.array([(seen & there).sum(), seen.sum(), there.sum()], np.float64)


def _thresholded(picture: Tensor, bright: bool) -> Ids:
    """Otsu's mask of one picture: class 1 is above the threshold, or below. H W C bytes or C H W floats -> H W."""
    pixels = picture if picture.dtype == torch.uint8 else (picture.movedim(0, 2).clamp(0, 1) * 255).round().byte()
    grey = luma(pixels.cpu().numpy())
    return ((grey > otsu(grey)) == bright).astype(np.int64)
