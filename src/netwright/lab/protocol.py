"""Who is asked among whom, and which of two files' pictures are the same."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.records.vectors import Vectors

Queries = Literal["auto", "test", "all"]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Protocol:
    """Who is asked and who may answer.

    Attributes:
        queries: places of the pictures whose neighbours are looked for. Q.
        gallery: places of those among which. N.
        says: the same in words.
        left_out: whether a query that is in the gallery is left out of its own neighbours.
    """

    queries: NDArray[np.intp]
    gallery: NDArray[np.intp]
    says: str
    left_out: bool


def queries_named(name: str) -> Queries:
    """Who is asked, by name.

    Raises:
        NetwrightError: nothing has this name.
    """
    kinds: tuple[Queries, ...] = get_args(Queries)
    for kind in kinds:
        if kind == name:
            return kind
    raise unknown("kind of queries", name, kinds)


def protocol_for(vectors: Vectors, queries: Queries = "auto") -> Protocol:
    """Test pictures among training pictures where there are both, else each picture among all others.

    Raises:
        NetwrightError: test is asked for, and there is none.
    """
    train, test = vectors.having("train"), vectors.having("test")
    if queries == "test" and not (len(train) and len(test)):
        fix = "give --queries all: each picture is looked for among all others"
        raise NetwrightError("the vectors have no train and test split", fix)
    if queries == "all" or not (len(train) and len(test)):
        each = np.arange(len(vectors))
        return Protocol(each, each, f"each of {len(each)} pictures among all others", left_out=True)
    return Protocol(test, train, f"{len(test)} test pictures among {len(train)} training pictures", left_out=False)


def paired(one: Vectors, other: Vectors) -> tuple[Vectors, Vectors, list[str]]:
    """The pictures that both have, in the same order; labels and splits are those of the first.

    Raises:
        NetwrightError: they have no picture in common.
    """
    places = {name: place for place, name in enumerate(other.names)}
    common = [place for place, name in enumerate(one.names) if name in places]
    if not common:
        problem = f"the two files have no picture in common ({listed(one.names[:2])}; {listed(other.names[:2])})"
        raise NetwrightError(problem, "embed the same pictures with both networks")
    ours = one.chosen(common)
    theirs = other.chosen([places[name] for name in ours.names])
    differ = [name for name, a, b in zip(ours.names, ours.ids, theirs.ids, strict=True) if a and b and a != b]
    if differ:
        problem = f"{len(differ)} pictures of the same name have other contents ({listed(differ, 2)})"
        raise NetwrightError(problem, "embed the same pictures with both networks")
    same = len(common) == len(one) == len(other)
    notes = [] if same else [f"compared on the {len(common)} pictures that both files have"]
    return (
        ours,
        replace(theirs, labels=ours.labels, splits=ours.splits, meta={**theirs.meta, "separator": _mark(ours)}),
        notes,
    )


def likeness(vectors: Vectors) -> Flags | None:
    """Which classes each picture has, N K; None where no picture has a label."""
    sets = [label_set(vectors, place) for place in range(len(vectors))]
    classes = {name: number for number, name in enumerate(sorted(set().union(*sets)))}
    if not classes:
        return None
    found = np.zeros((len(vectors), len(classes)), bool)
    for row, names in zip(found, sets, strict=True):
        row[[classes[name] for name in names]] = True
    return found


def label_set(vectors: Vectors, place: int) -> set[str]:
    """The labels of one picture."""
    label, mark = vectors.labels[place], _mark(vectors)
    return set(label.split(mark) if mark else [label]) - {""}


def _mark(vectors: Vectors) -> str:
    meta: Mapping[str, Any] = vectors.meta
    return str(meta.get("separator") or "")
