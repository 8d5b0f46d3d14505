"""What the neighbours of pictures say of their vectors: precision at k, k-NN, a linear probe, and odd ones out.

A number alone says little. Beside each stand what guessing reaches on the same pictures and, where other vectors of the
same pictures are given, as those of random weights, the paired difference.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.lab.few import bounded_mean, share_mean
from netwright.lab.nearest import Metric, nearest
from netwright.lab.probe import Probe, probe
from netwright.lab.protocol import Flags, Protocol, Queries, label_set, likeness, paired, protocol_for
from netwright.records.intervals import Interval, of_values
from netwright.records.vectors import Vectors

KNN = (1, 5, 20)
OWN = "where this run was trained on some of these pictures, it knows them, and the numbers are too good"
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measure:
    """One number about vectors.

    Attributes:
        name: what is measured.
        values: one for each query. Q.
        interval: of their mean.
        floor: what guessing reaches.
        floor_says: which guessing.
        against: the same of the other vectors, and the paired difference, where there are others.
        difference: ours minus theirs, paired picture by picture.
    """

    name: str
    values: Values
    interval: Interval
    floor: float
    floor_says: str
    against: Interval | None = None
    difference: Interval | None = None

    @property
    def resolved(self) -> bool:
        """Whether the difference is one that these queries can tell from none; without an interval it is not."""
        found = self.difference
        return found is not None and (found.low > 0 or found.high < 0)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        said: dict[str, Any] = {
            "name": self.name,
            **self.interval.to_json(),
            "floor": {"value": self.floor, "says": self.floor_says},
        }
        if self.against is not None and self.difference is not None:
            said |= {"against": self.against.to_json(), "difference": self.difference.to_json()}
            said |= {"resolved": self.resolved}
        return said


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The nearest of each query.

    Attributes:
        queries: places of the queries. Q.
        places: places of their neighbours, nearest first. Q k.
        scores: similarities or distances. Q k.
        precision: the share of neighbours with the query's label; NaN where it has none. Q.
    """

    queries: NDArray[np.intp]
    places: NDArray[np.intp]
    scores: Values
    precision: Values


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found.

    Attributes:
        vectors: as they were evaluated.
        protocol: who was asked.
        k: of the precision and the lists.
        metric: by which they are near.
        measures: the numbers; none where there are no labels.
        near: the neighbours of each query.
        odd: what `odd_ones` found among all pictures.
        probed: the linear probe, if there was one.
        notes: plain sentences that a user should see.
    """

    vectors: Vectors
    protocol: Protocol
    k: int
    metric: Metric
    measures: tuple[Measure, ...]
    near: Neighbourhood
    odd: tuple[tuple[int, str, int], ...]
    everyone: Neighbourhood
    probed: Probe | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`: every number, and the neighbours of each query."""
        names, labels, near = self.vectors.names, self.vectors.labels, self.near
        listing = [
            {
                "name": names[query],
                "label": labels[query],
                "neighbours": [
                    {"name": names[place], "label": labels[place], "score": score}
                    for place, score in zip(places.tolist(), scores.tolist(), strict=True)
                ],
            }
            for query, places, scores in zip(near.queries.tolist(), near.places, near.scores, strict=True)
        ]
        odd = [
            {"name": names[place], "label": labels[place], "neighbours_say": label, "of_them": times}
            for place, label, times in self.odd
        ]
        probed = self.probed and {"c": self.probed.c, "chosen": self.probed.chosen_on, "edge": self.probed.edge}
        return {
            "protocol": self.protocol.says,
            "k": self.k,
            "metric": self.metric,
            "measures": [measure.to_json() for measure in self.measures],
            "probe": probed,
            "odd": odd,
            "notes": list(self.notes),
            "neighbours": listing,
        }


def evaluate(
    vectors: Vectors,
    *,
    k: int = 5,
    metric: Metric = "cosine",
    queries: Queries = "auto",
    against: Vectors | None = None,
    with_probe: bool = True,
) -> Evaluation:
    """Neighbours, and how well they and a linear probe tell the classes.

    Args:
        vectors: of pictures, with labels or without.
        k: how many neighbours.
        metric: "cosine" or "l2".
        queries: "test" asks for test pictures among the training pictures, "all" for each picture among all others;
            "auto" the first where there are both.
        against: other vectors of the same pictures.
        with_probe: whether to fit the probe.

    Raises:
        NetwrightError: fewer than two pictures, no test split, or other vectors of other pictures.
    """
    notes: list[str] = []
    if against is not None:
        vectors, against, told = paired(vectors, against)
        notes += told
    if len(vectors) < 2:
        raise NetwrightError(f"there is {len(vectors)} picture", "give vectors of at least two: one has no neighbours")
    protocol = protocol_for(vectors, queries)
    if k > len(protocol.gallery) - protocol.left_out:
        notes.append(f"k is {k}, and there are no more than {len(protocol.gallery) - protocol.left_out} neighbours")
    alike = likeness(vectors)
    near = neighbours(vectors, protocol, k, metric, alike)
    whole = protocol_for(vectors, "all")
    everyone = near if protocol.left_out else neighbours(vectors, whole, k, metric, alike)
    measures: tuple[Measure, ...] = ()
    probed = None
    if alike is None:
        notes.append("the pictures have no labels: neighbours are listed, and nothing is measured")
    else:
        if protocol.left_out and vectors.meta and vectors.meta.get("weights") is None:
            notes.append(OWN)
        measures, probed, told = _measured(vectors, protocol, k, metric, near, alike, with_probe=with_probe)
        notes += told
        if against is not None:
            other = neighbours(against, protocol, k, metric, alike)
            theirs, _, _ = _measured(against, protocol, k, metric, other, alike, with_probe=with_probe)
            measures = tuple(_compared(one, two) for one, two in zip(measures, theirs, strict=True))
    odd = () if alike is None else odd_ones(vectors, everyone)
    return Evaluation(vectors, protocol, k, metric, measures, near, odd, everyone, probed, tuple(notes))


