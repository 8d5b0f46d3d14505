"""What the continual study shows: accuracy by step and group, forgetting, and how strategies differ."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.lab.studies._forgetting import Course
from netwright.lab.studies._study import Setting
from netwright.lab.two_way import above, below, two_way
from netwright.records.intervals import Interval

Courses = Mapping[str, Sequence[Course]]
LOOKS = {
    "finetune": ("second", False),
    "frozen": ("muted", True),
    "distilled": ("first", False),
    "joint": ("ink", True),
}


class Study(Protocol):
    """What of a study belongs to what is shown."""

    @property
    def memory(self) -> int:
        """Pictures kept of each older class."""
        ...

    @property
    def choose(self) -> str:
        """How these are chosen."""
        ...

    @property
    def seeds(self) -> int:
        """Orders of the classes."""
        ...


def found(
    study: Study, setting: Setting, courses: Courses, orders: Sequence[Sequence[str]], ends: Sequence[int]
) -> dict[str, Any]:
    """What the report shows."""
    steps = len(ends)
    final = {name: _share([one.so_far(steps - 1) for one in each]) for name, each in courses.items()}
    forgot = {name: _forgetting(each) for name, each in courses.items()}
    mean = {name: _share([one.incremental() for one in each]) for name, each in courses.items()}
    kept = f", {study.memory} pictures kept of each older class" if study.memory else ""
    return {
        "title": f"{ends[0]} classes, then {ends[-1] - ends[0]} more: what {setting.protocol.model} keeps",
        "seeds": study.seeds,
        "said": _said(courses, final, forgot),
        "legend": _legend(study, setting, courses),
        "panels": [_accuracies(courses, ends), _forgotten(forgot, ends)],
        "tables": [
            {
                "caption": f"After the last step, with all {ends[-1]} classes{kept}",
                "heads": ["strategy", "accuracy", "average over steps", "forgetting", "ahead of finetune"],
                "rows": [_row(name, courses, final, mean, forgot) for name in courses],
            },
            *(_by_step(name, each, forgot[name], ends) for name, each in courses.items()),
        ],
        "measured": {
            "classes_after": list(ends),
            "orders": [list(order) for order in orders],
            "strategies": {
                name: {
                    "final": final[name].to_json(),
                    "average_incremental": mean[name].to_json(),
                    "forgetting": [each.to_json() for each in forgot[name]],
                    "forgetting_of_groups": _of_groups(each),
                    "by_seed": [_matrix(one) for one in each],
                }
                for name, each in courses.items()
            },
        },
    }


def _forgetting(courses: Sequence[Course]) -> list[Interval]:
    """After each step, the mean over earlier groups."""
    return [_difference([one.forgetting(step) for one in courses]) for step in range(1, courses[0].steps)]


def _of_groups(courses: Sequence[Course]) -> list[list[dict[str, Any]]]:
    """After each step, of each earlier group."""
    return [
        [_difference([one.lost(step, group) for one in courses]).to_json() for group in range(step)]
        for step in range(1, courses[0].steps)
    ]


def _matrix(one: Course) -> list[list[dict[str, Any]]]:
    """Accuracy of each group after each step, with Wilson's intervals."""
    return [[_share([one.of_group(step, group)]).to_json() for group in range(step + 1)] for step in range(one.steps)]


def _row(
    name: str,
    courses: Courses,
    final: Mapping[str, Interval],
    mean: Mapping[str, Interval],
    forgot: Mapping[str, Sequence[Interval]],
) -> list[Any]:
    ahead: Any = "–"
    if name != "finetune" and "finetune" in courses:
        ahead = _cell(_ahead(courses, name, "finetune"), "points")
    return [name, _cell(final[name]), _cell(mean[name]), _cell(forgot[name][-1], "points"), ahead]


def _by_step(name: str, courses: Sequence[Course], forgot: Sequence[Interval], ends: Sequence[int]) -> dict[str, Any]:
    """One strategy: a row a step, a column a group of classes."""
    groups = [f"first {ends[0]}", *(_came(start, end) for start, end in pairwise(ends))]
    rows: list[list[Any]] = []
    for step, end in enumerate(ends):
        cells = [_share([one.of_group(step, group) for one in courses]) for group in range(step + 1)]
        so_far = _share([one.so_far(step) for one in courses])
        lost: Any = _cell(forgot[step - 1], "points") if step else "–"
        rest = ["–"] * (len(ends) - step - 1)
        rows.append([f"{end}", _cell(so_far), lost, *map(_cell, cells), *rest])
    heads = ["classes", "all so far", "forgetting", *groups]
    return {"caption": f"{name}: accuracy of each group of classes", "heads": heads, "rows": rows, "long": True}


def _came(start: int, end: int) -> str:
    return f"class {end}" if end == start + 1 else f"classes {start + 1}–{end}"


