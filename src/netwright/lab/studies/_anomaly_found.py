"""What the study of anomalies shows: AUROC of each class left out, beside scores that need no network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.core.errors import NetwrightError, listed
from netwright.lab._anomaly_baselines import BASELINES
from netwright.lab._anomaly_numbers import (
    Floats,
    Separation,
    difference_interval,
    mean_interval,
    separation,
    threshold_for,
)
from netwright.lab._anomaly_scores import KINDS
from netwright.lab.studies._study import Setting
from netwright.lab.two_way import above, below
from netwright.records.intervals import Interval

LOOKS = (("first", False), ("first", True), ("second", False), ("second", True), ("muted", False))
HALF = 0.5
FALSE_ALARMS = 0.05
CONTRAST = "/contrast"


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A network that never saw a class.

    Attributes:
        kind: the score that is spoken of first.
        scores: of every measured picture, N by score or baseline.
        latent: numbers of a code.
        params: of the network.
        seconds: of training and scoring, without the baselines.
    """

    kind: str
    scores: dict[str, Floats]
    latent: int
    params: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Told:
    """AUROC by training and class, and what each picture adds to its error.

    Attributes:
        each: by training and class. S C.
    """

    each: Sequence[Sequence[Separation]]

    @property
    def values(self) -> Floats:
        """S C."""
        return np.array([[one.auroc for one in row] for row in self.each])

    @property
    def influence(self) -> Floats:
        """S C N."""
        return np.array([[one.influence for one in row] for row in self.each])

    def of_class(self, place: int) -> Interval:
        """AUROC of one class."""
        single = [row[place].interval for row in self.each]
        if len(single) == 1:
            return single[0]
        ends = (np.mean([one.value - one.low for one in single]), np.mean([one.high - one.value for one in single]))
        return _at_least(mean_interval(self.values[:, [place]], self.influence[:, [place]]), *map(float, ends))

    def mean(self) -> Interval:
        """Over the classes that were left out, which are not a sample of any others."""
        single = [self.of_class(place) for place in range(len(self.each[0]))]
        reach = np.array([(one.value - one.low, one.high - one.value) for one in single])
        ends = np.linalg.norm(reach, axis=0)  # of classes whose pictures differ, errors add in squares
        return _at_least(mean_interval(self.values, self.influence), *(float(end) / len(single) for end in ends))

    def ahead(self, other: "Told", place: int | None = None) -> Interval:
        """By how much it is better, of one class or on average, on the same pictures."""
        some = slice(None) if place is None else slice(place, place + 1)
        return difference_interval([row[some] for row in self.each], [row[some] for row in other.each])


def found(setting: Setting, runs: Sequence[Sequence[LeftOut]], left: Sequence[str], limit: int) -> dict[str, Any]:
    """What the report shows: `runs` by seed and class."""
    first = runs[0][0]
    told = {name: _told(setting, runs, left, name) for name in first.scores}
    means = {name: each.mean() for name, each in told.items()}
    own, flagged = told[first.kind], _flagged(setting, runs, left)
    others = [name for name in told if name != first.kind]
    ahead = {name: own.ahead(told[name]) for name in others}
    seconds = float(np.mean([one.seconds for row in runs for one in row]))
    return {
        "title": f"Telling a class that was left out, on {setting.data.name}",
        "seeds": len(runs),
        "said": [*_said(first, own, left, means, flagged), *_compared(first.kind, told, means)],
        "legend": _legend(setting, len(runs), limit, first, seconds),
        "panels": [_panel({name: told[name] for name in (first.kind, "relative", "pca", "nearest", "mean")}, left)],
        "tables": [_auroc_table(told, means, left), _ahead_table(first.kind, own, told, ahead, left)],
        "measured": {
            "left_out": list(left),
            "score": first.kind,
            "latent": first.latent,
            "params": first.params,
            "seconds": [[one.seconds for one in row] for row in runs],
            "auroc": {
                name: [each.of_class(place).to_json() for place in range(len(left))] for name, each in told.items()
            },
            "by_seed": {name: each.values.tolist() for name, each in told.items()},
            "flagged": {"false_alarms": FALSE_ALARMS, "shares": flagged},
            "means": {name: each.to_json() for name, each in means.items()},
            "ahead": {name: each.to_json() for name, each in ahead.items()},
        },
    }


