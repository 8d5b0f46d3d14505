"""The linear probe: what a linear classifier makes of fixed vectors (Alain & Bengio 2016, arXiv:1610.01644)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.records.vectors import Vectors

GRID = tuple(10.0**power for power in range(-5, 1))  # inverse strengths of the L2 penalty, as scikit-learn's C
FOLDS, SEED = 5, 0
ITERATIONS, TOLERANCE = 300, 1e-3  # answers settle long before the weights do
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Way:
    """How a probe is made.

    Attributes:
        grid: inverse strengths of the penalty that are tried, rising.
        common: whether all numbers are divided by one deviation, the root of their mean variance, rather than each by
            its own: this keeps which of them vary most, and turning vectors changes no answer.
    """

    grid: tuple[float, ...] = GRID
    common: bool = False


EACH = Way()


@dataclass(frozen=True, eq=False)
class Probe:
    """A probe's answers.

    Attributes:
        right: whether each query was classified rightly. Q.
        c: the inverse penalty that was chosen; of several folds the median.
        chosen_on: how it was chosen.
        edge: whether it lies at the end of what was tried.
    """

    right: NDArray[np.bool_]
    c: float
    chosen_on: str
    edge: bool


def probe(vectors: Vectors, queries: NDArray[np.intp], labels: Labels, crossed: bool, way: Way = EACH) -> Probe | str:
    """Multinomial logistic regression with an L2 penalty, on vectors standardised by those it learns from.

    It learns from the training split; the penalty is chosen on the labelled pictures of the validation split, or,
    without any, by cross-validation. Without a test split, each picture is classified by a probe that has not seen it:
    in each of 5 folds the penalty is chosen by cross-validation inside the rest.

    Args:
        vectors: of all pictures.
        queries: places of those that are classified. Q.
        labels: class number of each picture; any, where it has no label. N.
        crossed: whether there is no test split, so that queries are everything.
        way: the penalties that are tried, and how vectors are scaled.

    Returns:
        The answers, or the reason why there are none.
    """
    train, val = vectors.having("train"), vectors.having("val")
    val = val[np.array([bool(vectors.labels[int(place)]) for place in val], bool)]
    if crossed:
        return _crossed(vectors.matrix[queries], labels[queries], way)
    if len(np.unique(labels[train])) < 2:
        return "the training pictures have one class: there is nothing to probe"
    seen, held = vectors.matrix[train], vectors.matrix[val]
    if len(val):
        scores = [_share(guess, labels[val]) for guess in path(seen, labels[train], held, way.grid, common=way.common)]
        how = f"chosen on {len(val)} validation pictures"
    else:
        found = _by_folds(seen, labels[train], way)
        if found is None:
            return (
                "a class has a single training picture: there is no validation split to choose the probe's penalty on"
            )
        scores, how = found, "chosen by cross-validation"
    best = int(np.argmax(scores))  # of equally good ones the strongest penalty
    answers = path(seen, labels[train], vectors.matrix[queries], way.grid[: best + 1], common=way.common)[-1]
    return Probe(answers == labels[queries], way.grid[best], how, best in (0, len(way.grid) - 1))


def path(
    seen: NDArray[np.floating],
    labels: Labels,
    asked: NDArray[np.floating],
    grid: Sequence[float] = GRID,
    *,
    common: bool = False,
) -> list[Labels]:
    """What probes of falling penalty answer, each begun where the one before ended. M D and Q D -> Q for each C.

    The penalty does not change under rotation. So vectors of more numbers than there are pictures are turned into the
    space that the pictures span, which gives the same answers sooner.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    known, wanted = standardised(seen, asked, common=common)
    if known.shape[1] > known.shape[0]:
        _, _, directions = np.linalg.svd(known, full_matrices=False)
        known, wanted = known @ directions.T, wanted @ directions.T
    model = LogisticRegression(max_iter=ITERATIONS, tol=TOLERANCE, warm_start=True)
    answers: list[Labels] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties on separable classes have no finite end
        for c in grid:
            model.set_params(C=c).fit(known, labels)
            answers.append(np.asarray(model.predict(wanted)))
    return answers


def standardised(
    seen: NDArray[np.floating], asked: NDArray[np.floating], *, common: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both with mean 0 and deviation 1 over what was seen, in each number or, `common`, in the mean of variances.

    A number that never varies becomes 0.
    """
    wide = seen.astype(np.float64)
    mean, spread = wide.mean(0), wide.std(0)
    varies = spread > 1e-7 * np.abs(wide).max(0, initial=0.0)  # float32's own rounding is no variation
    if common:
        spread = np.full_like(spread, np.sqrt(np.square(spread).mean()))
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    return (wide - mean) * scale, (asked - mean) * scale


def _crossed(matrix: NDArray[np.floating], labels: Labels, way: Way) -> Probe | str:
    if len(np.unique(labels)) < 2:
        return f"the {len(labels)} pictures have one class: there is nothing to probe"
    folds = _folds(labels)
    if folds is None:
        return "a class has a single picture: there is nothing to cross-validate the probe with"
    right = np.zeros(len(labels), bool)
    chosen: list[int] = []
    for seen, held in folds:
        scores = _by_folds(matrix[seen], labels[seen], way)
        if scores is None:
            return "a class has too few pictures to cross-validate the probe with: 4 are enough"
        chosen.append(int(np.argmax(scores)))
        tried = way.grid[: chosen[-1] + 1]
        answers = path(matrix[seen], labels[seen], matrix[held], tried, common=way.common)[-1]
        right[held] = answers == labels[held]
    middle = int(np.median(chosen))
    how = f"{len(folds)}-fold cross-validation, chosen inside each fold"
    return Probe(right, way.grid[middle], how, middle in (0, len(way.grid) - 1))


def _by_folds(matrix: NDArray[np.floating], labels: Labels, way: Way) -> list[float] | None:
    """The share that is right for each C, over folds; None where a class is too small to be divided."""
    folds = _folds(labels, most=3)
    if folds is None:
        return None
    each = [
        [
            _share(guess, labels[held])
            for guess in path(matrix[seen], labels[seen], matrix[held], way.grid, common=way.common)
        ]
        for seen, held in folds
    ]
    return np.mean(each, 0).tolist()


def _folds(labels: Labels, most: int = FOLDS) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]] | None:
    from sklearn.model_selection import StratifiedKFold

    _, counts = np.unique(labels, return_counts=True)
    if len(counts) < 2 or counts.min() < 2:
        return None
    folds = StratifiedKFold(min(most, int(counts.min())), shuffle=True, random_state=SEED)
    return list(folds.split(np.zeros(len(labels)), labels))


def _share(guess: Labels, truth: Labels) -> float:
    return float((guess == truth).mean())