def _said(courses: Courses, final: Mapping[str, Interval], forgot: Mapping[str, Sequence[Interval]]) -> list[str]:
    """What the differences allow to say."""
    said: list[str] = []
    if "finetune" in forgot:
        lost = forgot["finetune"][-1]
        does = "forgets" if above(lost) else "does not clearly forget"
        said.append(
            f"Training on new classes alone {does}: in the end, groups of earlier classes are {_points(lost)} points "
            "below their best."
        )
    for name in courses:
        if name in ("frozen", "distilled") and "finetune" in courses:
            less = _difference(_less_forgotten(courses["finetune"], courses[name]))
            ahead = _ahead(courses, name, "finetune")
            said.append(
                f"{name} forgets {_judged(less, 'less', 'more')} ({_points(less)} points) and is in the end right "
                f"{_judged(ahead, 'more often', 'less often')} ({_points(ahead)} points) than finetune. "
                f"Of the newest classes it is right about {_newest(courses[name]).percent()}."
            )
    others = [name for name in courses if name != "joint"]
    if "joint" in courses and others:
        best = max(others, key=lambda name: final[name].value)
        short = _ahead(courses, "joint", best)
        if above(short):
            said.append(f"The best of the others, {best}, stays {_points(short)} points behind training on everything.")
        else:
            far = f"({_points(short)} points)"
            said.append(f"The best of the others, {best}, is not clearly behind training on everything {far}.")
    return said or ["Name finetune or joint too, to have something to compare with."]


def _newest(courses: Sequence[Course]) -> Interval:
    """How often a strategy is right about the classes that came last: who learns nothing has little to forget."""
    last = courses[0].steps - 1
    return _share([one.of_group(last, last) for one in courses])


def _judged(found: Interval, more: str, less: str) -> str:
    return more if above(found) else less if below(found) else f"neither clearly {more} nor {less}"


def _less_forgotten(ones: Sequence[Course], others: Sequence[Course]) -> list[NDArray[np.float64]]:
    last = ones[0].steps - 1
    return [one.forgetting(last) - other.forgetting(last) for one, other in zip(ones, others, strict=True)]


def _ahead(courses: Courses, one: str, other: str) -> Interval:
    """By how much one strategy is right more often in the end, paired."""
    last = courses[one][0].steps - 1
    pairs = zip(courses[one], courses[other], strict=True)
    return _difference([first.so_far(last) - second.so_far(last) for first, second in pairs])


def _share(of_orders: Sequence[NDArray[np.float64]]) -> Interval:
    """Of all orders, which saw the same pictures."""
    return two_way(np.stack(of_orders), difference=False)


def _difference(of_orders: Sequence[NDArray[np.float64]]) -> Interval:
    return two_way(np.stack(of_orders), difference=True)


def _accuracies(courses: Courses, ends: Sequence[int]) -> dict[str, Any]:
    lines = [
        _line(name, ends, [_share([one.so_far(step) for one in each]) for step in range(len(ends))])
        for name, each in courses.items()
    ]
    return _panel("accuracy over all classes so far", "percent", lines, ends)


def _forgotten(forgot: Mapping[str, Sequence[Interval]], ends: Sequence[int]) -> dict[str, Any]:
    lines = [_line(name, ends[1:], each) for name, each in forgot.items() if name != "joint"]
    return _panel("forgetting, points", "points", lines, ends[1:])


def _line(name: str, ends: Sequence[int], found: Sequence[Interval]) -> dict[str, Any]:
    colour, dashed = LOOKS[name]
    points = [{"x": end, "interval": each.to_json()} for end, each in zip(ends, found, strict=True)]
    return {"name": name, "colour": colour, "dashed": dashed, "points": points}


def _panel(title: str, unit: str, lines: list[dict[str, Any]], ticks: Sequence[int]) -> dict[str, Any]:
    return {"title": title, "x": "classes so far", "unit": unit, "lines": lines, "ticks": [*ticks]}


def _legend(study: Study, setting: Setting, courses: Courses) -> str:
    pictures = setting.data.splits[setting.split].labels
    over = f"{study.seeds} orders of the classes" if study.seeds > 1 else "one order of the classes"
    kept = (
        f" {study.memory} pictures of each older class, chosen by {study.choose}, stay in training."
        if study.memory
        else ""
    )
    return (
        f"95 % intervals over {over} and {len(pictures)} {setting.split} pictures"
        f"{'' if study.seeds > 1 else ': another order may say otherwise'}. Forgetting: a group's best accuracy so far "
        "minus its accuracy now, in percentage points, averaged over the earlier groups (Chaudhry et al. 2018); the "
        "best of several is a little too good by chance, so a little forgetting is seen even where there is none. "
        f"Average over steps: of the accuracy over all classes so far.{kept}"
    )


def _cell(interval: Interval, unit: str = "percent") -> dict[str, Any]:
    return {"interval": interval.to_json(), "unit": unit}


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
