"""Plans: from one recipe to the recipes whose runs say which trick helps. Nothing is trained, opened or drawn here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec
from netwright.lab.arms import (
    BASELINE,
    Arm,
    command,
    differences,
    parted,
    read_arms,
    refuse_unfit,
    refuse_unknown_trick,
    told,
)
from netwright.lab.factorial import Contrast, Design, design
from netwright.recipes._recipe import Recipe

__all__ = [
    "Arm", "Effect", "Factor", "Plan", "command", "describe", "factorial", "leave_one_out", "named_arms",
    "one_at_a_time", "read_factors",
]  # fmt: skip

Kind = Literal["leave_one_out", "one_at_a_time", "factorial", "arms"]
SCHEDULE, CONSTANT = "schedule", "constant"
WIDEST, MOST_LINES = 40, 32  # of a list: its column of names, and its lines
EXAMPLE = '--tricks "mixup(alpha=0.4), ema, schedule"'
TITLES: dict[Kind, str] = {
    "leave_one_out": "leave one out",
    "one_at_a_time": "one at a time",
    "factorial": "factorial",
    "arms": "arms",
}


@dataclass(frozen=True)
class Effect:
    """What is estimated: a weighted sum of the arms' values, seed by seed and picture by picture.

    Attributes:
        name: the trick's, or the arm's; an interaction's is `flip × ema`.
        weights: by arm; positive sums mean that what is named helps.
        order: 1, or 2 for an interaction.
        aliases: what else has the same weights, so that only the sum of all can be told.
    """

    name: str
    weights: Mapping[str, float]
    order: int = 1
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is trained, and what its runs are to tell.

    Attributes:
        kind: which question is asked.
        baseline: the arm that the others are paired with.
        arms: the others.
        effects: each with the arms that it is made of.
        notes: what a user should know before training.
        design: of a factorial.
    """

    kind: Kind
    baseline: Arm
    arms: tuple[Arm, ...]
    effects: tuple[Effect, ...]
    notes: tuple[str, ...] = ()
    design: Design | None = None

    @property
    def rows(self) -> tuple[Arm, ...]:
        """Every arm, the baseline first."""
        return (self.baseline, *self.arms)

    @property
    def trainings(self) -> int:
        """Runs for each seed: arms that are the same recipe share one."""
        return len({arm.recipe.key for arm in self.rows})


@dataclass(frozen=True)
class Factor:
    """A trick that is there or not, or the recipe's schedule against a constant rate.

    Attributes:
        name: the trick's, or `schedule`.
        on: the spec of the trick or the schedule.
    """

    name: str
    on: str

    def into(self, recipe: Recipe) -> Recipe:
        """The recipe with it."""
        return recipe.changed(schedule=self.on) if self.name == SCHEDULE else recipe.with_(self.on)

    def out_of(self, recipe: Recipe) -> Recipe:
        """The recipe without it; a schedule's warm-up goes with the schedule."""
        if self.name == SCHEDULE:
            return recipe.changed(schedule=CONSTANT)
        there = any(Spec.parse(text).name == self.name for text in recipe.tricks)
        return recipe.without(self.name) if there else recipe


def leave_one_out(recipe: Recipe, factors: str | Sequence[str] | None = None) -> Plan:
    """The recipe, and the recipe without each factor: what would be missed?

    Args:
        recipe: what to find out about.
        factors: tricks and `schedule`, as text with commas or as a list; all of the recipe's by default. A trick that
            the recipe does not have is added to it.

    Raises:
        NetwrightError: no factors, unknown ones, or tricks that cannot be trained together.
    """
    chosen = read_factors(recipe, factors)
    whole, notes = _whole(recipe, chosen)
    baseline = Arm(BASELINE, whole, differences(recipe, whole))
    arms = tuple(_arm(f"without {factor.name}", whole, factor.out_of(whole)) for factor in chosen)
    effects = tuple(Effect(f.name, {BASELINE: 1.0, arm.name: -1.0}) for f, arm in zip(chosen, arms, strict=True))
    return _checked(recipe, Plan("leave_one_out", baseline, arms, effects, notes))


def one_at_a_time(recipe: Recipe, factors: str | Sequence[str] | None = None) -> Plan:
    """The recipe without any of the factors, and with each of them alone: what would each do by itself?

    Args:
        recipe: what to find out about.
        factors: as for `leave_one_out`; since no two are trained together, they may exclude each other.

    Raises:
        NetwrightError: no factors, unknown ones, or a trick that cannot be trained with what else the recipe has.
    """
    chosen = read_factors(recipe, factors)
    bare = recipe
    for factor in chosen:
        bare = factor.out_of(bare)
    baseline = Arm(BASELINE, bare, differences(recipe, bare))
    arms = tuple(_arm(f"with {factor.name}", bare, factor.into(bare)) for factor in chosen)
    effects = tuple(Effect(f.name, {arm.name: 1.0, BASELINE: -1.0}) for f, arm in zip(chosen, arms, strict=True))
    return _checked(recipe, Plan("one_at_a_time", baseline, arms, effects, _of_schedule(chosen)))


