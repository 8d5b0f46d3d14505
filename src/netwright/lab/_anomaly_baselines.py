"""What finds odd pictures without a network: distances from pictures seen, their mean, their components."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.data.preprocess import Preprocess
from netwright.data.split import Split
from netwright.lab._anomaly_scores import contrast

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
BASELINES = {
    "pca": "squared error of PCA with as many components as the code has numbers, cut to [0, 1]",
    "nearest": "squared distance to the nearest training picture",
    "pca/contrast": "that of PCA as a share of the picture's own contrast",
    "nearest/contrast": "the distance to the nearest as a share of the picture's own contrast",
    "mean": "squared distance to the mean training picture",
}
AT_ONCE = 1024


def flat(split: Split, preprocess: Preprocess) -> Values:
    """Pictures as evaluation crops them, as rows of values in [0, 1]. N D."""
    rows = [
        preprocess.centre(np.asarray(split.images[np.arange(start, min(start + AT_ONCE, len(split)))])).reshape(
            min(AT_ONCE, len(split) - start), -1
        )
        for start in range(0, len(split), AT_ONCE)
    ]
    return np.concatenate(rows).astype(np.float32) / np.float32(255)


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of pictures.

    Attributes:
        mean: D.
        basis: orthonormal, D K.
    """

    mean: Floats
    basis: Floats

    @classmethod
    def of(cls, rows: Values, count: int) -> "Components":
        """The first `count` of N D pictures, or as many as there are."""
        mean = rows.mean(0, dtype=np.float64)
        centred = rows - mean.astype(np.float32)
        count = min(count, *rows.shape)
        # The smaller of both Gram matrices has the same eigenvalues.
        if rows.shape[1] <= rows.shape[0]:
            return cls(mean, np.linalg.eigh((centred.T @ centred).astype(np.float64))[1][:, ::-1][:, :count])
        values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        length = np.sqrt(np.maximum(values[::-1][:count], np.finfo(np.float64).tiny))
        return cls(mean, centred.T.astype(np.float64) @ vectors[:, ::-1][:, :count] / length)

    def error(self, rows: Values) -> Floats:
        """The squared error of what they give back of pictures, cut to [0, 1] as a network's is. N D -> N."""
        found = np.empty(len(rows))
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            back = self.mean + ((part - self.mean) @ self.basis) @ self.basis.T
            found[start : start + len(part)] = ((part - back.clip(0, 1)) ** 2).sum(1)
        return found


def baselines(train: Values, test: Values, count: int) -> dict[str, Floats]:
    """Scores of test pictures by each baseline, N by name; `count` components."""
    found = Components.of(train, count)
    pca, near = found.error(test), nearest(train, test)
    own = contrast(torch.from_numpy(test)[:, None, None]).double().numpy()
    mean = ((test - found.mean) ** 2).sum(1)
    return {"pca": pca, "nearest": near, "mean": mean, "pca/contrast": pca / own, "nearest/contrast": near / own}


def nearest(train: Values, test: Values) -> Floats:
    """The squared distance of each test picture to the nearest training picture. N D, M D -> M."""
    own = (train.astype(np.float64) ** 2).sum(1)
    found = np.empty(len(test))
    for start in range(0, len(test), AT_ONCE):
        part = test[start : start + AT_ONCE]
        closest = (own - 2 * (part @ train.T).astype(np.float64)).min(1)
        found[start : start + len(part)] = closest + (part.astype(np.float64) ** 2).sum(1)
    return np.maximum(found, 0.0)
