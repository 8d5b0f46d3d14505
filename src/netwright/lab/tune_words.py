"""What a search tells while it runs, and at its end."""

import math
from collections.abc import Mapping
from typing import Any

from netwright.lab.tune_search import Wanted
from netwright.lab.tune_space import Space
from netwright.recipes._ranges import written
from netwright.records.intervals import Interval

Found = Mapping[str, Any]
FEW = 0.0005  # less than a twentieth of a point


def space_lines(space: Space, wanted: Wanted, pictures: int) -> list[str]:
    """The space, and what stays as the user gave it."""
    lines = [f"searches {len(space.parameters)} values of recipe {space.recipe.name}:"]
    width = max(len(each.name) for each in space.parameters)
    own = space.usual or {each.name: each.usual for each in space.parameters}
    for each in space.parameters:
        usual = "" if own.get(each.name) is None else f"   now {written(own[each.name])}"
        yours = "   (your range)" if each.source == "user" else ""
        lines.append(f"  {each.name:<{width}}  {each}{usual}{_condition(each.when)}{yours}")
    if space.fixed:
        lines.append("stay as you gave them: " + ", ".join(f"{k} = {written(v)}" for k, v in space.fixed.items()))
    if space.usual is None:
        lines.append("the recipe as it was lies outside of these ranges, so the search does not begin with it")
    seeds = "one seed" if wanted.seeds == 1 else f"{wanted.seeds} seeds"
    lines.append(f"each trial is judged on {pictures} validation pictures with {seeds}; the test pictures stay unseen")
    return lines


def _condition(when: tuple[str, Any] | None) -> str:
    if when is None:
        return ""
    name, value = when
    return f"   where {name} is {written(value)}"


def trial_line(row: Found, trials: int, best: float | None, *, usual: bool = False) -> str:
    """One trial's end; `usual` is the recipe as it was."""
    values = "the recipe as it was" if usual else settings(row["values"])
    head = f"trial {row['ended']} of {max(trials, row['ended'])}:"
    if row.get("problem"):
        return f"{head} cannot be trained ({row['problem']}): {values}"
    if row["state"] == "PRUNED":
        return f"{head} stopped after epoch {row['epochs']}: {values}"
    found = Interval.from_json(row["interval"])
    before = ", from the run store" if row["found"] and not row["seconds"] else ""
    star = " (best so far)" if best is None or found.value > best else ""
    return f"{head} {reached(found)}{star}{before}: {values}"


def settings(values: Mapping[str, Any]) -> str:
    """`lr = 0.01, mixup.alpha = 0.4`."""
    return ", ".join(f"{name} = {written(value)}" for name, value in values.items())


def reached(found: Interval) -> str:
    """A share as a percentage, with its interval; of one seed there is none over seeds."""
    return f"{100 * found.value:.1f} % (one seed, no interval)" if math.isnan(found.low) else found.percent()


def expected(seconds: float, trials: int, slots: int, pruner: str) -> str:
    """How long the rest will take, after the first trial."""
    rest = max(0, trials) * seconds / max(1, slots)
    early = "" if pruner == "none" else ", less for those that are stopped early"
    return f"a trial takes about {_time(seconds)}; the other {trials} about {_time(rest)}{early}"


def confirmed_lines(found: Found) -> list[str]:
    """What the comparison with fresh seeds says, and how far the search flattered its best."""
    held = found["confirmed"]
    if held is None:
        return [found["unconfirmed"]]
    best, difference = Interval.from_json(held["best"]), Interval.from_json(held["difference"])
    base, where = Interval.from_json(held["baseline"]), "test" if held["split"] == "test" else "validation"
    many = f"{held['n']} {where} pictures and {fresh(len(held['seeds']))}"
    lines = [f"on {many}: best {reached(best)}, the recipe as it was {reached(base)}"]
    points = f"{100 * difference.value:+.1f} points [{100 * difference.low:.1f}, {100 * difference.high:.1f}]"
    if difference.low > 0:
        lines.append(f"the best recipe is better by {points}")
    elif difference.high < 0:
        lines.append(f"the best recipe is worse by {points}: keep the recipe as it was")
    else:
        lines.append(f"the difference, {points}, is not told apart from none")
    lines += regression_lines(found)
    if held["split"] != "test":
        lines.append("there is no test split: these pictures chose the recipe, so they still flatter it")
    return lines


def fresh(count: int) -> str:
    """So many seeds that had no part in the search."""
    return "one fresh seed" if count == 1 else f"{count} fresh seeds"


def regression_lines(found: Found) -> list[str]:
    """The best of many was lucky too: what fresh seeds give on the same validation pictures."""
    again = found["confirmed"]["again"]
    if again is None or found["confirmed"]["split"] != "test":
        return []
    chosen, fresh = found["value"], Interval.from_json(again)
    lost = chosen - fresh.value
    words = (
        f"on validation the best of {len(found['trials'])} trials had {100 * chosen:.1f} %; with fresh seeds it has "
        f"{reached(fresh)}"
    )
    if lost > FEW:
        words += f", {100 * lost:.1f} points less"
    return [f"{words}: the best of many is flattered by having been chosen; the test pictures had no part in that"]


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
