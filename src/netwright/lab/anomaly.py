"""Pictures that an autoencoder cannot give back: scored, and flagged at a chosen rate of false alarms."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.bundle.autoencoder import AutoencoderBundle, load_autoencoder
from netwright.core.errors import NetwrightError, listed
from netwright.lab._anomaly_numbers import (
    Flags,
    Floats,
    Separation,
    Threshold,
    difference_interval,
    p_values,
    precision_interval,
    separation,
    threshold_for,
)
from netwright.lab._anomaly_pictures import (
    Pictures,
    class_named,
    classes_of,
    held_out,
    normal_pictures,
    of_classes,
    scored_pictures,
    shared,
)
from netwright.lab._anomaly_scores import KINDS, Codes, Scorer
from netwright.lab._anomaly_shown import chosen, histogram_of, shown
from netwright.lab.studies._output import refuse_unwritable
from netwright.records.atomic import write_atomic
from netwright.records.intervals import Interval, wilson

CHEAP = ("error", "relative", "patch", "latent")  # scores that one pass gives besides the one asked for
FILES = ("anomaly.json", "scores.csv", "scores.png", "heat.png", "anomaly.html")  # the first says that all are ours


@dataclass(frozen=True, eq=False)
class Anomalies:
    """What was found.

    Attributes:
        run: the autoencoder's.
        kind: of the score: one of `KINDS`.
        pictures: that were scored.
        scores: by kind, N each.
        p: of each picture: how often a normal one scores as high. N.
        threshold: above which pictures are flagged.
        normal_says: which normal pictures it was set on.
        normal: scores of these. n.
        normal_classes: which classes of `pictures` are normal; empty where none is known to be.
        notes: what a user should know.
    """

    run: str
    kind: str
    pictures: Pictures
    scores: dict[str, Floats]
    p: Floats
    threshold: Threshold
    normal_says: str
    normal: Floats
    normal_classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def flagged(self) -> Flags:
        """Which pictures score above the threshold. N."""
        return self.scores[self.kind] > self.threshold.value

    @property
    def known(self) -> Flags:
        """Of which pictures it is known whether they are normal. N."""
        return (self.pictures.labels != "") & bool(self.normal_classes)

    @property
    def other(self) -> Flags:
        """Which pictures are known to be of another class than the normal ones. N."""
        return self.known & ~np.isin(self.pictures.labels, self.normal_classes)

    @property
    def separable(self) -> bool:
        """Whether there are normal pictures and others, so that AUROC can be measured."""
        return bool(self.other.any()) and bool((self.known & ~self.other).any())

    def to_json(self) -> dict[str, Any]:
        """For `--json`, without single pictures."""
        known, other = self.known, self.other
        expected = self.threshold.false_alarms.value * len(self.pictures)
        return {
            "format": 1,
            "run": self.run,
            "score": {"name": self.kind, "says": KINDS[self.kind]},
            "pictures": {"says": self.pictures.says, "n": len(self.pictures)},
            "normal": {"says": self.normal_says, "n": len(self.normal), "classes": list(self.normal_classes)},
            "threshold": self.threshold.to_json(),
            "flagged": int(self.flagged.sum()),
            "expected_if_normal": expected,
            "false_alarms": _share(self.flagged, known & ~other),
            "detected": _share(self.flagged, other),
            "auroc": self._measured() if self.separable else None,
            "by_class": self._by_class(),
            "notes": list(self.notes),
        }

    def csv(self) -> str:
        """One line a picture, the highest score first."""
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(["name", "label", "score", "p", "flagged"])
        scores, flagged = self.scores[self.kind], self.flagged
        for place in np.argsort(-scores, kind="stable").tolist():
            name, label = self.pictures.split.names[place], str(self.pictures.labels[place])
            numbers = (f"{scores[place]:.7g}", f"{self.p[place]:.6g}", int(flagged[place]))
            lines.writerow([name, label, *numbers])
        return out.getvalue()

    def _separations(self) -> dict[str, Separation]:
        """By kind, of the pictures that are known to be normal or not."""
        known = self.known
        return {kind: separation(scores[known], self.other[known]) for kind, scores in self.scores.items()}

    def _measured(self) -> dict[str, Any]:
        known = self.known
        found, other = self._separations(), self.other[known]
        own = found[self.kind]
        precision = precision_interval(self.scores[self.kind][known], other)
        compared = [
            {
                "score": kind,
                "says": KINDS[kind],
                "auroc": each.interval.to_json(),
                "ahead": None if kind == self.kind else _ahead(each, own).to_json(),
            }
            for kind, each in found.items()
        ]
        return {
            "value": own.interval.to_json(),
            "others": own.others,
            "normal": own.normal,
            "average_precision": precision.to_json() | {"by_chance": own.others / (own.others + own.normal)},
            "by_score": compared,
        }

    def _by_class(self) -> list[dict[str, Any]]:
        """Each class: how many of it are flagged, and of each other one how well it is told from the normal ones."""
        labels, known, other = self.pictures.labels, self.known, self.other
        rows: list[dict[str, Any]] = []
        for name in classes_of(labels):
            own = labels == name
            odd = bool(other[own].any())
            among = own | (known & ~other)
            told = separation(self.scores[self.kind][among], own[among]) if odd and self.separable else None
            normal = None if not self.normal_classes else not odd
            row = {"class": name, "normal": normal, "flagged": _share(self.flagged, own)}
            rows.append(row | {"auroc": None if told is None else told.interval.to_json()})
        return rows


def anomalies(
    run: str,
    paths: Sequence[str],
    *,
    normal: str | None = None,
    normal_classes: Sequence[str] = (),
    false_alarms: float = 0.05,
    kind: str | None = None,
    plain: bool = False,
    device: str = "auto",
) -> tuple[Anomalies, Scorer]:
    """Score pictures by a trained autoencoder, and flag those above a threshold set on normal ones.

    Args:
        run: a run folder or a bundle of an autoencoder.
        paths: pictures, a folder of them, flat or of classes, or other data.
        normal: normal pictures that nothing was trained on; by default those the run validated on.
        normal_classes: which classes are normal; by default those that the run was trained on.
        false_alarms: the share of normal pictures that may be flagged.
        kind: of the score: one of `KINDS`; by default "elbo" where codes are random, else "error".
        plain: whether folders inside `paths` are no classes.
        device: where to compute.

    Returns:
        What was found, and what scored it.

    Raises:
        NetwrightError: no autoencoder, no pictures, too few normal ones for the rate, or a class that is not there.
    """
    if not 0 < false_alarms < 1:
        threshold_for(np.zeros(1), false_alarms)  # raises, before pictures are decoded
    bundle = load_autoencoder(run, device=device)
    scorer = scorer_of(bundle)
    asked = kind or ("elbo" if bundle.random else "error")
    scorer.refuse(asked)
    preprocess = bundle.preprocess_or_error()
    pictures = scored_pictures(paths, preprocess, plain=plain)
    own = _normal_classes(pictures, normal_classes, bundle.classes)
    sane = held_out(run) if normal is None else normal_pictures(normal, preprocess)
    sane = of_classes(sane, own, classes_of(pictures.labels)) if normal_classes else sane
    calibration = scorer.scores(sane.split, [asked])[asked]
    threshold = threshold_for(calibration, false_alarms)
    besides = [each for each in CHEAP if each in scorer.kinds() and each != asked]
    scores = scorer.scores(pictures.split, [asked, *besides])
    notes = _notes(pictures, sane, own, bundle.classes)
    p = p_values(scores[asked], calibration)
    found = Anomalies(run, asked, pictures, scores, p, threshold, sane.says, calibration, own, notes)
    return found, scorer


def scorer_of(bundle: AutoencoderBundle) -> Scorer:
    """What scores pictures by a bundle's autoencoder."""
    kept = bundle.card.get("latent") or {}
    codes = None if kept.get("covariance") is None else Codes.fitted(kept["mean"], kept["covariance"])
    return Scorer(bundle.network, bundle.normalise(), bundle.profile, codes)


