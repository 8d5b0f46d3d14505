"""Keeps what the report shows of what a network sees: kernels, maps, where it looked, and what it looks for."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from netwright.core.errors import Interrupted, NetwrightError
from netwright.explain._colour import overlaid
from netwright.explain._faithful import STEPS, faithful
from netwright.explain._method import Sheet, Subject
from netwright.explain.activations import Activations
from netwright.explain.dream import Dream
from netwright.explain.filters import Filters
from netwright.explain.gradcam import Gradcam
from netwright.explain.occlusion import Occlusion, squares
from netwright.nn.output import main_output
from netwright.recipes._assemble import Parts
from netwright.recipes._samples import MISTAKES, Judged, grid, keep_picture, looks, png
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder

RIGHT = 12  # classes of which a right picture is shown
BUDGET = 40_000_000_000  # multiply-adds: half a second to four seconds on two cores
LEAST = 4  # heat maps, however large the network
KERNEL, MAP = 48, 80  # pixels of a kernel and of a feature map
ORDERS = 19  # moved copies of a map, the fewest that can be sure at the level of 5 %
COVERING = 100_000_000_000  # multiply-adds of occlusion, whose large batches go fast: one to two seconds on two cores
COVERED = ((4, 4), (3, 4), (2, 4), (4, 3), (2, 3))  # pictures, and how many squares are as wide as one, the best first
DREAMS, CLIMB, DREAM = 3, 24, 96  # classes painted, steps, pixels at most
RATE = 0.1  # of so few steps
BACK = 3  # a pass with its gradient costs as much as three


class Pooled(nn.Module):
    """A network that scores each pixel, with the mean of these scores as those of the whole image, as classifiers have.

    Args:
        network: maps N C H W to N K H W.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N K."""
        return main_output(self.network(x)).flatten(2).mean(2)


class Kept:
    """What was kept, and what was left out and why, as `samples/seeing.json` holds it."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.left_out: list[dict[str, str]] = []

    def attempt(self, what: str, make: Callable[[], dict[str, Any]]) -> None:
        """Keep one part. A network that does not show it has still been trained: nothing here ends a run."""
        try:
            self.found |= make()
        except Interrupted:
            raise
        except NetwrightError as error:
            self.left_out.append({"what": what, "why": error.problem})
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            self.left_out.append({"what": what, "why": f"{type(error).__name__}: {reason}"})


def keep_seeing(
    parts: Parts, folder: RunFolder, model: nn.Module, judged: Judged | None, temperature: float = 1.0
) -> None:
    """Write `samples/seeing.json` and its pictures. `judged` is None where outputs are no scores of single classes."""
    kept = Kept()
    (folder.samples / "seeing").mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        subject = Subject(model, parts.inputs.normalise, parts.inputs.shape, temperature)
        kept.attempt("first-layer kernels", lambda: _kernels(folder, subject))
        kept.attempt("activation maps", lambda: _stages(parts, folder, subject, judged))
        if judged is None:
            why = "they ask for the class of a whole image"
            kept.left_out += [{"what": what, "why": why} for what in ("Grad-CAM", "occlusion", "feature visualisation")]
        else:
            kept.attempt("Grad-CAM", lambda: _heats(parts, folder, subject, judged))
            if kept.found.get("right"):
                kept.attempt("a test of a map", lambda: _tested(parts, subject, judged))
            kept.attempt("occlusion", lambda: _occluded(parts, folder, subject, judged))
            kept.attempt("feature visualisation", lambda: _dreams(parts, folder, subject, judged))
    document = {**kept.found, "left_out": kept.left_out}
    write_atomic(folder.samples / "seeing.json", json.dumps(document, ensure_ascii=False))


def _kernels(folder: RunFolder, subject: Subject) -> dict[str, Any]:
    (sheet,) = Filters(most=32).sheets(subject)
    return {"kernels": _kept_sheet(folder, "seeing/kernels.png", sheet, KERNEL, columns=16)}


