"""The verdict on one effect: its numbers, and one sentence for users."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from netwright.lab._stat_intervals import COVERS
from netwright.records.intervals import Interval

HELPS, HARMS, NOT_RESOLVED = "helps", "harms", "not resolved"
EQUIVALENT = "no difference larger than {}"
TESTS = {"sign_flip": "sign flips", "t": "Student's t"}
POINTS, DECIBELS = "points", "dB"
MANY = 1000  # seeds that nobody will run
IF_SO = "if it is what it seems"


@dataclass(frozen=True)
class Verdict:
    """What was found of one effect. Numbers that cannot be known are NaN, and null in JSON.

    Attributes:
        name: of the effect.
        verdict: `helps`, `harms`, `no difference larger than M`, or `not resolved`.
        effect: mean difference, above 0 where it helps.
        both: its 95 % interval for other seeds and other pictures: the headline.
        seeds: for other seeds, on these pictures.
        pictures: for other pictures, with these seeds.
        p_raw: two-sided p of no effect, for seeds and pictures.
        p_seeds: for seeds alone.
        p: p_raw adjusted by Holm, and for looking repeatedly where that is done (`spent`).
        p_equivalence: of an effect as large as the margin, adjusted likewise.
        test: "sign_flip" or "t".
        n: seeds.
        by_seed: mean difference of each.
        d_z: effect over the seeds' standard deviation.
        same_sign: share of seeds with the sign of the effect.
        more_seeds: how many more would resolve it in 4 of 5 studies if it is what it seems, at a planned look where
            looks are planned; None if resolved, or if no number would.
        limited_by: "seeds" or "pictures", whichever leaves more uncertain.
        words: a sentence.
        sd_seeds: standard deviation of `by_seed`.
        sd_pictures_of_mean: standard error that pictures leave, with endless seeds.
        spent: what of alpha this look could spend (`looks.Spending.level`); None where only one look is taken.
        unit: of a hundredth: "points" of a share, or "dB" where 100 dB are one.
        resolved_at: seeds of the earlier look whose verdict, p, p_equivalence and test these are (`looks.kept`); all
            else is of the newest.
    """

    name: str
    verdict: str
    effect: float
    both: Interval
    seeds: Interval
    pictures: Interval
    p_raw: float
    p_seeds: float
    p: float
    p_equivalence: float
    test: str
    n: int
    by_seed: tuple[float, ...]
    d_z: float
    same_sign: float
    more_seeds: int | None
    limited_by: str
    words: str
    sd_seeds: float
    sd_pictures_of_mean: float
    spent: float | None = None
    resolved_at: int | None = None
    unit: str = POINTS

    @property
    def resolved(self) -> bool:
        """Whether more seeds are not needed."""
        return self.verdict != NOT_RESOLVED

    def to_json(self) -> dict[str, Any]:
        """As in `arms` of ablation.json."""
        parts = {name: getattr(self, name).to_json() for name in COVERS}
        rest = {key: value for key, value in asdict(self).items() if key not in COVERS}
        fields = rest | {"interval": [parts["both"]["low"], parts["both"]["high"]], "intervals": parts}
        fields["by_seed"] = list(self.by_seed)
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in fields.items()
        }


def in_words(verdict: Verdict, *, margin: float, effects: int) -> Verdict:
    """The same, with its sentence."""
    return replace(verdict, words=f"{_head(verdict)}{_figures(verdict, effects)}{_advice(verdict, margin)}.")


def points(share: float, unit: str = POINTS) -> str:
    """A share of pictures as points: `1 point`, `0.5 points`; or of 100 dB, `0.5 dB`."""
    number = f"{100 * share:g}"
    return f"{number} point" if (number, unit) == ("1", POINTS) else f"{number} {unit}"


def _head(verdict: Verdict) -> str:
    if verdict.verdict in (HELPS, HARMS):
        return f"{verdict.name} {verdict.verdict}: "
    if verdict.resolved:
        return f"{verdict.name} makes {verdict.verdict}: "
    return f"{verdict.name} is not resolved: "


def _figures(verdict: Verdict, effects: int) -> str:
    """`+1.2 points (95 % from +0.4 to +2.0, ...), p = 0.012 ...`."""
    if verdict.n == 0:
        return "no run of it has finished"
    if verdict.n == 1:
        low, high = (f"{100 * end:+.2f}" for end in (verdict.pictures.low, verdict.pictures.high))
        covered = f"95 % from {low} to {high} for {COVERS['pictures']}"
        effect = f"{100 * verdict.effect:+.2f} {verdict.unit}"
        return f"{effect} with one seed ({covered}), and one seed says nothing of another"
    low, high = (f"{100 * end:+.2f}" for end in (verdict.both.low, verdict.both.high))
    covered = f"95 % from {low} to {high} for {COVERS['both']}"
    return f"{100 * verdict.effect:+.2f} {verdict.unit} with {verdict.n} seeds ({covered}; {_tested(verdict, effects)})"


def _tested(verdict: Verdict, effects: int) -> str:
    """`p = 0.012 by Student's t, Holm over 6 effects`, and how looks came into it."""
    test = TESTS[verdict.test]
    if verdict.spent is not None and not verdict.resolved:
        over = f", over {effects} effects" if effects > 1 else ""
        alone = f"p {_p(verdict.p_raw)} by {test} before Holm and looks"
        if not verdict.spent:
            return f"{alone}, and no look was planned with {verdict.n}"
        return f"{alone}, of which this look may spend {verdict.spent:.2g}{over} (Lan & DeMets)"
    p = verdict.p
    if _equivalent(verdict):
        p, test = verdict.p_equivalence, "two one-sided tests"
    before = f"found with {verdict.resolved_at}, " if verdict.resolved_at else ""
    looks = "" if verdict.spent is None else ", spent over looks (Lan & DeMets)"
    many = f", Holm over {effects} effects" if effects > 1 else ""
    return f"{before}p {_p(p)} by {test}{looks}{many}"


def _advice(verdict: Verdict, margin: float) -> str:
    """What would resolve it, or how much it matters."""
    if verdict.verdict in (HELPS, HARMS):
        return (
            f", though by less than {points(margin, verdict.unit)}"
            if max(abs(verdict.both.low), abs(verdict.both.high)) < margin
            else ""
        )
    if verdict.resolved or not verdict.n:
        return ""
    if verdict.n == 1:
        return ": give more seeds"
    if verdict.more_seeds is None:
        if verdict.limited_by == "pictures":
            return f"; {IF_SO}, more seeds alone would hardly resolve it: test on more pictures"
        return f"; {IF_SO}, no look that is planned is likely to resolve it"
    if verdict.more_seeds > MANY:
        return f"; {IF_SO}, it would take more than {MANY} more seeds"
    plural = "" if verdict.more_seeds == 1 else "s"
    # Whoever adds seeds until something is found finds too much.
    fixed = ", their number fixed beforehand, or --until-resolved" if verdict.spent is None else ""
    return f"; {IF_SO}, about {verdict.more_seeds} more seed{plural} would resolve it{fixed}"


def _equivalent(verdict: Verdict) -> bool:
    return verdict.resolved and verdict.verdict not in (HELPS, HARMS)


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"