def _told(setting: Setting, runs: Sequence[Sequence[LeftOut]], left: Sequence[str], name: str) -> Told:
    labels, classes = setting.measured.labels, setting.data.classes
    odd = [labels == classes.index(each) for each in left]
    return Told([[separation(one.scores[name], own) for one, own in zip(row, odd, strict=True)] for row in runs])


def _flagged(setting: Setting, runs: Sequence[Sequence[LeftOut]], left: Sequence[str]) -> list[float | None]:
    """The share of each class left out above a threshold that the other measured pictures set, mean over trainings.

    None where these are too few for the rate.
    """
    shares: list[float | None] = []
    for place, name in enumerate(left):
        other = setting.measured.labels == setting.data.classes.index(name)
        scores = [row[place].scores[row[place].kind] for row in runs]
        try:
            ends = [threshold_for(each[~other], FALSE_ALARMS).value for each in scores]
        except NetwrightError:
            shares.append(None)
            continue
        above_ = [(each[other] > end).mean() for each, end in zip(scores, ends, strict=True)]
        shares.append(float(np.mean(above_)))
    return shares


def _said(
    first: LeftOut, own: Told, left: Sequence[str], means: Mapping[str, Interval], flagged: Sequence[float | None]
) -> list[str]:
    """What the intervals allow to say."""
    over = "" if len(left) == 1 else f", on average over {len(left)} classes"
    said = [
        f"The score {first.kind} tells a class that was left out with an AUROC of {means[first.kind].percent()}{over}."
    ]
    each = [own.of_class(place) for place in range(len(left))]
    if len(left) > 1:
        best, worst = (int(order([one.value for one in each])) for order in (np.argmax, np.argmin))
        said.append(
            f"The class told best is {left[best]}, {each[best].percent()}; the one told worst is {left[worst]}, "
            f"{each[worst].percent()}. They are the best and the worst of {len(left)}, so both are a little extreme: "
            "an interval is for a class named beforehand."
        )
    known = [share for share in flagged if share is not None]
    if known:
        said.append(f"A threshold that flags 5 % of the other pictures flags {_shares(known)} of those left out{over}.")
    blind = [name for name, one in zip(left, each, strict=True) if one.high < HALF]
    if blind:
        said.append(
            f"Worse than chance: {listed(blind)}. Pictures of these score lower more often than those of the classes "
            f"it was trained on{_passed(blind, left, flagged)}."
        )
    return said


def _shares(shares: Sequence[float]) -> str:
    return f"{100 * float(np.mean(shares)):.1f} %"


def _passed(blind: Sequence[str], left: Sequence[str], flagged: Sequence[float | None]) -> str:
    """How many of the pictures of some classes the threshold flags."""
    seen = [(name, share) for name, share in zip(left, flagged, strict=True) if name in blind and share is not None]
    told = "; ".join(f"of {name} it flags {_shares([share])}" for name, share in seen)
    return f"; at that threshold, {told}" if seen else ""


def _compared(kind: str, told: Mapping[str, Told], means: Mapping[str, Interval]) -> list[str]:
    """Scores against those that need no network; what is divided by contrast against what is divided by it."""
    plain = [_against(kind, name, told[kind].ahead(told[name])) for name in BASELINES if not name.endswith(CONTRAST)]
    own = f"The score relative ({KINDS['relative']}) reaches {means['relative'].percent()}."
    divided = [name for name in BASELINES if name.endswith(CONTRAST)]
    return [*plain, own, *(_against("relative", name, told["relative"].ahead(told[name])) for name in divided)]


