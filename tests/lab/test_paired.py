"""Paired tests and intervals: scipy, published tables, brute force, and how often they hold the truth."""

from math import comb

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from netwright.lab.compare import holm
from netwright.lab.paired import bca, calibration, equivalent, mcnemar, pictures_needed, score, seeds_p, tango
from netwright.records.intervals import bootstrap_mean, resample
from netwright.report.calibration import calibration_error


def tables(n: int) -> list[tuple[int, int]]:
    return [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]


class TestMcnemar:
    def test_it_is_a_coins(self) -> None:
        for b, c in tables(24):
            expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
            assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)

    def test_published_tables(self) -> None:
        # Approval of a prime minister, Agresti, Categorical Data Analysis, 10.1.2: 150 and 86 of 1,600 changed sides.
        assert score(0, 150, 86, 1600) == pytest.approx(-4.17, abs=0.005)
        assert mcnemar(150, 86) < 1e-4
        # Airway hyper-responsiveness, Fagerland, Lydersen & Laake 2014: 1 and 7 of 21.
        assert mcnemar(1, 7) == pytest.approx(0.070, abs=5e-4)


class TestTango:
    def test_published_tables(self) -> None:
        assert tango(1, 7, 21).high == pytest.approx(0.517, abs=5e-4)
        assert score(0.026, 1, 7, 21) == pytest.approx(1.96, abs=0.005)  # the lower bound there; ours asks the exact p
        found = tango(150, 86, 1600)
        assert (found.value, found.low, found.high) == pytest.approx((-0.04, -0.059, -0.021), abs=5e-4)

    @pytest.mark.parametrize(("b", "c", "n", "difference"), [(3, 9, 40, -0.1), (0, 5, 20, 0.5), (7, 2, 15, 0.3)])
    def test_the_variance_is_that_of_the_likeliest_shares(self, b: int, c: int, n: int, difference: float) -> None:
        def against(share: float) -> float:
            rest = 1 - 2 * share - difference
            terms = [(c, share + difference), (b, share), (n - b - c, rest)]
            return -sum(seen * np.log(max(p, 1e-300)) for seen, p in terms if seen)

        bounds = (max(0.0, -difference), (1 - difference) / 2)
        share = float(minimize_scalar(against, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x)
        spread = (n * (2 * share + difference - difference**2)) ** 0.5
        assert score(difference, b, c, n) == pytest.approx((c - b - n * difference) / spread, rel=1e-4)

    def test_where_nothing_differs_it_has_a_closed_form(self) -> None:
        z = stats.norm.ppf(0.975) ** 2
        assert tango(0, 0, 100).high == pytest.approx(z / (100 + z), rel=1e-9)
        assert tango(0, 0, 100).low == -tango(0, 0, 100).high

    def test_it_agrees_with_p_and_turns_with_its_sides(self) -> None:
        for b, c in tables(13):
            found, turned = tango(b, c, 13), tango(c, b, 13)
            assert (found.low > 0 or found.high < 0) == (mcnemar(b, c) <= 0.05)
            assert -1 <= found.low <= found.value <= found.high <= 1
            assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-9)

    @pytest.mark.parametrize(("first", "second"), [(0.1, 0.1), (0.2, 0.1), (0.05, 0.15), (0.02, 0.02)])
    def test_it_holds_the_truth_as_often_as_it_says(self, first: float, second: float) -> None:
        """Not simulated: summed over every table that 60 pictures can give."""
        n, held = 60, 0.0
        for b, c in tables(n):
            chance = comb(n, b) * comb(n - b, c) * first**b * second**c * (1 - first - second) ** (n - b - c)
            if chance > 1e-9:
                found = tango(b, c, n)
                held += chance * (found.low <= second - first <= found.high)
        assert 0.94 <= held <= 1

    def test_equivalence_rejects_what_is_outside(self) -> None:
        found = tango(20, 22, 5000, confidence=0.90)
        edge = max(abs(found.low), abs(found.high))
        assert equivalent(20, 22, 5000, edge) == pytest.approx(0.05, abs=1e-6)
        assert equivalent(20, 22, 5000, edge / 2) > 0.05


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_so_many_pictures_find_it_four_times_in_five() -> None:
    draw = np.random.default_rng(0)
    n = pictures_needed(8, 16, 400)
    assert n is not None
    rounds = 4000
    drawn = draw.multinomial(n, [0.02, 0.04, 0.94], rounds)
    found = np.abs(drawn[:, 1] - drawn[:, 0]) / np.sqrt(drawn[:, 0] + drawn[:, 1]) > stats.norm.ppf(0.975)
    assert found.mean() == pytest.approx(
        0.8, abs=3 * (0.8 * 0.2 / rounds) ** 0.5 + 0.01
    )  # 0.01: it is an approximation
    assert pictures_needed(4, 4, 100) is None


