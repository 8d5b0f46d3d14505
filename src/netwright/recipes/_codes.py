"""What the report shows of codes: statistics, a map with thumbnails, new pictures, and what single numbers do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.nn.output import normal_divergence
from netwright.recipes._assemble import Parts
from netwright.recipes._samples import as_bytes, grid, keep_picture, png, sized
from netwright.recipes._sight import Looked, Sight, spread
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.tasks._latent import MOST_DIMENSIONS, most_used, saying

MOST_CLASSES = 16  # that eight colours tell apart, filled and hollow
POINTS, THUMBNAILS = 800, 160  # pictures on the map, and those that are drawn there
APART = 0.056  # of the map's longer side, between thumbnails
THUMBNAIL, TILE = 48, 56  # pixels
NEW, COLUMNS = 48, 12  # pictures that never were
DIMENSIONS, STEPS, REACH = 8, 11, 3.0  # of traversals: dimensions, pictures each, and deviations to either side

Floats = NDArray[np.float64]


def of_training(sight: Sight, parts: Parts, most: int) -> dict[str, Any]:
    """Mean and covariance of the mean codes of training pictures, and the divergence of each dimension in nats."""
    places = spread(len(parts.inputs.splits["train"]), most)
    codes: list[Tensor] = []
    variances: list[Tensor] = []
    for part in np.array_split(places, max(1, len(places) // 256)):
        mean, variance = sight.encoded(*sight.seen(parts, "train", part))
        codes.append(mean)
        variances += [] if variance is None else [variance]
    mean = torch.cat(codes)
    found = {"n": len(mean), "mean": _listed(mean.double().mean(0)), "deviation": _listed(_deviation(mean))}
    if len(mean) > 1 and mean.shape[1] <= MOST_DIMENSIONS:
        found["covariance"] = [_listed(row) for row in torch.atleast_2d(mean.double().T.cov())]
    if variances:
        divergence = normal_divergence(mean, torch.cat(variances))
        found["divergence"] = _listed(divergence.double().mean(0))
    return found


def of_codes(looked: Looked) -> dict[str, Any]:
    """Statistics of each dimension, of those that are used most where there are many, and of all codes together."""
    mean = looked.mean.double()
    between = mean.var(0, correction=0)
    rows = {"mean": mean.mean(0), "deviation": between.sqrt()}
    counts: dict[str, Any] = {"dimensions": mean.shape[1]}
    if looked.log_variance is None:
        return {"codes": {**_rows(rows, "deviation"), **counts}}
    inner = looked.log_variance.double().exp().mean(0)
    divergence = normal_divergence(looked.mean, looked.log_variance).double().mean(0)
    rows |= {"spread": (between + inner).sqrt(), "divergence": divergence}
    active = saying(divergence.numpy(), between.numpy(), inner.numpy())
    counts |= {"active": int(active.sum()), "rate": round(float(divergence.sum()), 6)}
    if mean.shape[1] <= MOST_DIMENSIONS:
        covariance = torch.atleast_2d(mean.T.cov(correction=0)) + inner.diag()
        counts["aggregated"] = round(float(from_standard(mean.mean(0), covariance)), 4)
    return {"codes": {**_rows(rows, "divergence"), **counts}}


def from_standard(mean: Tensor, covariance: Tensor) -> Tensor:
    """KL(N(m, C) ‖ N(0, I)) = ½ (tr C + |m|² − D − log det C), in nats. Shape: D, D D -> ()."""
    return 0.5 * (covariance.trace() + mean.square().sum() - len(mean) - torch.linalg.slogdet(covariance)[1])


def keep_map(folder: RunFolder, looked: Looked, classes: Sequence[str]) -> dict[str, Any]:
    """Where codes lie in two dimensions, and pictures of some that are not too near to one another."""
    chosen = spread(len(looked.mean), POINTS)
    places, explained = flattened(looked.mean[chosen].double().numpy())
    rows = apart(places / max(float(np.ptp(places, axis=0).max()), 1e-12), APART, THUMBNAILS)
    thumbnails = as_bytes(looked.picture[chosen[rows]])
    files = [
        keep_picture(folder, f"reconstruction/map-{number:03d}", each, THUMBNAIL)
        for number, each in enumerate(thumbnails)
    ]
    return {
        "map": {
            "n": len(chosen),
            "points": places.round(4).tolist(),
            "explained": None if explained is None else [round(share, 4) for share in explained],
            "labels": looked.label[chosen].tolist() if classes else [],
            "classes": list(classes),
            "thumbnails": [{"place": int(row), "file": file} for row, file in zip(rows, files, strict=True)],
        }
    }


def flattened(codes: Floats) -> tuple[Floats, list[float] | None]:
    """Codes in two dimensions, N 2: themselves, or their first two principal components with the shares of variance."""
    n, dimensions = codes.shape
    if dimensions == 2:
        return codes, None
    if dimensions == 1:
        return np.concatenate([codes, np.zeros((n, 1))], 1), None
    centred = codes - codes.mean(0)
    vectors, values, axes = np.linalg.svd(centred, full_matrices=False)
    two = vectors[:, :2] * values[:2] * np.sign(axes[:2, :].sum(1) + 1e-300)
    total = float((values**2).sum()) or 1.0
    padded = np.zeros((n, 2))
    padded[:, : two.shape[1]] = two
    return padded, [float(value**2) / total for value in values[:2]]


def apart(places: Floats, least: float, most: int) -> list[int]:
    """Places, from the first on, that are at least so far from all chosen before. N 2 -> at most `most`."""
    chosen: list[int] = []
    for row, place in enumerate(places):
        if not chosen or np.abs(places[chosen] - place).max(1).min() >= least:
            chosen.append(row)
        if len(chosen) == most:
            break
    return chosen


def keep_samples(
    folder: RunFolder, sight: Sight, latent: dict[str, Any], classes: Sequence[str], n: int = NEW
) -> dict[str, Any]:
    """New pictures: from the prior, or where there is none from a Gaussian fitted to the codes of training pictures."""
    network = sight.network
    if not network.random and "covariance" not in latent:
        return {}
    codes = torch.randn(n, network.latent, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if not network.random:
        codes = torch.tensor(latent["mean"], dtype=torch.float64) + codes @ _root(latent["covariance"]).T
    label = torch.arange(n) % COLUMNS % max(1, network.classes)
    made = as_bytes(sight.decoded(codes.float(), label))
    file = _sheet(folder, "samples", made)
    shown = [str(classes[k]) for k in label[:COLUMNS].tolist()] if network.conditional else []
    return {"samples": {"file": file, "prior": network.random, "n": n, "classes": shown}}


def keep_traversals(
    folder: RunFolder, sight: Sight, looked: Looked, latent: dict[str, Any], most: int = DIMENSIONS
) -> dict[str, Any]:
    """What the most used dimensions do: each from −3 to 3 of the deviations that it has over training pictures, from
    their middle, the others as of one picture."""
    random = looked.log_variance is not None
    used = np.array(latent["divergence"] if random else latent["deviation"])
    order = np.argsort(-used, kind="stable")[:most]
    # The picture whose reconstruction is in the middle.
    middle = int(np.argsort(looked.psnr, kind="stable")[len(looked.psnr) // 2])
    steps = np.linspace(-REACH, REACH, STEPS)
    rows: list[dict[str, Any]] = []
    for number, dimension in enumerate(order.tolist()):
        centre, scale = latent["mean"][dimension], latent["deviation"][dimension]
        codes = looked.mean[middle].repeat(STEPS, 1)
        codes[:, dimension] = torch.from_numpy(centre + scale * steps).float()
        made = as_bytes(sight.decoded(codes, looked.label[middle].repeat(STEPS)))
        file = _sheet(folder, f"traversal-{number}", made, STEPS)
        rows.append({"dimension": dimension, "used": float(used[dimension]), "file": file})
    start = keep_picture(folder, "reconstruction/start", as_bytes(looked.picture[middle : middle + 1])[0], TILE)
    return {"traversals": {"rows": rows, "reach": REACH, "start": start, "name": looked.names[middle]}}


def _rows(rows: dict[str, Tensor], used: str) -> dict[str, list[float]]:
    places = torch.from_numpy(most_used(rows[used].numpy()))
    return {name: _listed(row[places]) for name, row in rows.items()}


def _deviation(mean: Tensor) -> Tensor:
    return mean.double().std(0, correction=min(1, len(mean) - 1))


def _root(covariance: Sequence[Sequence[float]]) -> Tensor:
    values, vectors = torch.linalg.eigh(torch.tensor(covariance, dtype=torch.float64))
    return vectors * values.clamp(min=0).sqrt()


def _sheet(folder: RunFolder, stem: str, pictures: np.ndarray, columns: int = COLUMNS) -> str:
    file = f"reconstruction/{stem}.png"
    write_atomic(folder.samples / file, png(grid(sized(pictures, TILE), columns)))
    return file


def _listed(values: Tensor) -> list[float]:
    """Six significant digits."""
    return [float(f"{value:.6g}") for value in values.tolist()]