def _against(kind: str, name: str, ahead: Interval) -> str:
    points = f"{_points(ahead)} points"
    if math.isnan(ahead.low):
        return f"Between {kind} and {name} ({BASELINES[name]}) too few pictures differ for an interval: {points}."
    if above(ahead):
        return f"The score {kind} is ahead of {name} ({BASELINES[name]}): {points}."
    if below(ahead):
        return f"The score {kind} is behind {name} ({BASELINES[name]}), which needs no network: {points}."
    return f"Between {kind} and {name} ({BASELINES[name]}) no difference is resolved: {points}."


def _legend(setting: Setting, seeds: int, limit: int, first: LeftOut, seconds: float) -> str:
    pictures = len(setting.measured)
    covers = (
        f"95 % intervals for other {setting.split} pictures like these {pictures} and other trainings"
        if seeds > 1
        else f"95 % intervals for other {setting.split} pictures like these {pictures}; another training may differ"
    )
    scores = "; ".join(f"{name}: {says}" for name, says in {**KINDS, **BASELINES}.items() if name in first.scores)
    return (
        f"{covers}. Differences are paired, picture by picture, and each interval holds by itself. A class is left out "
        f"of training and validation; of the others {limit} training pictures each, at most. AUROC: how often one of "
        f"its pictures scores higher than one of the others; 50 % is chance. Scores: {scores}. The code has "
        f"{first.latent} numbers; a training took {seconds:.0f} s."
    )


def _auroc_table(told: Mapping[str, Told], means: Mapping[str, Interval], left: Sequence[str]) -> dict[str, Any]:
    rows: list[list[Any]] = [
        [name, *(_cell(each.of_class(place), "percent") for each in told.values())] for place, name in enumerate(left)
    ]
    if len(left) > 1:
        rows.append(["mean", *(_cell(means[name], "percent") for name in told)])
    return {"caption": "AUROC by the class that was left out", "heads": ["left out", *told], "rows": rows}


def _ahead_table(
    kind: str, own: Told, told: Mapping[str, Told], ahead: Mapping[str, Interval], left: Sequence[str]
) -> dict[str, Any]:
    rows: list[list[Any]] = [
        [name, *(_cell(own.ahead(told[other], place), "points") for other in ahead)] for place, name in enumerate(left)
    ]
    if len(left) > 1:
        rows.append(["mean", *(_cell(each, "points") for each in ahead.values())])
    caption = f"Percentage points by which {kind} is ahead, paired"
    return {"caption": caption, "heads": ["left out", *(f"of {name}" for name in ahead)], "rows": rows, "long": True}


def _panel(shown: Mapping[str, Told], left: Sequence[str]) -> dict[str, Any]:
    lines: list[dict[str, Any]] = []
    for number, ((name, each), (colour, dashed)) in enumerate(zip(shown.items(), LOOKS, strict=False)):
        shift = 0.08 * (number - (len(shown) - 1) / 2)
        points = [{"x": place + shift, "interval": each.of_class(place).to_json()} for place in range(len(left))]
        lines.append({"name": name, "colour": colour, "dashed": dashed, "points": points})
    x = "class left out, in the order of the table, from 0"
    return {
        "title": "AUROC of the class left out",
        "x": x,
        "unit": "percent",
        "lines": lines,
        "ticks": [*range(len(left))],
    }


def _at_least(interval: Interval, below: float, above: float) -> Interval:
    """At least so wide, since perfect separation leaves no variance; cut at 0 and 1, beyond which no AUROC lies."""
    low, high = min(interval.low, interval.value - below), max(interval.high, interval.value + above)
    return Interval(interval.value, max(0.0, low), min(1.0, high), interval.n, interval.method)


def _cell(interval: Interval, unit: str) -> dict[str, Any] | str:
    if math.isnan(interval.low):
        return _points(interval)
    return {"interval": interval.to_json(), "unit": unit}


def _points(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{100 * interval.value:+.1f}"
    return f"{100 * interval.value:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