def anomaly(
    run: str,
    paths: Sequence[str],
    output: Path,
    *,
    told: Callable[[str], None] = lambda words: None,
    **options: Any,
) -> dict[str, Any]:
    """The same, written into a folder: `scores.csv`, `anomaly.json`, `anomaly.html`, `heat.png` and `scores.png`.

    Args:
        run: as for `anomalies`.
        paths: as for `anomalies`.
        output: the folder.
        told: hears what is being done.
        options: as for `anomalies`.

    Returns:
        What `anomaly.json` holds.

    Raises:
        NetwrightError: as `anomalies`, or a folder that cannot be written into.
    """
    refuse_unwritable(output)
    _refuse_taken(output)
    found, scorer = anomalies(run, paths, **options)
    told(f"{len(found.pictures)} pictures scored")
    from netwright.report.anomaly import heat_sheet, histogram_picture, page

    said = found.to_json()
    parts, top = shown(found, scorer, chosen(found))
    drawn = histogram_of(found)
    output.mkdir(parents=True, exist_ok=True)
    contents = (
        json.dumps(said, indent=2, ensure_ascii=False),
        found.csv(),
        histogram_picture(drawn),
        heat_sheet(parts, top),
        page(said, parts, top, drawn),
    )
    for name, content in zip(FILES, contents, strict=True):
        write_atomic(output / name, content)
    return said


