"""What `--transfer auto` measured, in words: each way with its interval, what is picked, and what is odd."""

import math

from netwright.core.errors import listed
from netwright.lab.domain_shift import AS_WANTED, FAR, OWN_MOMENTS, WIDE, Condition, DomainShift
from netwright.lab.transfer_auto import Auto, Measured
from netwright.records.intervals import Interval

NAMES = {
    "features": "features (a linear probe)",
    "random_features": "random features (the control)",
    "finetune": "fine-tune, short",
}
OUT_OF_SCALE = 4.0


def words(found: Auto) -> list[str]:
    """Lines for a terminal."""
    return [*measured(found), "", *picked(found), *transfer(found), *odd(found), *skipped(found)]


def measured(found: Auto) -> list[str]:
    """On how much, and what each way reached."""
    plan, n = found.plan, len(found.features.correct)
    times = "once" if plan.parts == 1 else f"{plan.parts} times"
    lines = [
        f"measured on {n} of {plan.pictures} training and validation pictures, a {_part(plan.folds)} held out {times}"
        + (", a part of those there are" if plan.cut else "")
        + "; test pictures stay unseen",
        f"the fine-tune had {plan.epochs} of its {plan.full} epochs; {found.seconds:.0f} s in all",
    ]
    if found.probes_without:
        lines.append(f"all but the fine-tune went without {listed(found.probes_without)}, which would change pictures")
    ways = [found.features, found.random, found.finetune]
    return lines + [f"  {NAMES[each.way]:31}{each.accuracy.percent():>23}{each.seconds:>8.1f} s" for each in ways]


def picked(found: Auto) -> list[str]:
    """Which of the two, and why."""
    gap = f"fine-tune − features, on the same pictures: {points(found.difference)}"
    if not found.resolved and found.difference.high < 0:
        short = "of fewer pictures than there are" if found.plan.cut else "this short"
        return [
            f"{gap}: features are better than a fine-tune {short}",
            "  not resolved is what a whole one is worth; --transfer 'auto(budget=SECONDS)' measures longer",
            "  the cheaper is taken: features",
        ]
    if not found.resolved:
        return [f"{gap}: not resolved, so the cheaper is taken: features"]
    if found.way == "finetune":
        return [f"{gap}: the fine-tune is better and is taken"]
    return [f"{gap}: features are better and are taken"]


def transfer(found: Auto) -> list[str]:
    """Whether features are better than random ones, and if not, what may be."""
    gap = f"features − random features: {points(found.over_random)}"
    if found.transfers:
        return [gap]
    lines = [f"{gap}: these features transfer no better than random ones here"]
    if found.stages:
        best = max(found.stages, key=lambda each: each.accuracy.value)
        lines += [f"  on the map of {_stage(e)}: {e.accuracy.percent()} of {len(e.correct)}" for e in found.stages]
        lines += [_stage_advice(best, best.over(found.random))]
    return [*lines, "  else try weights learnt on pictures more like these, --transfer finetune, or --transfer scratch"]


def odd(found: Auto) -> list[str]:
    """What is odd about the pictures' statistics, and what mending them was measured to do."""
    shift = found.shift
    if shift is None or not (shift.inputs_differ or shift.norms_differ):
        return []
    lines = [_verdict(shift), *differences(shift)]
    for how, each in found.mended.items():
        gap = points(each.over(found.features))
        lines.append(f"  features with {how}: {each.accuracy.percent()} of {len(each.correct)}, {gap} more, paired")
    helps = [how for how, each in found.mended.items() if each.over(found.features).low > 0]
    if helps:
        best = max(helps, key=lambda how: found.mended[how].accuracy.value)
        return [*lines, f"  {best} helps: {_how(best)}"]
    return [*lines, "  mending them does not help features beyond doubt"] if found.mended else lines


def skipped(found: Auto) -> list[str]:
    """What was not looked into."""
    if not found.skipped:
        return []
    what = f"not measured for want of time: features with {' and of '.join(found.skipped)}"
    return [what, "  --transfer 'auto(budget=SECONDS)' measures longer"]


def differences(shift: DomainShift) -> list[str]:
    """Where statistics lie, and what saturates."""
    first = shift.conditions[0]
    mean, std = (", ".join(f"{number:.2f}" for number in values) for values in (first.mean, first.std))
    lines = [
        f"  {AS_WANTED}, the {shift.pictures} pictures looked at have mean {mean} and deviation {std}, not 0 and 1"
    ]
    if shift.norms_differ:
        lines.append(_norms(first))
    if (worst := shift.worst) is not None:
        stages = [shift.condition(name).stages for name in (AS_WANTED, worst.mended)]
        before, after = (next(stage for stage in each if stage.stage == worst.stage) for each in stages)
        lines += [
            f"  stage {worst.stage}: {before.flat_share.percent()} of values saturate, "
            f"{after.flat_share.percent()} with {worst.mended}",
            f"  units there that never answer: {before.dead} and {after.dead} of {worst.units}",
        ]
    if not 1 / OUT_OF_SCALE < shift.scale < OUT_OF_SCALE:
        lines.append(f"  values are {shift.scale:.3g} times as large as with {OWN_MOMENTS}")
    return lines


def _norms(first: Condition) -> str:
    """The stage whose batch norms are given what is furthest from their running statistics."""
    known = [(stage.stage, stage.shift, stage.log_ratio) for stage in first.stages if stage.shift and stage.log_ratio]
    place, shift, ratio = max(known, key=lambda each: max(each[1][0] / FAR, each[2][0] / (2 * math.log(WIDE))))
    return (
        f"  stage {place}: beside their running statistics, batch norms are given means {shift[0]:.2g} deviations away "
        f"and deviations {math.exp(ratio[0] / 2):.2g} times as wide or narrow (medians over channels)"
    )


def points(interval: Interval) -> str:
    """A difference of shares, in percentage points."""
    value, low, high = (f"{100 * number:+.1f}" for number in (interval.value, interval.low, interval.high))
    return f"{value} points [{low}, {high}]"


def _verdict(shift: DomainShift) -> str:
    if shift.saturates:
        return "the input statistics differ from the pretraining's, so that units saturate:"
    rule = f"more than {FAR:g} deviation, or {WIDE:g} times as wide or narrow"
    return f"the input statistics differ from the pretraining's ({rule}), but no more units saturate for it:"


def _how(name: str) -> str:
    if name == OWN_MOMENTS:
        return "bring the pictures to the brightness and contrast that the weights know, or fine-tune"
    return "statistics of batch norms should be these pictures'; a fine-tune brings that about"


def _stage_advice(best: Measured, gap: Interval) -> str:
    if gap.low > 0:
        return f"  try --transfer '{best.way}': {points(gap)} over random features, though it is the best of several"
    return "  no stage is better than random features beyond doubt"


def _stage(each: Measured) -> str:
    return "stage " + each.way.partition("=")[2].rstrip(")")


def _part(folds: int) -> str:
    return {2: "half", 3: "third", 4: "quarter", 5: "fifth"}.get(folds, f"{folds}th")
