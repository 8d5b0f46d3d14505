"""How far pictures that an autoencoder makes up lie from real ones, beside what real ones lie from one another.

Heusel et al., GANs Trained by a Two Time-Scale Update Rule, arXiv:1706.08500.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.bundle.embedder import BATCH, Embedder
from netwright.bundle.gathered import Gathered
from netwright.bundle.picture_files import as_bytes
from netwright.core.errors import NetwrightError
from netwright.tasks._frechet import frechet

MOST = 5000  # pictures of each set
WIDE = 128  # features above which resampling is too slow to be done often
OFTEN, SELDOM = 100, 20
FEW = 10  # pictures for each feature below which a covariance is mostly noise
Features = Callable[[Tensor], NDArray[np.float64]]


def realism(
    bundle: AutoencoderBundle,
    data: Gathered,
    *,
    embedder: Embedder | None = None,
    seed: int = 0,
    label: str | None = None,
    fitted: bool = False,
) -> dict[str, Any]:
    """Fréchet distances from one half of some real pictures: to samples, to reconstructions, and to the other half.

    All three compare equally many pictures, so that their bias is alike. The last is what no sample can be expected to
    go below; the second is what a perfect prior would reach with this decoder.

    Args:
        bundle: the autoencoder.
        data: real pictures, best ones that it was not trained on.
        embedder: the network whose features count; by default the autoencoder's own mean codes.
        seed: of what is drawn.
        label: of a conditional network, the class that is compared; by default each real picture's own.
        fitted: draw codes from the Gaussian fitted to those of training.

    Raises:
        NetwrightError: too few pictures for so many features, or no prior to draw from.
    """
    chosen = np.flatnonzero(data.of(label)) if label is not None else np.arange(len(data))
    chosen = np.random.default_rng(seed).permutation(chosen)
    n = min(MOST, len(chosen) // 2)
    if n < 2:
        raise NetwrightError(f"{len(chosen)} real pictures cannot be halved and compared", "give more of them")
    one, other = chosen[:n], chosen[n : 2 * n]
    names = _classes(bundle, data, one, label)
    real = bundle.pictures(data.stored(one))
    sets = {
        "samples": bundle.decode(bundle.sample(n, seed, names, fitted=fitted), names),
        "reconstructions": bundle.reconstruct(real, names),
        "real": bundle.pictures(data.stored(other)),
    }
    measured = _features(bundle, embedder)
    against = measured(real, names)
    others = {"samples": names, "reconstructions": names, "real": _classes(bundle, data, other, label)}
    resamples = OFTEN if against.shape[1] <= WIDE else SELDOM
    found = {
        kind: frechet(measured(pictures, others[kind]), against, resamples=resamples, seed=seed)
        for kind, pictures in sets.items()
    }
    told = "this autoencoder's own codes" if embedder is None else str(embedder.meta["model"])
    rows = {
        kind: {"value": each.value, "corrected": each.corrected, "low": each.low, "high": each.high}
        for kind, each in found.items()
    }
    return {"features": told, "dimensions": against.shape[1], "n": n, "distances": rows}


def caveats(found: dict[str, Any], *, own: bool) -> list[str]:
    """What keeps these numbers from being compared with others.

    Args:
        found: what `realism` gave.
        own: whether the features are the autoencoder's own codes.
    """
    notes = [f"only {found['n']} pictures for {found['dimensions']} features: too few for a distance to trust"]
    notes = notes if found["n"] < FEW * found["dimensions"] else []
    if own:
        notes.append("its own codes flatter it; --features RUN or MODEL takes those of a network that it never met")
    return notes


def _classes(bundle: AutoencoderBundle, data: Gathered, chosen: NDArray[np.int64], label: str | None) -> Any:
    if not bundle.conditional:
        return None
    return data.names(chosen, bundle.classes) if label is None else label


def _features(bundle: AutoencoderBundle, embedder: Embedder | None) -> Callable[[Tensor, Any], NDArray[np.float64]]:
    """What makes features of pictures N C H W in [0, 1], with their classes."""
    if embedder is None:
        return lambda pictures, names: bundle.encode(pictures, names)[0].double().numpy()

    def features(pictures: Tensor, names: Any) -> NDArray[np.float64]:
        # Real pictures go through the autoencoder's size too: else the distance would be that of two resizings.
        rows = [np.zeros((0, 1))]
        for part in pictures.split(BATCH):
            stored = np.stack([embedder.preprocess.from_array(each) for each in as_bytes(part)])
            rows.append(embedder.vectors(torch.from_numpy(stored)).astype(np.float64))
        return np.concatenate(rows[1:])

    return features