def neighbours(vectors: Vectors, protocol: Protocol, k: int, metric: Metric, alike: Flags | None) -> Neighbourhood:
    """The k nearest of each query, and the share of them that has a label of its own."""
    queries, gallery = protocol.queries, protocol.gallery
    names = [vectors.names[int(place)] for place in gallery]
    without = queries if protocol.left_out else None
    found, scores = nearest(
        vectors.matrix[queries], vectors.matrix[gallery], k, metric=metric, names=names, without=without
    )
    places = gallery[found]
    if alike is None:
        precision = np.full(len(queries), np.nan)
    else:
        shared = (alike[places] & alike[queries][:, None]).any(2)  # Q k
        precision = np.where(alike[queries].any(1), shared.mean(1), np.nan)
    return Neighbourhood(queries, places, scores, precision)


def odd_ones(vectors: Vectors, near: Neighbourhood) -> tuple[tuple[int, str, int], ...]:
    """Pictures none of whose neighbours has their label: place, the neighbours' commonest label, how many have it.

    Those whose label no other picture has, and those whose neighbours have no labels, are left out: nothing could
    have spoken for them. Those on which most neighbours agree come first.
    """
    having = Counter(name for place in range(len(vectors)) for name in label_set(vectors, place))
    found: list[tuple[int, str, int, float]] = []
    for query, places, scores, share in zip(near.queries, near.places, near.scores, near.precision, strict=True):
        told = [vectors.labels[int(place)] for place in places if vectors.labels[int(place)]]
        if share == 0 and told and any(having[name] > 1 for name in label_set(vectors, int(query))):
            label, times = _commonest(told)
            found.append((int(query), label, times, -float(scores[0])))
    found.sort(key=lambda each: (-each[2], each[3], vectors.names[each[0]]))
    return tuple(each[:3] for each in found)


def vote(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """The commonest label of each row; of equally common ones that of the nearest. Q k -> Q."""
    counts = (labels[:, :, None] == labels[:, None, :]).sum(2)  # Q k: how often each label occurs in its row
    return np.take_along_axis(labels, counts.argmax(1)[:, None], 1)[:, 0]


def _measured(
    vectors: Vectors,
    protocol: Protocol,
    k: int,
    metric: Metric,
    near: Neighbourhood,
    alike: Flags,
    *,
    with_probe: bool,
) -> tuple[tuple[Measure, ...], Probe | None, list[str]]:
    known = alike[protocol.queries].any(1)
    if not known.any():
        return (), None, ["no query has a label: nothing is measured"]
    queries, gallery = alike[protocol.queries][known], alike[protocol.gallery]
    share = near.precision[known]
    chance = _chance(queries, gallery, left_out=protocol.left_out)
    measures = [Measure(f"precision@{near.places.shape[1]}", share, share_mean(share), chance, "any order")]
    notes = [] if known.all() else [f"{int((~known).sum())} queries without a label are not counted"]
    if vectors.several:
        return (
            tuple(measures),
            None,
            [*notes, "several labels a picture: k-NN and the probe, which choose one, are left out"],
        )
    if not gallery.any(1).all():
        return tuple(measures), None, [*notes, "some pictures have no label: k-NN and the probe are left out"]
    truth = queries.argmax(1)
    counts = gallery.sum(0)
    usual = float(queries[:, counts == counts.max()].mean())  # of equally common ones the mean
    most = max(KNN)
    wide = near if near.places.shape[1] >= most else neighbours(vectors, protocol, most, metric, alike)
    labels = alike.argmax(1)[wide.places][known]
    for count in [count for count in KNN if count <= labels.shape[1]]:
        right = (vote(labels[:, :count]) == truth).astype(float)
        measures.append(Measure(f"{count}-NN accuracy", right, of_values(right), usual, "commonest class"))
    if not with_probe:
        return tuple(measures), None, notes
    probed = probe(vectors, protocol.queries[known], alike.argmax(1), protocol.left_out)
    if isinstance(probed, str):
        return tuple(measures), None, [*notes, probed]
    right = probed.right.astype(float)
    measures.append(Measure("linear probe", right, of_values(right), usual, "commonest class"))
    return tuple(measures), probed, notes


def _chance(queries: Flags, gallery: Flags, *, left_out: bool) -> float:
    """What the precision would be on average if neighbours were drawn from the gallery at random."""
    patterns, of_query = np.unique(queries, axis=0, return_inverse=True)
    having = np.array([(gallery & pattern).any(1).sum() for pattern in patterns], float)
    return float(((having - left_out) / (len(gallery) - left_out))[of_query.ravel()].mean())


def _compared(ours: Measure, theirs: Measure) -> Measure:
    difference = bounded_mean(ours.values - theirs.values, -1.0)
    return replace(ours, against=theirs.interval, difference=difference)


def _commonest(labels: Sequence[str]) -> tuple[str, int]:
    """The commonest of some labels, and how often it occurs; of equally common ones the first."""
    return Counter(labels).most_common(1)[0]
