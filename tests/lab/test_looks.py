"""Alpha spending: what the looks add up to, and who gets the next seeds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from netwright.core.errors import NetwrightError
from netwright.lab.compare import Verdict, compare
from netwright.lab.looks import Spending, kept, next_seeds
from netwright.lab.power import fewest_seeds


class TestSpending:
    @pytest.mark.parametrize(
        "plan", [Spending(12), Spending(7, 0.1, effects=3), Spending(20, first=2, every=1), Spending(3)]
    )
    def test_all_looks_together_spend_alpha(self, plan: Spending) -> None:
        assert sum(plan.level(seeds) for seeds in range(1, 40)) == pytest.approx(plan.alpha)
        assert plan.looks[-1] == plan.most_seeds
        assert plan.spent(plan.most_seeds) == pytest.approx(plan.alpha)

    def test_it_spends_as_o_brien_and_fleming_would(self) -> None:
        """Lan & DeMets 1983: 2 - 2 Φ(z / √t)."""
        for seeds in (3, 6, 9, 12):
            expected = 2 * stats.norm.sf(stats.norm.isf(0.025) / (seeds / 12) ** 0.5)
            assert Spending(12).spent(seeds) == pytest.approx(expected)
        assert Spending(12).spent(6) == pytest.approx(0.0056, abs=1e-4)

    def test_a_look_gets_what_the_one_before_left(self) -> None:
        plan = Spending(12)
        assert plan.looks == (4, 6, 8, 10, 12)
        assert Spending(24).looks == (4, 8, 12, 16, 20, 24) and Spending(24, every=10).looks == (4, 14, 24)
        assert plan.level(8) == pytest.approx(plan.spent(8) - plan.spent(6))
        assert plan.level(8, spent=0.001) == pytest.approx(plan.spent(8) - 0.001)
        assert plan.level(7) == plan.level(13) == 0
        assert plan.level(8, spent=0.05) == 0

    def test_looks_at_which_sign_flips_can_find_nothing_spend_nothing(self) -> None:
        plan = Spending(16, effects=3, test="sign_flip")
        assert plan.looks[0] > 8
        for seeds in plan.looks:
            assert seeds >= fewest_seeds(3, plan.level(seeds))
        skipped = list(range(4, plan.looks[0], 2))
        assert all(plan.level(seeds) == 0 for seeds in skipped)
        assert plan.level(plan.looks[0]) == pytest.approx(plan.spent(plan.looks[0]))

    def test_the_next_look(self) -> None:
        plan = Spending(9)
        assert [plan.after(seeds) for seeds in (1, 4, 5, 8, 9)] == [4, 6, 6, 9, None]
        assert plan.levels({"a": 4, "b": 9}) == {"a": plan.level(4), "b": plan.level(9)}

    def test_a_plan_that_cannot_be_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match="at least 2 seeds"):
            Spending(1)
        with pytest.raises(NetwrightError, match="leave it at"):
            Spending(8, alpha=0)


def found(effects: dict[str, float], seeds: int = 4, sd: float = 0.004, pictures: int = 4000) -> dict[str, Verdict]:
    draw, arrays = np.random.default_rng(0), {}
    for name, effect in effects.items():
        luck = draw.permutation(np.linspace(-1, 1, seeds)) * sd
        wins = np.rint((effect + luck) * pictures).astype(int)
        differences = np.zeros((seeds, pictures))
        for row, won in zip(differences, wins, strict=True):
            # 40 lost whatever happens, on pictures of the seed's own.
            places = draw.permutation(pictures)
            row[places[:40]], row[places[40 : 80 + won]] = -1, 1
        arrays[name] = differences
    plan = Spending(12, effects=len(effects))
    return compare(arrays, levels=plan.levels(dict.fromkeys(effects, seeds)))


class TestNextSeeds:
    plan = Spending(12, effects=3)

    def test_what_is_resolved_gets_none_and_the_others_go_to_their_next_look(self) -> None:
        verdicts = found({"large": 0.1, "unsure": 0.012, "other": 0.009}, sd=0.005)
        assert verdicts["large"].verdict == "helps" and not verdicts["unsure"].resolved
        assert set(next_seeds(verdicts, dict.fromkeys(verdicts, 1.0), spending=self.plan).values()) == {2}
        assert "large" not in next_seeds(verdicts, dict.fromkeys(verdicts, 1.0), spending=self.plan)

    def test_a_budget_goes_to_what_resolves_most_for_its_seconds(self) -> None:
        verdicts = found({"unsure": 0.016, "between": 0.0095, "x": 0.1}, sd=0.008)
        costs = dict.fromkeys(verdicts, 10.0)
        assert list(next_seeds(verdicts, costs, spending=self.plan, budget=25.0)) == ["unsure"]
        dear = costs | {"unsure": 10_000.0}
        assert list(next_seeds(verdicts, dear, spending=self.plan, budget=25.0)) == ["between"]
        assert not next_seeds(verdicts, costs, spending=self.plan, budget=15.0)

    def test_what_pictures_limit_and_what_had_its_last_look_gets_none(self) -> None:
        few = np.zeros((4, 100))
        few[:, :12], few[:, 12:22] = 1, -1
        verdicts = compare({"few": few}, levels={"few": 0.01})
        assert verdicts["few"].limited_by == "pictures"
        assert not next_seeds(verdicts, {"few": 1.0}, spending=Spending(12))
        verdicts = found({"unsure": 0.012}, seeds=12, sd=0.03)
        assert not verdicts["unsure"].resolved
        assert not next_seeds(verdicts, {"unsure": 1.0}, spending=Spending(12))
        assert next_seeds(verdicts, {"unsure": 1.0}, spending=Spending(16)) == {"unsure": 2}

    def test_one_seed_gets_more_first(self) -> None:
        verdicts = found({"unsure": 0.012, "other": 0.009}, sd=0.005) | found({"new": 0.01}, seeds=1)
        assert next(iter(next_seeds(verdicts, dict.fromkeys(verdicts, 1.0), spending=self.plan))) == "new"

    def test_a_cost_that_is_not_known_is_an_error(self) -> None:
        verdicts = found({"unsure": 0.012})
        with pytest.raises(NetwrightError, match="costs is not known"):
            next_seeds(verdicts, {}, spending=self.plan)


class TestIdenticalRuns:
    def test_they_get_the_seeds_that_resolve_them(self) -> None:
        *before, last = self.run(Spending(24, effects=3)).items()
        assert last == (24, "no difference larger than 1 point")
        assert before == [(seeds, "not resolved") for seeds in (8, 12, 16, 20)]

    def test_they_get_none_where_no_planned_look_resolves_them(self) -> None:
        """Eleven looks leave the last too little for 385 pictures, whatever the seeds."""
        assert self.run(Spending(24, effects=3, every=2)) == {}

    @staticmethod
    def run(plan: Spending) -> dict[int, str]:
        """The verdicts of later looks, by seeds."""
        counts, said = dict.fromkeys("abc", plan.looks[0]), dict[int, str]()
        while True:
            verdicts = compare({name: np.zeros((count, 385)) for name, count in counts.items()}, spending=plan)
            more = next_seeds(verdicts, dict.fromkeys(counts, 1.0), spending=plan)
            if not more:
                return said
            assert verdicts["a"].n + (verdicts["a"].more_seeds or 0) in plan.looks
            counts = {name: count + more[name] for name, count in counts.items()}
            said[counts["a"]] = compare(
                {name: np.zeros((count, 385)) for name, count in counts.items()}, spending=plan
            )["a"].verdict

    def test_what_only_seems_limited_by_pictures_gets_seeds(self) -> None:
        draw = np.random.default_rng(3)
        values = np.zeros((4, 1000))
        values[:, :56], values[:, 56:90] = 1, -1
        values[:, 90:] = draw.choice([-1.0, 0.0, 1.0], size=(4, 910), p=[0.01, 0.98, 0.01])
        verdicts = compare({"it": values}, spending=Spending(12))
        assert not verdicts["it"].resolved and verdicts["it"].limited_by == "pictures"
        assert "hardly" in verdicts["it"].words
        assert next_seeds(verdicts, {"it": 1.0}, spending=Spending(12)) == {"it": 2}


class TestKept:
    early = found({"large": 0.1, "none": 0.0, "unsure": 0.012})["large"]
    late = replace(found({"large": 0.012, "none": 0.0, "unsure": 0.012}, seeds=6, sd=0.02)["large"], effect=0.004)

    def test_what_was_resolved_stays_so_with_the_newest_numbers(self) -> None:
        assert self.early.verdict == "helps" and self.late.verdict == "not resolved"
        (held,) = kept({"large": self.early}, {"large": self.late}).values()
        assert (held.verdict, held.p, held.test) == ("helps", self.early.p, self.early.test)
        assert (held.effect, held.both, held.n, held.by_seed) == (0.004, self.late.both, 6, self.late.by_seed)
        assert held.resolved_at == 4 and held.to_json()["resolved_at"] == 4 and held.more_seeds is None
        assert held.words.startswith("large helps: +0.40 points with 6 seeds (95 % from ")
        assert "; found with 4, p " in held.words
        (again,) = kept({"large": held}, {"large": replace(self.late, n=8)}).values()
        assert again.resolved_at == 4 and again.n == 8

    def test_the_newest_verdict_counts_where_it_resolves_or_denies(self) -> None:
        other = replace(self.late, effect=-0.004)
        assert kept({"x": self.early}, {"x": other}) == {"x": other}
        harms = replace(self.late, verdict="harms", effect=-0.02)
        assert kept({"x": self.early}, {"x": harms}) == {"x": harms}
        assert kept({}, {"x": self.late}) == kept({"x": self.late}, {"x": self.late}) == {"x": self.late}

    def test_no_difference_stays_while_the_effect_is_within_the_margin(self) -> None:
        none = replace(self.early, verdict="no difference larger than 1 point", p=0.5, p_equivalence=0.01, effect=0.0)
        (held,) = kept({"x": none}, {"x": self.late}).values()
        assert held.verdict == none.verdict and held.p_equivalence == 0.01
        assert "p = 0.01 by two one-sided tests, spent over looks" in held.words
        beyond = replace(self.late, effect=0.011)
        assert kept({"x": none}, {"x": beyond}) == {"x": beyond}
        assert kept({"x": none}, {"x": beyond}, margin=0.02)["x"].resolved
        assert kept({"x": none}, {"x": self.early})["x"].verdict == "helps"
        assert kept({"x": self.early}, {"x": replace(none, effect=0.002)})["x"].verdict == "helps"

    def test_the_same_seeds_again_are_no_earlier_look(self) -> None:
        (held,) = kept({"x": self.early}, {"x": replace(self.late, n=4)}).values()
        assert held.verdict == "helps" and held.resolved_at is None and "found with" not in held.words


def test_what_was_found_at_one_look_stays_found() -> None:
    """An effect that is resolved gets no more seeds, and the others' new seeds do not take it back."""
    early = found({"large": 0.1, "unsure": 0.012, "other": 0.0})
    assert early["large"].verdict == "helps"
    late = {name: np.zeros((8, 4000)) for name in ("unsure", "other")}
    draw = np.random.default_rng(1)
    for each in late.values():
        each[draw.random(each.shape) < 0.02] = 1
        each[draw.random(each.shape) < 0.02] = -1
    plan = Spending(12, effects=3)
    rows = np.zeros((4, 4000))
    rows[:, :400] = 1
    levels = plan.levels({"large": 4, "unsure": 8, "other": 8})
    again = compare({"large": rows, **late}, levels=levels)
    assert again["large"].verdict == "helps"
    assert not compare({"large": rows, **late}, levels=levels | {"large": 0.0})["large"].resolved