def factorial(recipe: Recipe, factors: str | Sequence[str] | None = None, fraction: str = "full") -> Plan:
    """Runs in which factors are on and off together, so that every run tells of every factor, and of pairs of them.

    The baseline is the run with all factors on, which belongs to each fraction. A main effect is the mean of the runs
    with the factor less the mean of those without; an interaction is half of what one factor's effect gains by the
    other.

    Args:
        recipe: what to find out about.
        factors: as for `leave_one_out`; two to eleven.
        fraction: "full", or "2^(k-p)" for k factors.

    Raises:
        NetwrightError: as `leave_one_out`, or a fraction that there is not.
    """
    chosen = read_factors(recipe, factors)
    plan = design([factor.name for factor in chosen], fraction)
    whole, notes = _whole(recipe, chosen)
    runs = dict.fromkeys(plan.names, whole)
    for name, row in zip(plan.names, plan.rows, strict=True):
        for factor, sign in zip(chosen, row, strict=True):
            runs[name] = runs[name] if sign > 0 else factor.out_of(runs[name])
    last = plan.names[-1]  # every free factor is on, and so are their products
    baseline = Arm(last, whole, differences(recipe, whole))
    arms = tuple(_arm(name, whole, run) for name, run in runs.items() if name != last)
    effects = tuple(_effect(plan, contrast) for contrast in plan.contrasts)
    return _checked(recipe, Plan("factorial", baseline, arms, effects, (*notes, *plan.notes), plan))


def named_arms(recipe: Recipe, texts: str | Sequence[str]) -> Plan:
    """The recipe, and arms that differ from it in what a user writes; the grammar is that of `read_arms`.

    Args:
        recipe: what arms are compared with.
        texts: `a; b; c`, or several such texts.

    Raises:
        NetwrightError: as `read_arms`, or an arm that cannot be trained.
    """
    arms = tuple(read_arms(recipe, texts))
    effects = tuple(Effect(arm.name, {arm.name: 1.0, BASELINE: -1.0}) for arm in arms)
    return _checked(recipe, Plan("arms", Arm(BASELINE, recipe), arms, effects, tuple(told(recipe, arms))))


