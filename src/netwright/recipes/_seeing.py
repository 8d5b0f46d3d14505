"""Keeps what the report shows of what a network sees: first kernels, maps of each stage, and where it looked."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from netwright.core.errors import Interrupted, NetwrightError
from netwright.explain._colour import overlaid
from netwright.explain._method import Sheet, Subject
from netwright.explain.activations import Activations
from netwright.explain.filters import Filters
from netwright.explain.gradcam import Gradcam
from netwright.recipes._assemble import Parts
from netwright.recipes._samples import MISTAKES, Judged, grid, keep_picture, looks, png
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder

RIGHT = 12  # classes of which a right picture is shown
BUDGET = 40_000_000_000  # multiply-adds: half a second to four seconds on two cores
LEAST = 4  # heat maps, however large the network
KERNEL, MAP = 48, 80  # pixels of a kernel and of a feature map


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


def keep_seeing(parts: Parts, folder: RunFolder, model: nn.Module, judged: Judged | None) -> None:
    """Write `samples/seeing.json` and its pictures. `judged` is None where outputs are no scores of single classes."""
    kept = Kept()
    (folder.samples / "seeing").mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        subject = Subject(model, parts.inputs.normalise, parts.inputs.shape)
        kept.attempt("first-layer kernels", lambda: _kernels(folder, subject))
        kept.attempt("activation maps", lambda: _stages(parts, folder, subject, judged))
        if judged is None:
            why = "it is drawn for runs in which each picture has one class"
            kept.left_out.append({"what": "Grad-CAM", "why": why})
        else:
            kept.attempt("Grad-CAM", lambda: _heats(parts, folder, subject, judged))
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
    sheets = Activations().sheets(subject, look.image)
    example = {"file": keep_picture(folder, "seeing/example", look.picture[0])}
    example |= {"name": parts.inputs.names(split)[int(sure)]}
    stages = [_kept_sheet(folder, f"seeing/stage-{n}.png", sheet, MAP) for n, sheet in enumerate(sheets)]
    return {"example": example, "stages": stages}


def _heats(parts: Parts, folder: RunFolder, subject: Subject, judged: Judged) -> dict[str, Any]:
    """Where the network looked for the class that it guessed: in its worst mistakes, and in right pictures."""
    most = max(LEAST, min(MISTAKES + RIGHT, BUDGET // max(1, parts.macs)))
    worst, best = judged.worst()[:MISTAKES], judged.best()
    right = best[: max(LEAST // 2, min(RIGHT, most // 3))]
    worst = worst[: most - len(right)]
    heats = [row["heat"] for row in _drawn(parts, folder, subject, judged, worst, "mistake")]
    return {
        "method": "Grad-CAM",
        "heats": heats,
        "right": _drawn(parts, folder, subject, judged, right, "right"),
        "right_classes": len(best),
    }


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