def _stages(parts: Parts, folder: RunFolder, subject: Subject, judged: Judged | None) -> dict[str, Any]:
    """The maps of the surest right picture, or of the first."""
    best = judged.best() if judged else np.array([], int)
    split = judged.split if judged else next(name for name in ("test", "val", "train") if name in parts.inputs.splits)
    sure = best[judged.probabilities[best].max(1).argmax()] if judged and len(best) else 0
    (look,) = looks(parts, split, [int(sure)])
    if parts.inputs.masks is not None:
        subject = replace(subject, network=Pooled(subject.network))
    sheets = Activations().sheets(subject, look.image)
    example = {"file": keep_picture(folder, "seeing/example", look.picture[0])}
    example |= {"name": parts.inputs.names(split)[int(sure)]}
    stages = [_kept_sheet(folder, f"seeing/stage-{n}.png", sheet, MAP) for n, sheet in enumerate(sheets)]
    return {"example": example, "stages": stages}


def _heats(parts: Parts, folder: RunFolder, subject: Subject, judged: Judged) -> dict[str, Any]:
    """Where the network looked for the class that it guessed: in its worst mistakes, and in right pictures."""
    right = _shown(parts, judged)
    worst = judged.worst()[: min(MISTAKES, _affordable(parts) - len(right))]
    heats = [row["heat"] for row in _drawn(parts, folder, subject, judged, worst, "mistake")]
    return {
        "method": "Grad-CAM",
        "heats": heats,
        "right": _drawn(parts, folder, subject, judged, right, "right"),
        "right_classes": len(judged.best()),
    }