def _refuse_taken(output: Path) -> None:
    """Refuse a folder with files of these names that no `anomaly.json` says are ours.

    Raises:
        NetwrightError: there is one.
    """
    taken = [name for name in FILES if (output / name).exists()]
    if taken and FILES[0] not in taken:
        fix = "name another folder: -o NAME"
        raise NetwrightError(f"{output / taken[0]} is there already, and netwright did not write it", fix)


def _normal_classes(pictures: Pictures, given: Sequence[str], trained: Sequence[str]) -> tuple[str, ...]:
    """Which classes of some pictures are normal.

    Raises:
        NetwrightError: a class that no picture has.
    """
    there = classes_of(pictures.labels)
    if given and not there:
        problem = f"--normal-class {given[0]}: the pictures of {pictures.says} have no classes"
        raise NetwrightError(problem, "put them into a folder for each class, or leave it out")
    named = tuple(class_named(name, there) for name in given)
    return named or tuple(name for name in there if name in trained)


def _notes(pictures: Pictures, sane: Pictures, own: Sequence[str], trained: Sequence[str]) -> tuple[str, ...]:
    """What a user should know of the pictures."""
    notes = [*pictures.notes, *sane.notes]
    there = classes_of(pictures.labels)
    if there and not own:
        classes = f"the pictures have classes ({listed(there, 6)}), and the run knows none of them"
        notes.append(f"{classes}: say which are normal, as in --normal-class {there[0]}, and AUROC is measured")
    seen = sorted(set(there) & set(trained) - set(own))
    if seen:
        notes.append(f"the run was trained on {listed(seen, 6)} too, which you do not call normal")
    for others, words in ((sane.trained, "was trained on"), (sane.split.ids, "has its threshold from")):
        if both := shared(pictures, others):
            notes.append(f"{both} of the {len(pictures)} pictures are among those that the run {words}: too good there")
    return tuple(notes)


def _share(flagged: Flags, among: NDArray[np.bool_]) -> dict[str, Any] | None:
    """How many of some pictures are flagged, with Wilson's interval; None where there are none."""
    return wilson(int(flagged[among].sum()), int(among.sum())).to_json() if among.any() else None


def _ahead(one: Separation, other: Separation) -> Interval:
    """By how much one score's AUROC is higher than another's, on the same pictures."""
    return difference_interval([[one]], [[other]])
