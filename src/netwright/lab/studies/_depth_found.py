"""What the study of depth shows: costs and accuracies of the grid, its analysis of variance, and what arms change."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netwright.lab.anova import RESIDUAL, SEEDS, Comparison, Source, cell_intervals, compare, permuted
from netwright.lab.studies._depth_grid import ARMS, FACTORS, Cell, Grid
from netwright.lab.studies._depth_words import (
    cautions,
    cost_words,
    counted,
    factor_words,
    legend,
    level_words,
    p_words,
    points,
    together_words,
    with_pictures_of,
)
from netwright.lab.studies._study import Setting
from netwright.lab.two_way import above, below, two_way
from netwright.records.intervals import Interval

LOOKS = tuple((colour, dashed) for dashed in (False, True) for colour in ("second", "first", "ink", "muted"))
TICKS = tuple(step * 10**power for power in range(3, 13) for step in (1, 2, 5))
SHOWN = 5  # ticks of an axis


def found(setting: Setting, cells: Sequence[Cell], seeds: int) -> dict[str, Any]:
    """What the report shows."""
    grids = {
        name: Grid.of([cell for cell in cells if cell.arm == name]) for name in dict.fromkeys(c.arm for c in cells)
    }
    whole = Grid.of(cells)
    compared = {name: _compared(grid) for name, grid in grids.items()}
    analysed = grids | ({"all arms": whole} if len(grids) > 1 else {})
    tables = [_cells_table(cells, several=len(grids) > 1)]
    tables += [_anova_table(name, grid, several=len(grids) > 1) for name, grid in analysed.items()]
    tables += [_levels_table(name, grids[name], each, len(grids) > 1) for name, each in compared.items()]
    changed = _changes(grids)
    epochs = setting.protocol.epochs
    return {
        "title": f"What blocks and layers do in {epochs} {'epoch' if epochs == 1 else 'epochs'} on {setting.data.name}",
        "seeds": seeds,
        "said": _said(setting, grids, whole, compared, changed),
        "legend": legend(seeds, len(setting.measured), setting.split, epochs),
        "panels": _panels(grids),
        "tables": tables + ([_arms_table(changed)] if changed else []),
        "measured": {
            "cells": [_cell_json(cell) for cell in cells],
            "anova": {name: [_source_json(each) for each in grid.analysis.sources] for name, grid in analysed.items()},
            "comparisons": {
                name: [_compared_json(each, grids[name]) for each in ones] for name, ones in compared.items()
            },
            "arms": changed,
        },
    }


def _compared(grid: Grid) -> list[Comparison]:
    return [each for factor in grid.factors for each in compare(grid.analysis, factor)]


def _said(
    setting: Setting,
    grids: dict[str, Grid],
    whole: Grid,
    compared: dict[str, list[Comparison]],
    changed: Sequence[dict[str, Any]],
) -> list[str]:
    said: list[str] = []
    for name, grid in grids.items():
        words = [factor_words(grid, f, [c for c in compared[name] if c.factor == f]) for f in grid.factors]
        words += together_words(grid.analysis, of=FACTORS)
        said += [f"{name}: {sentence}" for sentence in words] if len(grids) > 1 else words
    said += [_change_words(row, changed[0]) for row in changed[1:]]
    said += together_words(whole.analysis, of=ARMS)
    return [*said, *cautions(whole, setting.protocol.seed), *cost_words(whole.cells)]


def _changes(grids: dict[str, Grid]) -> list[dict[str, Any]]:
    """What each arm does to accuracy and to the effects of the grid, against the first arm; paired.

    A difference of differences lies between -2 and 2: it is halved for the interval, which knows differences to 1.
    """
    if len(grids) < 2:
        return []
    (_, first), *_ = grids.items()
    rows: list[dict[str, Any]] = []
    for name, grid in grids.items():
        row: dict[str, Any] = {"arm": name, "accuracy": two_way(_mean(grid), difference=False).to_json()}
        if grid is not first:
            row["ahead"] = two_way(_mean(grid) - _mean(first), difference=True).to_json()
        for factor in grid.factors:
            ends = [level_words(factor, grid.levels[factor][place]) for place in (-1, 0)]
            effect = two_way(grid.effect(factor), difference=True)
            row[factor] = {"ends": ends, "effect": effect.to_json()}
            if grid is not first:
                half = two_way((grid.effect(factor) - first.effect(factor)) / 2, difference=True)
                row[factor]["change"] = _doubled(half).to_json()
        rows.append(row)
    return rows


def _mean(grid: Grid) -> Any:
    return grid.correct.mean(tuple(range(grid.correct.ndim - 2)))


def _doubled(half: Interval) -> Interval:
    return Interval(2 * half.value, 2 * half.low, 2 * half.high, half.n, half.method)


def _change_words(row: dict[str, Any], first: dict[str, Any]) -> str:
    ahead = Interval.from_json(row["ahead"])
    words = [f"{row['arm']} against {first['arm']}: {points(ahead)} over the grid{_unresolved(ahead)}"]
    for factor in FACTORS:
        if factor in row:
            last, least = row[factor]["ends"]
            change = Interval.from_json(row[factor]["change"])
            was, is_ = (points(Interval.from_json(each[factor]["effect"])) for each in (first, row))
            turned = f"a change of {points(change)}{_unresolved(change)}"
            words.append(f"{last} against {least} brings {is_} instead of {was}, {turned}")
    return "; ".join(words) + "."


def _unresolved(interval: Interval) -> str:
    return "" if above(interval) or below(interval) else " (not resolved)"


def _cells_table(cells: Sequence[Cell], *, several: bool) -> dict[str, Any]:
    costs = ["parameters", "multiply-adds", "receptive field", "seconds", "pictures/s"]
    rows = [
        [
            cell.name,
            *([cell.arm] if several else []),
            _percent(cell.accuracy),
            f"{100 * cell.deviation:.1f}",
            counted(cell.params),
            counted(cell.macs),
            f"{cell.receptive_field}",
            f"{cell.seconds:.1f}",
            f"{cell.speed:.0f}",
        ]
        for cell in cells
    ]
    heads = ["blocks × layers", *(["arm"] if several else []), "accuracy", "sd", *costs]
    return {"caption": "What each network reaches and costs", "heads": heads, "rows": rows}


def _anova_table(name: str, grid: Grid, *, several: bool) -> dict[str, Any]:
    rows = [_anova_row(grid, source) for source in grid.analysis.sources]
    total = sum(source.squares for source in grid.analysis.sources)
    rows.append(["total", f"{1e4 * total:.1f}", str(grid.analysis.values.size - 1), *["–"] * 6])
    heads = ["source", "sum of squares", "df", "mean square", "F", "p", "p by permutation", "η²", "partial ω²"]
    caption = f"Analysis of variance{f', {name}' if several else ''}; squares in points², seeds as blocks"
    return {"caption": caption, "heads": heads, "rows": rows}


def _anova_row(grid: Grid, source: Source) -> list[Any]:
    shuffled = source.name in grid.factors and source.f is not None
    return [
        source.name,
        f"{1e4 * source.squares:.1f}",
        str(source.df),
        f"{1e4 * source.mean:.2f}",
        "–" if source.f is None else f"{source.f:.1f}",
        p_words(source.p),
        p_words(permuted(grid.analysis.values, grid.analysis.axis(source.name))) if shuffled else "–",
        f"{source.eta:.3f}",
        "–" if source.omega is None else {"interval": source.omega.to_json(), "unit": "share"},
    ]


def _levels_table(name: str, grid: Grid, compared: Sequence[Comparison], several: bool) -> dict[str, Any]:
    rows: list[list[Any]] = []
    for each in compared:
        level, other = (level_words(each.factor, grid.levels[each.factor][place]) for place in (each.level, each.other))
        both = with_pictures_of(grid, each)
        cells = [_points(each.difference), _p(each.p), _points(both.difference), _p(both.p)]
        rows.append([f"{level} against {other}", *cells])
    n = f"{compared[0].difference.n} runs a level" if len({each.difference.n for each in compared}) == 1 else "all runs"
    caption = f"Levels compared{f', {name}' if several else ''}: points, {n}"
    return {"caption": caption, "heads": ["", "over seeds", "p", "over seeds and pictures", "p"], "rows": rows}


def _arms_table(changed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    factors = [factor for factor in FACTORS if factor in changed[0]]
    heads = ["arm", "mean accuracy", f"ahead of {changed[0]['arm']}"]
    for factor in factors:
        last, least = changed[0][factor]["ends"]
        heads += [f"{last} against {least}", f"against that of {changed[0]['arm']}"]
    rows: list[list[Any]] = []
    for row in changed:
        cells: list[Any] = [row["arm"], {"interval": row["accuracy"], "unit": "percent"}, _given(row.get("ahead"))]
        for factor in factors:
            cells += [_given(row[factor]["effect"]), _given(row[factor].get("change"))]
        rows.append(cells)
    caption = "What arms change, in points; paired, over seeds and pictures"
    return {"caption": caption, "heads": heads, "rows": rows}


def _panels(grids: dict[str, Grid]) -> list[dict[str, Any]]:
    """For each arm, accuracy over layers with a line for each number of blocks, and over multiply-adds."""
    pooled = {name: [_share(each) for each in cell_intervals(grid.analysis)] for name, grid in grids.items()}
    own = {name: [cell.accuracy for cell in grid.cells] for name, grid in grids.items()}
    panels: list[dict[str, Any]] = []
    for name, grid in grids.items():
        arm = f", {name}" if len(grids) > 1 else ""
        layers = sorted({cell.layers for cell in grid.cells})
        macs = [cell.macs for cell in grid.cells]
        over_layers = {"title": f"accuracy over layers{arm}", "x": "convolutions in each block", "ticks": layers}
        over_macs = {"title": f"accuracy over cost{arm}", "x": "multiply-adds for a picture", "ticks": _ticks(macs)}
        panels.append(over_layers | _shared(pooled) | {"lines": _lines(grid, "layers", pooled[name])})
        panels.append(over_macs | _shared(own) | {"lines": _lines(grid, "macs", own[name]), "scale": "log"})
    return panels


def _share(interval: Interval) -> Interval:
    """No accuracy is below 0 or above 1."""
    return replace(interval, low=max(0.0, interval.low), high=min(1.0, interval.high))


def _shared(seen: Mapping[str, Sequence[Interval]]) -> dict[str, Any]:
    """One axis for all arms."""
    every = [each for ones in seen.values() for each in ones]
    low, high = min(each.low for each in every), max(each.high for each in every)
    margin = 0.04 * (high - low) or 0.01
    return {"unit": "percent", "limits": [low - margin, high + margin]}


def _lines(grid: Grid, over: str, intervals: Sequence[Interval]) -> list[dict[str, Any]]:
    blocks = sorted({cell.blocks for cell in grid.cells})
    lines: list[dict[str, Any]] = []
    for place, number in enumerate(blocks):
        colour, dashed = LOOKS[place % len(LOOKS)]
        aside = 0.05 * (place - (len(blocks) - 1) / 2) if over == "layers" else 0.0  # bars would hide one another
        pairs = [pair for pair in zip(grid.cells, intervals, strict=True) if pair[0].blocks == number]
        seen = [{"x": getattr(cell, over) + aside, "interval": each.to_json()} for cell, each in pairs]
        lines.append({"name": level_words("blocks", number), "colour": colour, "dashed": dashed, "points": seen})
    return lines


def _ticks(values: Sequence[int]) -> list[int]:
    """Round numbers between the smallest and the largest, few enough to be read."""
    inside = [tick for tick in TICKS if min(values) * 0.8 <= tick <= max(values) * 1.25]
    tens = [tick for tick in inside if str(tick)[0] == "1"]
    return inside if len(inside) <= SHOWN else tens


def _percent(interval: Interval) -> dict[str, Any]:
    return {"interval": interval.to_json(), "unit": "percent"}


def _points(interval: Interval) -> dict[str, Any]:
    return {"interval": interval.to_json(), "unit": "points"}


def _given(fields: dict[str, Any] | None) -> Any:
    return "–" if fields is None else {"interval": fields, "unit": "points"}


def _p(p: float) -> str:
    return p_words(None if np.isnan(p) else p)


def _cell_json(cell: Cell) -> dict[str, Any]:
    names = ("norm", "skip", "blocks", "layers", "model", "params", "macs", "receptive_field", "seconds")
    told = {name: getattr(cell, name) for name in names} | {"images_per_second": cell.speed, "dead": cell.dead}
    return told | {"accuracy": cell.accuracy.to_json(), "sd": cell.deviation, "by_seed": cell.by_seed.tolist()}


def _source_json(source: Source) -> dict[str, Any]:
    tested = {} if source.name in (SEEDS, RESIDUAL) else {"f": source.f, "p": source.p}
    omega = {} if source.omega is None else {"partial_omega": source.omega.to_json()}
    squares = {"squares": source.squares, "df": source.df, "mean": source.mean, "eta": source.eta}
    return {"name": source.name, **squares, **tested, **omega}


def _compared_json(each: Comparison, grid: Grid) -> dict[str, Any]:
    level, other = (grid.levels[each.factor][place] for place in (each.level, each.other))
    p = None if np.isnan(each.p) else each.p
    both = with_pictures_of(grid, each).difference.to_json()
    said = {"factor": each.factor, "level": level, "other": other, "p": p}
    return said | {"difference": each.difference.to_json(), "with_pictures": both}
