"""What the study of depth says in sentences, no more than its analysis allows."""

from collections.abc import Sequence
from itertools import product

from netwright.core.errors import listed
from netwright.lab.anova import RESIDUAL, SEEDS, TIMES, Analysis, Comparison, crooked, uneven, with_pictures
from netwright.lab.studies._depth_grid import Cell, Grid
from netwright.records.intervals import Interval

ALPHA = 0.05


def p_words(p: float | None) -> str:
    """0.00001 -> `< 0.0001`."""
    if p is None:
        return "–"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def points(interval: Interval) -> str:
    """Of a difference of accuracies, in percentage points."""
    return f"{100 * interval.value:+.1f} points [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def counted(number: float) -> str:
    """1050890 -> `1.05 M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{number:.0f}"


def level_words(factor: str, level: object) -> str:
    """`3 blocks`, `batch norm`, `shortcuts`."""
    if factor == "norm":
        return f"{level} norm" if level != "none" else "no norm"
    if factor == "skip":
        return "shortcuts" if level else "no shortcuts"
    return f"{level} {factor if level != 1 else factor.removesuffix('s')}"


def with_pictures_of(grid: Grid, each: Comparison) -> Comparison:
    """A comparison of levels for other pictures as well."""
    return with_pictures(each, grid.effect(each.factor, each.level, each.other))


def factor_words(grid: Grid, factor: str, compared: Sequence[Comparison]) -> str:
    """Whether the levels of a factor differ, and by how much its last is ahead of its first."""
    ends = next(each for each in compared if each.other == 0 and each.level == len(grid.levels[factor]) - 1)
    last, first = (level_words(factor, grid.levels[factor][place]) for place in (ends.level, ends.other))
    test = _test(grid.analysis, factor)
    if test is None:
        return f"Seeds agree wholly, so there is no error to measure the effect of {factor} against."
    p = grid.analysis.of(factor).p
    both = with_pictures_of(grid, ends).difference
    found = f"{last} against {first}: {points(ends.difference)}"
    found += f" with other seeds, [{100 * both.low:.1f}, {100 * both.high:.1f}] with other pictures as well"
    if p is not None and p < ALPHA:
        return f"On these pictures accuracy depends on {factor} ({test}); {found}."
    return f"An effect of {factor} is not resolved ({test}); {found}."


def together_words(analysis: Analysis, *, of: Sequence[str]) -> list[str]:
    """Whether the effect of one factor depends on another, for pairs that hold one of these."""
    said: list[str] = []
    for source in analysis.sources:
        factors, test = source.name.split(TIMES), _test(analysis, source.name)
        if len(factors) != 2 or not set(of) & set(factors) or test is None or source.p is None:
            continue
        one, other = factors
        if source.p < ALPHA:
            said.append(
                f"The effect of {one} depends on {other} ({test}): a mean over one hides something of the other."
            )
        else:
            said.append(f"That the effect of {one} depends on {other} is not resolved ({test}).")
    return said


def cost_words(cells: Sequence[Cell]) -> list[str]:
    """A warning where networks with more blocks, and as many layers in each, have fewer parameters."""
    pairs = [
        (deep, flat)
        for deep, flat in product(cells, cells)
        if deep.blocks > flat.blocks and deep.layers == flat.layers and deep.params < flat.params
    ]
    if not pairs:
        return []
    deep, flat = max(pairs, key=lambda pair: pair[1].params / pair[0].params)
    return [
        f"Deeper is not larger here: {deep.name} (blocks × layers) has {counted(deep.params)} parameters and "
        f"{flat.name} has {counted(flat.params)}, since the dense layer reads a smaller map. Differences between cells "
        "are differences of whole networks, not of depth alone."
    ]


def cautions(grid: Grid, first_seed: int) -> list[str]:
    """Runs that learnt nothing, and errors that the analysis takes for equal and normal and that are not."""
    several = len({cell.arm for cell in grid.cells}) > 1
    dead = [
        f"{cell.name}{f' ({cell.arm})' if several else ''} with seed {listed(str(first_seed + s) for s in cell.dead)}"
        for cell in grid.cells
        if cell.dead
    ]
    said = [f"Not clearly better than guessing: {listed(dead)}."] if dead else []
    spread = max(grid.cells, key=lambda cell: cell.deviation)
    odd = {"of unequal size": uneven(grid.analysis.values), "not normally distributed": crooked(grid.analysis.values)}
    unlike = [f"{what} (p = {p_words(p)})".replace("= <", "<") for what, p in odd.items() if p < ALPHA]
    if unlike:
        said.append(
            f"Errors are {' and '.join(unlike)}; seeds differ most at {spread.name}, by a deviation of "
            f"{100 * spread.deviation:.1f} points. Trust the p by permutation, which does not need them alike."
        )
    return said


def _test(analysis: Analysis, name: str) -> str | None:
    source, residual = analysis.of(name), analysis.of(RESIDUAL)
    if source.f is None:
        return None
    p = p_words(source.p)
    return f"F({source.df}, {residual.df}) = {source.f:.1f}, p {p if p.startswith('<') else f'= {p}'}"


def legend(seeds: int, pictures: int, split: str, epochs: int) -> str:
    """What the numbers hold and what they don't."""
    return (
        f"Accuracies: 95 % intervals over {seeds} seeds and the same {pictures} {split} pictures for all; sd: between "
        "seeds, in points. Bars over layers are 95 % intervals over seeds, with the error of all cells together and "
        "without what a seed does to all of them: for reading cells against one another. The analysis of variance "
        f"takes each run's accuracy on these pictures as its value and the {SEEDS} as blocks: with one seed all "
        "networks see the pictures in one order. Its intervals hold other seeds, not other pictures. η² is a share of "
        "the whole sum of squares, partial ω² one of what the source and the residual make up; its 90 % interval comes "
        "from the noncentral F distribution (Steiger 2004) and leaves out 0 just where p < 0.05. p by permutation "
        "shuffles a factor's levels within each cell of the others and seed; interactions have none. Levels are "
        "compared by Tukey's test, whose 95 % intervals hold together for a factor; beside them is the same with what "
        f"pictures add to the error. Two cells are not compared: {seeds} runs would not bear it. p-values of "
        "several sources are not adjusted for one another. Multiply-adds, parameters and receptive field are of one "
        "picture; seconds are medians of a run with its evaluation on this machine, and have no interval, since what "
        f"else the machine did decides it. {epochs} {'epoch says' if epochs == 1 else 'epochs say'} how fast a network "
        "learns, not what it can reach; the best cell is the best of several on these pictures, and so a little too "
        "good."
    )
