"""Plans: which recipes are trained, what their runs are to tell, and what is refused before anything is trained."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.lab.plan import (
    Effect,
    Plan,
    describe,
    factorial,
    leave_one_out,
    named_arms,
    one_at_a_time,
    read_factors,
)
from netwright.recipes._recipe import Recipe, recipe

DIGITS = recipe("digits")
MODERN = recipe("modern", data="photos")
KINDS: dict[str, Callable[[Recipe], Plan]] = {
    "leave_one_out": leave_one_out,
    "one_at_a_time": one_at_a_time,
    "factorial": lambda base: factorial(base, "ema, no_decay, schedule"),
    "arms": lambda base: named_arms(base, "mixup(alpha=8); without ema; lr=0.01"),
}


def names(found: Recipe) -> list[str]:
    return [Spec.parse(text).name for text in found.tricks]


def keys(plan: Plan) -> dict[str, str]:
    return {arm.name: arm.recipe.key for arm in plan.rows}


@pytest.mark.parametrize("base", [DIGITS, MODERN], ids=lambda base: base.name)
@pytest.mark.parametrize("kind", KINDS)
def test_every_plan_holds_together(kind: str, base: Recipe) -> None:
    plan = KINDS[kind](base)
    arms = [arm.name for arm in plan.rows]
    assert plan.kind == kind
    assert len(set(arms)) == len(arms) == plan.trainings == len(set(keys(plan).values()))
    assert len({effect.name for effect in plan.effects}) == len(plan.effects)
    for effect in plan.effects:
        assert set(effect.weights) <= set(arms)
        assert sum(effect.weights.values()) == 0
        assert sum(abs(weight) for weight in effect.weights.values()) == 2
    for arm in plan.rows:
        assert arm.recipe.data == base.data
        assert arm.recipe.seed == base.seed
        assert bool(arm.changes) or arm is plan.baseline
    lines = describe(plan)
    assert all(any(name in line for line in lines) for name in (*arms, *(effect.name for effect in plan.effects)))
    assert f"{plan.trainings} trainings for each seed" in lines[0]
    assert [line for line in lines if line.startswith("note: ")] == [f"note: {note}" for note in plan.notes]


class TestLeaveOneOut:
    def test_by_default_takes_each_trick_and_the_schedule(self) -> None:
        plan = leave_one_out(DIGITS)
        assert plan.baseline.recipe is DIGITS
        assert keys(plan) == {
            "baseline": DIGITS.key,
            **{f"without {name}": DIGITS.without(name).key for name in ("crop", "ema", "no_decay", "rotate")},
            "without schedule": DIGITS.changed(schedule="constant").key,
        }
        assert plan.effects[1] == Effect("ema", {"baseline": 1.0, "without ema": -1.0})
        assert plan.arms[-1].changes == ("schedule constant instead of one_cycle(warmup=0.2)",)
        assert plan.notes == ("schedule: one_cycle(warmup=0.2) against a constant rate, so its warm-up goes with it",)

    def test_a_trick_that_is_not_there_is_added_and_that_is_said(self) -> None:
        plan = leave_one_out(DIGITS, "mixup(alpha=0.4), ema")
        whole = DIGITS.with_("mixup(alpha=0.4)")
        assert keys(plan) == {
            "baseline": whole.key,
            "without mixup": DIGITS.key,
            "without ema": whole.without("ema").key,
        }
        assert plan.notes == ("added, since recipe digits does not have it: mixup(alpha=0.4)",)
        assert plan.baseline.changes == ("with mixup(alpha=0.4)",)

    def test_other_options_take_the_place_of_the_recipe_s(self) -> None:
        plan = leave_one_out(DIGITS, ["ema(decay=0.9)", "crop"])
        assert plan.baseline.recipe.key == DIGITS.with_("ema(decay=0.9)").key
        assert plan.notes == ("recipe digits is taken with ema(decay=0.9) instead of ema(decay=0.98)",)
        assert "crop(pad=3)" in plan.baseline.recipe.tricks

    def test_a_constant_schedule_is_no_factor(self) -> None:
        plan = leave_one_out(DIGITS.changed(schedule="constant(warmup=0.1)"))
        assert [effect.name for effect in plan.effects] == ["crop", "ema", "no_decay", "rotate"]

    def test_refuses_tricks_that_cannot_be_together(self) -> None:
        with pytest.raises(NetwrightError, match="swa cannot be combined with ema") as told:
            leave_one_out(DIGITS, "swa")
        assert '--without ema; or compare them: --arms "without ema + swa"' in told.value.fix
        with pytest.raises(NetwrightError, match="swa cannot be combined with ema") as told:
            leave_one_out(DIGITS.without("ema"), "swa, ema")
        assert "--one-at-a-time" in told.value.fix


class TestOneAtATime:
    def test_compares_each_trick_alone_with_none(self) -> None:
        plan = one_at_a_time(MODERN)
        bare = plan.baseline.recipe
        assert (bare.tricks, bare.schedule) == ((), "constant")
        assert {arm.name: arm.recipe.tricks for arm in plan.arms[:2]} == {
            "with brightness": ("brightness",),
            "with ema": ("ema(decay=0.99)",),
        }
        assert (plan.arms[-1].recipe.tricks, plan.arms[-1].recipe.schedule) == ((), MODERN.schedule)
        assert plan.effects[1] == Effect("ema", {"with ema": 1.0, "baseline": -1.0})

    def test_a_trick_that_is_not_there_is_compared_with_the_recipe_without_it(self) -> None:
        plan = one_at_a_time(DIGITS, "mixup(alpha=0.4)")
        assert keys(plan) == {"baseline": DIGITS.key, "with mixup": DIGITS.with_("mixup(alpha=0.4)").key}
        assert not plan.notes

    def test_what_is_not_asked_for_stays(self) -> None:
        plan = one_at_a_time(DIGITS, "ema, mixup")
        assert names(plan.baseline.recipe) == ["crop", "no_decay", "rotate"]
        assert plan.baseline.recipe.schedule == DIGITS.schedule

    def test_tricks_that_exclude_each_other_are_compared(self) -> None:
        plan = one_at_a_time(DIGITS, "swa, ema")
        assert [arm.recipe.tricks for arm in plan.arms] == [
            (*DIGITS.without("ema").tricks, "swa"),
            DIGITS.tricks,
        ]

    def test_but_not_with_what_stays(self) -> None:
        with pytest.raises(NetwrightError, match="arm 'with swa': swa cannot be combined with ema"):
            one_at_a_time(DIGITS, "swa")


class TestFactorial:
    def test_switches_what_the_run_s_name_says(self) -> None:
        plan = factorial(DIGITS, "mixup, ema, schedule")
        assert {arm.name for arm in plan.rows} == {
            "none", "mixup", "ema", "schedule", "mixup+ema", "mixup+schedule", "ema+schedule", "mixup+ema+schedule",
        }  # fmt: skip
        for arm in plan.rows:
            on = arm.name.split("+")
            assert ("mixup" in names(arm.recipe), "ema" in names(arm.recipe)) == ("mixup" in on, "ema" in on)
            assert (arm.recipe.schedule == DIGITS.schedule) == ("schedule" in on)
            assert {"crop", "no_decay", "rotate"} <= set(names(arm.recipe))
        assert plan.baseline.name == "mixup+ema+schedule"
        assert plan.baseline.recipe.key == DIGITS.with_("mixup").key

    def test_effects_are_contrasts(self) -> None:
        plan = factorial(DIGITS, "crop, ema")
        effects = {effect.name: effect for effect in plan.effects}
        assert effects["crop"].weights == {"none": -0.5, "crop": 0.5, "ema": -0.5, "crop+ema": 0.5}
        assert effects["crop × ema"].weights == {"none": 0.5, "crop": -0.5, "ema": -0.5, "crop+ema": 0.5}
        assert [effect.order for effect in plan.effects] == [1, 1, 2]

    @pytest.mark.parametrize(("fraction", "runs"), [("full", 64), ("2^(6-1)", 32), ("2^(6-2)", 16), ("2^(6-3)", 8)])
    def test_fractions_of_six_tricks(self, fraction: str, runs: int) -> None:
        plan = factorial(MODERN, list(MODERN.tricks), fraction)
        assert plan.trainings == runs
        assert plan.design is not None
        assert plan.design.factors == tuple(names(MODERN))
        assert plan.baseline.recipe is MODERN

    def test_aliases_are_listed_and_told(self) -> None:
        plan = factorial(MODERN, list(MODERN.tricks), "2^(6-2)")
        effects = {effect.name: effect for effect in plan.effects}
        assert len(effects) == 6 + 7
        assert all(not effects[name].aliases for name in names(MODERN))
        assert effects["brightness × ema"].aliases == ("flip × no_decay", "label_smoothing × translate")
        assert "2^(6-2) has resolution IV" in "\n".join(describe(plan))
        assert any("mixed up with flip × no_decay, label_smoothing × translate" in line for line in describe(plan))

    def test_weights_recover_what_was_planted(self) -> None:
        plan = factorial(DIGITS, None, "2^(5-1)")
        planted = {"crop": 3.0, "ema": -1.5, "rotate": 0.25}
        together = 0.5  # of crop and ema
        means = {
            arm.name: 70
            + sum(value * (name in arm.name.split("+")) for name, value in planted.items())
            + together * ("crop" in arm.name.split("+") and "ema" in arm.name.split("+"))
            for arm in plan.rows
        }
        seen = {e.name: sum(weight * means[name] for name, weight in e.weights.items()) for e in plan.effects}
        expected = {"crop": 3.25, "ema": -1.25, "rotate": 0.25, "crop × ema": 0.25}
        assert seen == {name: expected.get(name, 0.0) for name in seen}

    def test_more_runs_than_lines(self) -> None:
        plan = factorial(MODERN)
        lines = describe(plan)
        assert plan.trainings == 128
        assert "  … (96 more)" in lines
        assert max(len(line) for line in lines) < 700

    def test_mistakes(self) -> None:
        with pytest.raises(NetwrightError, match="2\\^\\(6-2\\) is for 6 factors, and there are 5"):
            factorial(DIGITS, None, "2^(6-2)")
        with pytest.raises(NetwrightError, match="a factorial of 1 factor"):
            factorial(DIGITS, "ema")
        with pytest.raises(NetwrightError, match="cannot be combined"):
            factorial(DIGITS, "ema, swa")


class TestNamedArms:
    def test_are_compared_with_the_recipe(self) -> None:
        plan = named_arms(DIGITS, ["mixup(alpha=8); slow: lr=0.001", "without ema"])
        assert plan.baseline.recipe is DIGITS
        assert [effect.weights for effect in plan.effects] == [
            {name: 1.0, "baseline": -1.0} for name in ("mixup(alpha=8)", "slow", "without ema")
        ]

    def test_the_same_recipe_twice_is_trained_once(self) -> None:
        plan = named_arms(DIGITS, "a: ema(decay=0.98); b: lr=0.05; c: lr=1; d: lr=1.0")
        assert plan.trainings == 2
        assert [arm.name for arm in plan.arms] == ["a", "b", "c", "d"]
        assert "'baseline' and 'a' and 'b' are the same recipe" in plan.notes[0]
        assert "'c' and 'd' are the same recipe" in plan.notes[1]
        assert any(line.split() == ["a", "nothing", "is", "changed"] for line in describe(plan))

    def test_says_what_arms_see_otherwise_or_how_long_they_train(self) -> None:
        told = named_arms(DIGITS, "image_size=16; model=mlp; epochs=3").notes
        assert "arms differ in image_size: they are measured on the same pictures, seen otherwise" in told
        assert any("first weights are shared only where" in note for note in told)
        assert any("--equal steps or time" in note for note in told)

    def test_says_which_arm_cannot_be_trained(self) -> None:
        with pytest.raises(NetwrightError, match="arm 'b': unknown option of mixup 'alfa'"):
            named_arms(DIGITS, "a: mixup; b: mixup(alfa=1)")


class TestFactors:
    def test_options_that_are_not_given_are_the_recipe_s(self) -> None:
        found = read_factors(DIGITS, "ema, mixup(alpha=0.4), schedule")
        assert [(factor.name, factor.on) for factor in found] == [
            ("ema", "ema(decay=0.98)"),
            ("mixup", "mixup(alpha=0.4)"),
            ("schedule", "one_cycle(warmup=0.2)"),
        ]

    def test_commas_in_brackets_do_not_part(self) -> None:
        assert [f.name for f in read_factors(DIGITS, ["crop(pad=2), flip", "ema"])] == ["crop", "flip", "ema"]
        assert len(read_factors(DIGITS, "random_erasing(area=(0.02, 0.3)), flip")) == 2

    @pytest.mark.parametrize(
        ("text", "problem", "fix"),
        [
            ("", "no tricks were given", "--tricks"),
            ("mixpu", "unknown trick 'mixpu'", "did you mean 'mixup'"),
            ("shedule", "unknown trick 'shedule'", "did you mean 'schedule'"),
            ("cosine", "it belongs to schedule=", '--arms "schedule=cosine"'),
            ("ema, ema(decay=0.9)", "given twice: ema", "--arms"),
            ("schedule(warmup=0.1)", "takes no options", "--schedule"),
            ("ema; crop", "cannot read 'ema; crop'", ""),
            ("mixup(alpha=", "no ) at its end", "close it"),
        ],
    )
    def test_mistakes(self, text: str, problem: str, fix: str) -> None:
        with pytest.raises(NetwrightError) as told:
            read_factors(DIGITS, text)
        assert problem in told.value.problem
        assert fix in told.value.fix

    def test_a_constant_schedule_cannot_be_chosen(self) -> None:
        with pytest.raises(NetwrightError, match="the schedule is constant already"):
            read_factors(DIGITS.changed(schedule="constant"), "schedule")

    @pytest.mark.parametrize("plan", [leave_one_out, one_at_a_time, factorial])
    def test_a_recipe_without_any(self, plan: Callable[[Recipe], Plan]) -> None:
        with pytest.raises(NetwrightError, match="has nothing to leave out") as told:
            plan(Recipe(schedule="constant"))
        assert "--tricks" in told.value.fix


@settings(max_examples=15, deadline=None)
@given(
    tricks=st.lists(
        st.sampled_from(["flip", "mixup", "cutout", "ema", "no_decay", "schedule"]), unique=True, min_size=2, max_size=4
    ),
    base=st.sampled_from([DIGITS, MODERN]),
)
def test_plans_switch_their_factors_and_nothing_else(tricks: list[str], base: Recipe) -> None:
    for plan in (leave_one_out(base, tricks), one_at_a_time(base, tricks), factorial(base, tricks)):
        assert [effect.name for effect in plan.effects if effect.order == 1] == tricks
        for arm in plan.rows:
            assert arm.recipe.model_dump(exclude={"tricks", "schedule"}) == base.model_dump(
                exclude={"tricks", "schedule"}
            )
            assert set(names(arm.recipe)) - set(tricks) == set(names(base)) - set(tricks)
            assert arm.recipe.schedule in (base.schedule, "constant")


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys, netwright.lab.plan, netwright.lab.arms, netwright.lab.factorial\n"
        "from netwright.recipes._recipe import recipe\n"
        "netwright.lab.plan.read_factors(recipe('modern'), 'mixup, schedule')\n"
        "netwright.lab.arms.read_arms(recipe('modern'), 'mixup(alpha=8); lr=0.1')\n"
        "sys.exit(', '.join({'torch', 'matplotlib', 'sqlalchemy'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
