"""What the report shows of a network that gives each pixel a class: measures of its masks, and its masks."""

import json
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from netwright.data.masks import Masks
from netwright.engine.evaluate import predict
from netwright.engine.plans import Source
from netwright.recipes._assemble import Parts
from netwright.recipes._masks import inspect
from netwright.recipes._samples import as_mask, keep_picture, marked
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.report.overlay import errors, legend

WORST, OTHERS = 8, 4  # pictures: the worst, and of the middle and the best together
SHOWN = 320  # pixels


class Chosen:
    """Some pictures of a split, one at a time: a split that the engine can look at."""

    def __init__(self, source: Source, places: list[int]) -> None:
        self.source = source
        self.places = places
        self.labels = None

    def __len__(self) -> int:
        return len(self.places)

    def chunks(self, batch_size: int) -> list[np.ndarray]:
        """One picture a batch."""
        return [np.array([place]) for place in self.places]

    def batches(self, positions: Any, *, stream: int = 0) -> Any:
        """As the split's."""
        return self.source.batches(positions, stream=stream)


def said_of(masks: Masks, crop: int) -> dict[str, Any]:
    """What a bundle says of masks."""
    return {
        "background": masks.background,
        "several": masks.several,
        "colours": masks.colours.tolist(),
        "crop": crop,
        "legend": masks.legend(),
    }


def keep_masks(parts: Parts, folder: RunFolder, model: nn.Module, split: str) -> None:
    """Write `samples/segmentation.json`, and pictures beside what was found in them and what is there."""
    run, inputs = parts.run, parts.inputs
    source = inputs.source(split, run.profile, parts.recipe.workers)
    names, train = inputs.names(split), inputs.source("train", run.profile, parts.recipe.workers)
    found = inspect(
        model,
        source,
        run.task,
        inputs.normalise,
        run.profile,
        inputs.classes,
        split=split,
        names=names,
        numbered=partial(_things, parts, split),
        train=train,
    )
    scores = [row["iou"] for row in found["by_picture"]]
    order = np.argsort(scores, kind="stable").tolist()
    middle = order[WORST:]
    spread = [middle[place] for place in np.linspace(0, len(middle) - 1, min(OTHERS, len(middle))).astype(int)]
    shown = [*order[:WORST], *dict.fromkeys(spread)]
    (folder.samples / "masks").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    chosen = Chosen(source, shown)
    for place, (raw, output) in zip(shown, predict(model, chosen, inputs.normalise, run.profile), strict=True):
        files = _drawn(parts, folder, raw.image[0], raw.label[0], output[0], len(rows))
        rows.append({**found["by_picture"][place], "files": files, "worst": len(rows) < WORST})
    document = {
        **found,
        "numbered": inputs.masks is not None and inputs.masks.things is not None,
        **_colours(inputs.masks),
        "shown": rows,
    }
    write_atomic(folder.samples / "segmentation.json", json.dumps(document, ensure_ascii=False))


def _colours(masks: Masks | None) -> dict[str, Any]:
    """Of classes, and of what `errors` shows."""
    if masks is None:
        return {"colours": [], "legend": {}}
    kinds = legend(len(masks.classes), background=masks.background, several=masks.several)
    return {"colours": masks.colours.tolist(), "legend": kinds}


def _things(parts: Parts, split: str, place: int) -> np.ndarray | None:
    """The numbered things of a picture of a split, where the data numbers them."""
    scenes, masks = parts.inputs.splits[split], parts.inputs.masks
    return None if masks is None else masks.instances(int(scenes.places[place]))


def _drawn(
    parts: Parts, folder: RunFolder, image: Tensor, label: Tensor, output: Tensor, number: int
) -> dict[str, str]:
    """The picture, its truth, what was found, and where they differ: names of files in the folder of samples."""
    masks = parts.inputs.masks
    if masks is None:
        return {}
    picture = image.cpu().numpy()
    several = label.dim() == 3
    found = (output > 0).long() if several else output.argmax(0)
    drawn = {"picture": picture, "truth": marked(picture, label, masks), "found": marked(picture, found, masks)}
    drawn["errors"] = errors(picture, as_mask(label), as_mask(found), background=masks.background)
    return {what: keep_picture(folder, f"masks/{number:02d}-{what}", each, SHOWN) for what, each in drawn.items()}