class TestSeeds:
    def test_false_alarms_are_as_rare_as_said(self) -> None:
        rounds, alarms = 120, 0
        for number in range(rounds):
            draw = np.random.default_rng((3, number))
            by_seed = 0.4 * draw.standard_normal((2, 4, 1))
            odds = 1 + 2 * draw.standard_normal((1, 1, 80)) + by_seed
            one, other = (draw.random((2, 4, 80)) < 1 / (1 + np.exp(-odds))).astype(float)
            alarms += seeds_p(one - other, 0.01)[0] <= 0.05
        assert alarms / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5

    def test_a_clear_difference_is_found_and_a_small_one_is_equivalent(self) -> None:
        draw = np.random.default_rng(0)
        assert seeds_p((draw.random((5, 300)) < 0.2).astype(float), 0.01)[0] < 0.001
        p, outside = seeds_p((draw.random((5, 3000)) < 0.001).astype(float) * draw.choice([-1, 1], (5, 3000)), 0.01)
        assert p > 0.05 and outside < 0.05


class TestCalibration:
    @staticmethod
    def side(seed: int, seeds: int = 1, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.default_rng(seed)
        sure = draw.uniform(0.4, 1, (seeds, n))
        return sure, (draw.random((seeds, n)) < 0.9 * sure).astype(float)

    def test_it_is_the_reports(self) -> None:
        one, other = self.side(0), self.side(1)
        errors = [calibration_error(sure[0], right[0] > 0).value for sure, right in (one, other)]
        assert calibration(one).value == pytest.approx(errors[0])
        assert calibration(one, other).value == pytest.approx(errors[0] - errors[1])

    def test_left_out_one_by_one(self) -> None:
        """A mean's interval by the general way is the closed form's; a calibration error's by brute force."""
        values = np.random.default_rng(0).gamma(1, size=50)
        draws = resample(lambda rows: values[rows].mean(1), 50)
        without = (values.sum() - values) / 49
        expected, found = bootstrap_mean(values), bca(float(values.mean()), draws, without)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        from netwright.lab import paired

        sure, right = (each[0] for each in self.side(2, n=60))
        brute = [calibration_error(np.delete(sure, at), np.delete(right, at) > 0).value for at in range(60)]
        assert paired._without_each(right - sure, paired._places(sure)) == pytest.approx(brute)

    def test_it_is_paired(self) -> None:
        """The same answers on both sides differ in nothing, whatever pictures are drawn."""
        one = self.side(0)
        found = calibration(one, one)
        assert (found.low, found.value, found.high) == (0, 0, 0)
        sure, right = one
        nearly = calibration((np.clip(sure + 0.001, 0, 1), right), one)
        alone = calibration(self.side(1), one)
        assert nearly.high - nearly.low < (alone.high - alone.low) / 3

    def test_several_seeds_are_less_sure_than_their_pictures(self) -> None:
        one, other = self.side(0, 4), self.side(1, 4)
        found = calibration(one, other)
        assert found.method == "two_way" and found.low <= found.value <= found.high
        assert calibration(one).low >= 0
