"""What the report shows of a network that turns pictures into codes and back: pictures, numbers, and their limits."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.generated import listing
from netwright.engine.corruption import corrupted
from netwright.models._autoencoder import Autoencoding
from netwright.recipes._assemble import Parts
from netwright.recipes._codes import (
    COLUMNS,
    DIMENSIONS,
    MOST_CLASSES,
    NEW,
    STEPS,
    keep_map,
    keep_samples,
    keep_traversals,
    of_codes,
    of_training,
)
from netwright.recipes._samples import as_bytes, keep_picture
from netwright.recipes._seeing import Kept
from netwright.recipes._sight import Looked, Sight, decibels, looked_at, spread
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.intervals import of_values
from netwright.tasks._elbo import bounds
from netwright.tasks._ssim import ssim
from netwright.tricks.denoise import Denoise

PICTURES, VALUES = 1024, 2**24  # that are looked at, at most, and their values
TRAINING = 4096  # pictures whose codes the bundle's card describes
WORST, TYPICAL, PAIRS = 8, 8, 6  # pictures that are shown
KINDS = ("held-out", "inverted", "shuffled", "generated")
OTHERS = 256  # pictures of each kind that the network was not trained on
BOUNDED, DRAWS = 256, 64  # pictures whose likelihood is bounded, and codes drawn for each
ALIKE, ALIKE_VALUES = 128, 2**21  # pictures whose SSIM is measured, and their values
SHOWN = 128  # pixels of a picture
BUDGET, ON_GPU = 40_000_000_000, 20  # multiply-adds of one part: seconds on one core; times as many on a GPU
HALF = 0.5  # of a pass: pictures are encoded only, or codes decoded
FEWEST, FEWEST_DRAWS, FEWEST_CODES = 8, 8, 32  # pictures, draws for each, and codes, however large the network


def keep_reconstructions(parts: Parts, folder: RunFolder, model: nn.Module, split: str) -> dict[str, Any] | None:
    """Write `samples/reconstruction.json` and its pictures.

    Returns:
        What a bundle's card says of the codes of training pictures; None where the network is no autoencoder of ours.
    """
    if not isinstance(model, Autoencoding):
        return None
    run = parts.run
    model.eval()
    sight = Sight(model, parts.inputs.normalise, run.profile, run.task)
    (folder.samples / "reconstruction").mkdir(parents=True, exist_ok=True)
    kept = Kept()
    with torch.random.fork_rng(devices=[]):
        latent = of_training(sight, parts, _afford(parts, TRAINING, FEWEST_CODES, HALF))
        _tell(kept, "codes of training pictures", latent["n"], min(TRAINING, len(parts.inputs.splits["train"])))
        values = int(np.prod(parts.inputs.shape))
        most = max(FEWEST, min(PICTURES, VALUES // values, len(parts.inputs.names(split))))
        looked = looked_at(sight, parts, split, _afford(parts, most))
        _tell(kept, "pictures of the split", len(looked.positions), min(most, len(parts.inputs.names(split))))
        kept.attempt("reconstructions", lambda: _pictures(folder, sight, parts, looked))
        kept.attempt("SSIM", lambda: _alike(looked))
        kept.attempt("other data", lambda: _pair(folder, sight, parts, looked))
        kept.attempt("bounds of the likelihood", lambda: _bounds(kept, sight, parts, looked))
        kept.attempt("statistics of codes", lambda: of_codes(looked))
        kept.attempt("a map of codes", lambda: keep_map(folder, looked, _classes(parts, looked)))
        new = _afford(parts, NEW // COLUMNS, 1, HALF * COLUMNS) * COLUMNS
        kept.attempt("new pictures", lambda: keep_samples(folder, sight, latent, parts.inputs.classes, new))
        walks = _afford(parts, DIMENSIONS, 2, HALF * STEPS)
        _tell(kept, "dimensions that are traversed", min(walks, model.latent), min(DIMENSIONS, model.latent))
        kept.attempt("traversals", lambda: keep_traversals(folder, sight, looked, latent, walks))
    document = {**_facts(model, looked), **kept.found, "left_out": kept.left_out}
    write_atomic(folder.samples / "reconstruction.json", json.dumps(document, ensure_ascii=False))
    return latent


def _facts(model: Autoencoding, looked: Looked) -> dict[str, Any]:
    observation = model.observation
    options = ", ".join(f"{name}={value:g}" for name, value in vars(observation).items())
    return {
        "split": looked.split,
        "looked": len(looked.positions),
        "latent": model.latent,
        "values": looked.picture[0].numel(),
        "size": list(looked.picture.shape[1:]),
        "random": model.random,
        "conditional": model.conditional,
        "beta": model.beta,
        "observation": f"{type(observation).__name__.lower()}{f'({options})' if options else ''}",
        "grey": bool(((looked.picture > 0) & (looked.picture < 1)).any()),
    }


def _afford(parts: Parts, most: int, fewest: int = FEWEST, passes: float = 1) -> int:
    """So many pictures as the network can look at in seconds, `passes` times each, and `fewest` at least."""
    budget = BUDGET * (ON_GPU if parts.run.profile.device.type == "cuda" else 1)
    return int(np.clip(budget / (passes * max(1, parts.macs)), min(fewest, most), most))


def _tell(kept: Kept, what: str, n: int, wanted: int) -> None:
    if n < wanted:
        why = f"{n} in the place of {wanted}, since a pass through this network takes long"
        kept.left_out.append({"what": what, "why": why})


def _pictures(folder: RunFolder, sight: Sight, parts: Parts, looked: Looked) -> dict[str, Any]:
    """The worst, and typical ones from the middle; with corrupted ones where the network was to clean them."""
    order = np.argsort(looked.psnr, kind="stable")
    worst = order[: min(WORST, len(order) // 2)]
    rest = order[len(worst) :]
    middle = rest[len(rest) // 4 : len(rest) - len(rest) // 4]
    typical = middle[spread(len(middle), TYPICAL)]
    places = np.concatenate([worst, typical])
    views = {"picture": looked.picture[places], "again": looked.again[places]}
    denoise = next((trick for trick in parts.run.tricks if isinstance(trick, Denoise) and trick.amount), None)
    found: dict[str, Any] = {}
    if denoise is not None:
        dirty = corrupted(looked.picture, denoise.kind, denoise.amount)
        clean = sight.again(dirty, looked.label)
        views |= {"corrupted": dirty[places], "restored": clean[places]}
        before, after = decibels(dirty, looked.picture), decibels(clean, looked.picture)
        found["denoised"] = {"kind": denoise.kind, "amount": denoise.amount, **_measured(before=before, after=after)}
    files = {view: _kept(folder, view, picture) for view, picture in views.items()}
    rows = [
        {"name": looked.names[place], "psnr": float(looked.psnr[place]), "worst": row < len(worst)}
        | {"files": {view: names[row] for view, names in files.items()}}
        for row, place in enumerate(places)
    ]
    return {"shown": rows, "quality": _measured(psnr=looked.psnr), **found}


def _alike(looked: Looked) -> dict[str, Any]:
    n = max(FEWEST, min(ALIKE, ALIKE_VALUES // looked.picture[0].numel()))
    places = spread(len(looked.picture), n)
    pair = (each[places].permute(0, 2, 3, 1).numpy() for each in (looked.picture, looked.again))
    return {"ssim": of_values(ssim(*pair)).to_json()}


def _pair(folder: RunFolder, sight: Sight, parts: Parts, looked: Looked) -> dict[str, Any]:
    """How well pictures like those of training come back, and others of the same size."""
    places = spread(len(looked.picture), _afford(parts, OTHERS, FEWEST, len(KINDS)))
    own, label = looked.picture[places], looked.label[places]
    made = _made(own.shape)
    pictures = (own, 1 - own, _shuffled(own), made)
    rows: list[dict[str, Any]] = []
    for kind, picture in zip(KINDS, pictures, strict=True):
        again = sight.again(picture, label)
        flat = picture.mean((1, 2, 3), keepdim=True).expand_as(picture)
        numbers = _measured(psnr=decibels(again, picture), flat=decibels(flat, picture))
        shown = spread(len(picture), PAIRS)
        files = {
            "picture": _kept(folder, f"other-{kind}", picture[shown]),
            "again": _kept(folder, f"other-{kind}-again", again[shown]),
        }
        rows.append({"kind": kind, "n": len(picture), **numbers, "files": files})
    return {"pair": rows}


def _made(shape: Sequence[int]) -> Tensor:
    """Pictures of the set that netwright makes itself, of a shape N C H W."""
    n, channels, height, width = shape
    side = max(16, height, width)
    blobs = listing(f"generated(size={side}, n={max(4, n)})").blobs
    grey = torch.from_numpy(np.stack([np.asarray(blobs.read(place)) for place in range(n)]))
    cut = grey.view(n, side, side)[:, (side - height) // 2 :, (side - width) // 2 :][:, :height, :width]
    return (cut.float() / 255)[:, None].repeat(1, channels, 1, 1)


def _shuffled(picture: Tensor) -> Tensor:
    """The same pixels at other places, in all pictures alike: nothing of how they lie together is left."""
    order = torch.randperm(picture[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    return picture.flatten(2)[:, :, order].view_as(picture)


def _bounds(kept: Kept, sight: Sight, parts: Parts, looked: Looked) -> dict[str, Any]:
    if not sight.network.random:
        return {}
    draws, wanted = DRAWS, min(BOUNDED, len(looked.picture))
    while draws > FEWEST_DRAWS and _afford(parts, BOUNDED, 1, HALF * draws) < min(2 * FEWEST, wanted):
        draws //= 2
    places = spread(len(looked.picture), _afford(parts, BOUNDED, FEWEST, HALF * draws))
    _tell(kept, "draws for the bounds of the likelihood", draws, DRAWS)
    _tell(kept, "pictures whose likelihood is bounded", len(places), wanted)
    picture, label = looked.picture[places].to(sight.profile.device), looked.label[places].to(sight.profile.device)
    given = label if sight.network.conditional else None
    found = bounds(sight.network, sight.image(picture), picture, draws=draws, label=given)
    numbers = {name: getattr(found, name) for name in ("elbo", "weighted", "rate", "distortion", "effective")}
    gap = found.weighted - found.elbo
    return {"bounds": {"n": len(places), "draws": draws, **_measured(**numbers, gap=gap)}}


def _classes(parts: Parts, looked: Looked) -> list[str]:
    """Names of classes by number, where pictures have one each and there are some that a map can tell apart."""
    if looked.label.dim() != 1 or len(looked.label.unique()) < 2 or len(parts.inputs.classes) > MOST_CLASSES:
        return []
    return list(parts.inputs.classes)


def _kept(folder: RunFolder, stem: str, picture: Tensor) -> list[str]:
    """Pictures in the folder of samples; their names there."""
    drawn = as_bytes(picture)
    return [keep_picture(folder, f"reconstruction/{stem}-{row:02d}", each, SHOWN) for row, each in enumerate(drawn)]


def _measured(**values: np.ndarray) -> dict[str, Any]:
    """Means with their intervals."""
    return {name: of_values(each).to_json() for name, each in values.items()}