def read_factors(recipe: Recipe, factors: str | Sequence[str] | None = None) -> tuple[Factor, ...]:
    """What is switched on and off: `mixup(alpha=0.4), ema, schedule`.

    Options that are not given are the recipe's.

    Args:
        recipe: whose tricks and schedule they are by default; a schedule that is constant has no other level.
        factors: as text with commas, or as a list of such.

    Raises:
        NetwrightError: none, one that does not exist or is given twice, or a schedule that is constant.
    """
    constant = Spec.parse(recipe.schedule).name == CONSTANT
    if factors is None:
        factors = [*recipe.tricks, *([] if constant else [SCHEDULE])]
        if not factors:
            problem = f"recipe {recipe.name} has nothing to leave out: no tricks, and a constant schedule"
            raise NetwrightError(problem, f"say what to compare, as in {EXAMPLE}")
    texts = [factors] if isinstance(factors, str) else factors
    found = [_factor(recipe, part) for text in texts for part in parted(text, ",") if part]
    if not found:
        raise NetwrightError("no tricks were given", f"give some, as in {EXAMPLE}")
    names = [factor.name for factor in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        fix = 'give each once; levels of one trick are arms: --arms "mixup(alpha=0.1); mixup(alpha=1.0)"'
        raise NetwrightError(f"given twice: {listed(twice)}", fix)
    return tuple(found)


def describe(plan: Plan) -> list[str]:
    """Lines that say, before anything is trained, what will be: arms, effects, and runs for each seed."""
    of = f" {plan.design.title}" if plan.design else ""
    counts = f"{_counted(len(plan.effects), 'effect')}, {_counted(plan.trainings, 'training')} for each seed"
    recipe = plan.baseline.recipe
    lines = [f"{TITLES[plan.kind]}{of}, recipe {recipe.name}: {counts}"]
    lines += _in_columns([(arm.name, _said(plan, arm)) for arm in plan.rows])
    lines.append("effects, above 0 where it helps:")
    if plan.design is None:
        lines += _in_columns([(effect.name, _weighed(effect)) for effect in plan.effects])
    else:
        lines += _of_contrasts(plan.effects, plan.design.runs // 2)
    return lines + [f"note: {note}" for note in plan.notes]


def _in_columns(pairs: Sequence[tuple[str, str]]) -> list[str]:
    width = min(WIDEST, max(len(name) for name, _ in pairs))
    lines = [f"  {name:<{width}}  {words}".rstrip() for name, words in pairs[:MOST_LINES]]
    return lines + ([f"  … ({len(pairs) - MOST_LINES} more)"] if len(pairs) > MOST_LINES else [])


def _said(plan: Plan, arm: Arm) -> str:
    """What is in the baseline, and how the others differ; a factorial's runs say by their names what is on."""
    if arm is plan.baseline:
        recipe = arm.recipe
        return "; ".join([listed(recipe.tricks) or "no tricks", recipe.optimizer, recipe.schedule])
    return "" if plan.design else ", ".join(arm.changes) or "nothing is changed"


def _weighed(effect: Effect) -> str:
    added, taken = sorted(effect.weights, key=effect.weights.__getitem__, reverse=True)
    return f"'{added}' less '{taken}'"


def _of_contrasts(effects: Sequence[Effect], half: int) -> list[str]:
    """Those that can be told alone on one line, and of the others what each is mixed up with."""
    lines = [f"  each is the mean of {half} runs less the mean of {half}"]
    if clear := [effect.name for effect in effects if not effect.aliases]:
        lines.append(f"  {', '.join(clear)}")
    mixed = [(effect.name, f"mixed up with {listed(effect.aliases)}") for effect in effects if effect.aliases]
    return lines + (_in_columns(mixed) if mixed else [])


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _arm(name: str, base: Recipe, recipe: Recipe) -> Arm:
    return Arm(name, recipe, differences(base, recipe))


def _effect(plan: Design, contrast: Contrast) -> Effect:
    """Means of half of the runs less means of the others."""
    weights = {name: sign * 2 / plan.runs for name, sign in zip(plan.names, contrast.signs, strict=True)}
    return Effect(contrast.name, weights, len(contrast.factors), contrast.aliases)


def _factor(recipe: Recipe, text: str) -> Factor:
    spec = Spec.parse(text)
    if spec.name == SCHEDULE:
        if spec.options or Spec.parse(recipe.schedule).name == CONSTANT:
            problem = f"{spec} takes no options" if spec.options else "the schedule is constant already"
            raise NetwrightError(problem, "name the schedule that is compared with a constant rate: --schedule cosine")
        return Factor(SCHEDULE, recipe.schedule)
    refuse_unknown_trick(spec, SCHEDULE)
    own = next((known for known in map(Spec.parse, recipe.tricks) if known.name == spec.name), spec)
    return Factor(spec.name, str(spec if spec.options else own))


def _whole(recipe: Recipe, factors: Iterable[Factor]) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with every factor, and what that adds to it."""
    factors = tuple(factors)
    present = {Spec.parse(text).name: text for text in recipe.tricks}
    whole = recipe
    for factor in factors:
        whole = factor.into(whole) if present.get(factor.name) != factor.on and factor.name != SCHEDULE else whole
    added = [factor.on for factor in factors if factor.name not in present and factor.name != SCHEDULE]
    other = [f"{f.on} instead of {present[f.name]}" for f in factors if present.get(f.name, f.on) != f.on]
    notes = [f"added, since recipe {recipe.name} does not have it: {', '.join(added)}"] if added else []
    notes += [f"recipe {recipe.name} is taken with {text}" for text in other]
    return whole, (*notes, *_of_schedule(factors))


def _of_schedule(factors: Iterable[Factor]) -> tuple[str, ...]:
    """A warm-up goes with its schedule."""
    on = next((factor.on for factor in factors if factor.name == SCHEDULE), None)
    if on is None:
        return ()
    also = ", so its warm-up goes with it" if "warmup" in Spec.parse(on).options else ""
    return (f"schedule: {on} against a constant rate{also}",)


def _checked(recipe: Recipe, plan: Plan) -> Plan:
    """The plan made from a recipe, with a note on arms that are the same.

    Raises:
        NetwrightError: an arm that cannot be trained, and why.
    """
    kept = [Spec.parse(text).name for text in recipe.tricks]
    for arm in plan.rows:
        try:
            refuse_unfit(arm.recipe, kept)
        except NetwrightError as error:
            problem = error.problem if arm is plan.baseline else f"arm '{arm.name}': {error.problem}"
            raise NetwrightError(problem, error.fix) from None
    same: dict[str, list[str]] = {}
    for arm in plan.rows:
        same.setdefault(arm.recipe.key, []).append(f"'{arm.name}'")
    notes = [
        f"{' and '.join(names)} are the same recipe: trained once, and there is no difference between them"
        for names in same.values()
        if len(names) > 1
    ]
    return replace(plan, notes=(*plan.notes, *notes))