def _affordable(parts: Parts) -> int:
    """How many heat maps."""
    return max(LEAST, min(MISTAKES + RIGHT, BUDGET // max(1, parts.macs)))


def _shown(parts: Parts, judged: Judged) -> np.ndarray:
    """The right pictures that are shown."""
    return judged.best()[: max(LEAST // 2, min(RIGHT, _affordable(parts) // 3))]


def _tested(parts: Parts, subject: Subject, judged: Judged) -> dict[str, Any]:
    """Whether the map of the surest right picture is better than at a random place."""
    passes = 2 * (STEPS - 1) * (1 + ORDERS) + 2
    _afford("it", passes * parts.macs, BUDGET)
    right = _shown(parts, judged)
    sure = int(right[judged.probabilities[right].max(1).argmax()])
    (look,) = looks(parts, judged.split, [sure])
    target = torch.tensor([judged.probabilities[sure].argmax()], device=look.image.device)
    heat = Gradcam().heat(subject, look.image, target)
    found = faithful(subject, look.image, target, heat, orders=ORDERS)
    return {"faithful": {**judged.entry(parts.inputs.classes, sure), **found.to_json()}}


def _occluded(parts: Parts, folder: RunFolder, subject: Subject, judged: Judged) -> dict[str, Any]:
    """What covering costs the guess: in the worst mistakes, or in right pictures where all are right."""
    worst = judged.worst()
    chosen = worst if len(worst) else judged.best()
    side = min(parts.inputs.shape[1:])
    plans = [(min(n, len(chosen)), max(1, side // share)) for n, share in COVERED]
    costs = [n * (1 + squares(parts.inputs.shape[1:], *_grid(size))) * parts.macs for n, size in plans]
    fitting = [plan for plan, cost in zip(plans, costs, strict=True) if cost <= COVERING]
    if not fitting:
        _afford(f"it, even coarsely, of {plans[-1][0]} pictures,", costs[-1], COVERING)
    many, size = fitting[0]
    method = Occlusion(*_grid(size))
    rows: list[dict[str, Any]] = []
    for look in looks(parts, judged.split, chosen[:many].tolist()):
        some = chosen[len(rows) : len(rows) + len(look.image)]
        guess = torch.from_numpy(judged.probabilities[some].argmax(1)).to(look.image.device)
        heats = method.heat(subject, look.image, guess).cpu().numpy()
        for index, picture, heat in zip(some.tolist(), look.picture, heats, strict=True):
            name = f"seeing/covered-{len(rows):02d}"
            row = {"file": keep_picture(folder, name, picture), "fall": float(heat.max())}
            row |= {
                "heat": keep_picture(folder, f"{name}-heat", overlaid(picture, heat)),
                "found": bool(heat.max() > 0),
            }
            rows.append({**row, **judged.entry(parts.inputs.classes, index)})
    return {"occlusion": {"rows": rows, "wrong": bool(len(worst)), "size": size, "side": side}}


def _grid(size: int) -> tuple[int, int]:
    """A square's side and its stride."""
    return size, max(1, size // 2)


def _dreams(parts: Parts, folder: RunFolder, subject: Subject, judged: Judged) -> dict[str, Any]:
    """What the classes with the most mistakes look like to the network."""
    side = min(parts.inputs.shape[1:])
    small = min(side, max(DREAM, int(getattr(subject.network, "smallest", 1))))
    cost = BACK * CLIMB * parts.macs * small**2 // side**2
    _afford(f"one picture of {small} pixels", cost, BUDGET)
    wrong = np.bincount(judged.labels[judged.worst()], minlength=len(parts.inputs.classes))
    chosen = np.argsort(-wrong, kind="stable")[: min(DREAMS, BUDGET // max(1, cost))]
    rows: list[dict[str, Any]] = []
    for k in chosen.tolist():
        (sheet,) = Dream(size=small, steps=CLIMB, lr=RATE).sheets(subject, target=k)
        file = keep_picture(folder, f"seeing/dream-{len(rows)}", sheet.tiles[0])
        rows.append({"file": file, "class": parts.inputs.classes[k], "note": sheet.note, **sheet.facts})
    return {"dreams": {"rows": rows, "classes": len(parts.inputs.classes), "wrong": bool(wrong.any())}}


def _afford(what: str, cost: int, budget: int) -> None:
    """Refuse what takes longer than a report should.

    Raises:
        NetwrightError: it does.
    """
    if cost > budget:
        words = (
            f"{what} would take {cost / 1e9:.0f} billion multiply-adds, and a report spends {budget / 1e9:.0f} on it"
        )
        raise NetwrightError(f"{words}; netwright explain does it", "ask for it by name")


def _drawn(
    parts: Parts, folder: RunFolder, subject: Subject, judged: Judged, positions: np.ndarray, stem: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for look in looks(parts, judged.split, positions.tolist()):
        some = positions[len(rows) : len(rows) + len(look.image)]
        guess = torch.from_numpy(judged.probabilities[some].argmax(1)).to(look.image.device)
        heats = Gradcam().heat(subject, look.image, guess).cpu().numpy()
        for index, picture, heat in zip(some.tolist(), look.picture, heats, strict=True):
            name = f"seeing/{stem}-{len(rows):02d}"
            row = {"heat": keep_picture(folder, f"{name}-heat", overlaid(picture, heat)), "found": bool(heat.max() > 0)}
            row |= {"file": keep_picture(folder, name, picture)} if stem == "right" else {}
            rows.append({**row, **judged.entry(parts.inputs.classes, index)})
    return rows


def _kept_sheet(folder: RunFolder, file: str, sheet: Sheet, side: int, columns: int = 8) -> dict[str, Any]:
    tiles = [_tile(tile, side) for tile in sheet.tiles]
    lined = grid(np.stack(tiles), columns)[:-2, :-2]  # lines between tiles, none at the edge
    write_atomic(folder.samples / file, png(lined))
    return {"file": file, "title": sheet.title, "note": sheet.note, "captions": sheet.captions}


def _tile(tile: np.ndarray, side: int) -> np.ndarray:
    """A kernel or map as wide as the others, whatever its resolution. H W 3 -> h w 3."""
    how = Image.Resampling.BOX if tile.shape[1] > side else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(tile).resize((side, round(side * tile.shape[0] / tile.shape[1])), how))
