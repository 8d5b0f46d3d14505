"""The Fréchet distance of two sets of pictures, by features of them (Heusel et al., GANs Trained by a Two Time-Scale
Update Rule, 2017, arXiv:1706.08500). Which network gave the features is part of every number."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

Floats = NDArray[np.float64]
RESAMPLES = 100


@dataclass(frozen=True)
class Frechet:
    """A squared distance of two normal distributions that were fitted to features, with its 95 % interval.

    Attributes:
        value: as everybody computes it; of finite samples always too large, the more so the fewer they are.
        corrected: less the bias that the bootstrap finds; 0 at least. Compare this where numbers of pictures differ.
        low: end of the interval of the corrected value.
        high: the other.
        n: pictures of the one set.
        m: of the other.
        dimensions: of the features.
    """

    value: float
    corrected: float
    low: float
    high: float
    n: int
    m: int
    dimensions: int


def frechet(one: Floats, other: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Frechet:
    """The Fréchet distance of two sets of features, n D and m D.

    The interval is the basic bootstrap's: resampled distances are as much above the measured one as that is above
    the truth, to first order, so that the bias is turned round and not doubled.

    Raises:
        NetwrightError: features of different length, values that are not finite, or no more pictures than features.
    """
    one, other = _refused(one, other)
    value = between_features(one, other)
    generator = np.random.default_rng(seed)
    drawn = np.array([between_features(_drawn(one, generator), _drawn(other, generator)) for _ in range(resamples)])
    if not resamples:
        return Frechet(value, value, np.nan, np.nan, len(one), len(other), one.shape[1])
    low, high = np.maximum(0, 2 * value - np.quantile(drawn, (0.975, 0.025)))
    corrected = float(np.clip(2 * value - drawn.mean(), low, high))
    return Frechet(value, corrected, float(low), float(high), len(one), len(other), one.shape[1])


def between_features(one: Floats, other: Floats) -> float:
    """|m − m'|² + tr(C + C' − 2 (C C')^½) of two sets of features, n D and m D.

    With C = R'R from centred features, the trace of the root is the nuclear norm of R S', S from the other set's: the
    product of covariances, whose small eigenvalues rounding makes negative, is never formed.
    """
    means = one.mean(0), other.mean(0)
    root, other_root = _triangle(one - means[0]), _triangle(other - means[1])
    overlap = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    total = float((root**2).sum() + (other_root**2).sum())
    return max(0.0, float(((means[0] - means[1]) ** 2).sum()) + total - 2 * float(overlap))


def between_normals(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """The same of two normal distributions: means D, covariances D D.

    Eigenvalues that rounding made negative count as zero.

    Raises:
        NetwrightError: a covariance that is none: eigenvalues too far below zero for rounding.
    """
    roots = [_root(each) for each in (covariance, other_covariance)]
    overlap = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    total = float(np.trace(covariance) + np.trace(other_covariance))
    return max(0.0, float(((mean - other_mean) ** 2).sum()) + total - 2 * float(overlap))


def _triangle(centred: Floats) -> Floats:
    """R with R'R their covariance. n D -> D D."""
    found: Any = np.linalg.qr(centred / np.sqrt(len(centred) - 1), mode="r")
    return np.asarray(found, np.float64)


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    if values.min() < -1e-6 * max(values.max(), np.finfo(float).tiny):
        problem = f"a covariance has the eigenvalue {values.min():.3g}, and covariances have none below zero"
        raise NetwrightError(problem, "give the covariance of features, D x D and symmetric")
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def _drawn(features: Floats, generator: np.random.Generator) -> Floats:
    return features[generator.integers(len(features), size=len(features))]


def _refused(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Both in float64, if a distance of them means anything."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        problem = f"features of shapes {one.shape} and {other.shape} have no Fréchet distance"
        raise NetwrightError(problem, "give two sets of features of one network: N D and M D")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise NetwrightError("some features are not finite", "look for pictures that the network cannot take")
    fewest, dimensions = min(len(one), len(other)), one.shape[1]
    if fewest <= dimensions:
        problem = f"a covariance of {dimensions} features cannot be told from {fewest} pictures"
        fix = f"give more than {dimensions} pictures on both sides, better ten times as many, or features of fewer"
        raise NetwrightError(problem, f"{fix} dimensions")
    return one, other
