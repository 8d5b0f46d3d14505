"""Analysis of variance: closed forms, worked contrasts, scipy's special cases, and how often it errs where it may."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from netwright.core.errors import NetwrightError
from netwright.lab.anova import (
    Analysis,
    analyse,
    cell_intervals,
    compare,
    crooked,
    noncentral,
    of_pictures,
    permuted,
    uneven,
    with_pictures,
)

ROUNDS = 600
FACTORS = ("blocks", "layers")


def noise(share: float, rounds: int = ROUNDS) -> float:
    """Three standard deviations of a share that was counted so often."""
    return 3 * (share * (1 - share) / rounds) ** 0.5


def drawn(seed: int, *shape: int, effect: np.ndarray | float = 0.0, spread: float = 1.0) -> np.ndarray:
    """Runs with an effect of their cell, one of their seed, and an error of 1. Last axis: seeds."""
    draw = np.random.default_rng((3, seed))
    return draw.standard_normal(shape) + spread * draw.standard_normal(shape[-1]) + effect


def by_hand() -> np.ndarray:
    """2 x 2 cells, 2 seeds; what follows from it was worked out on paper, below."""
    return np.array([[[10.0, 12.0], [14.0, 20.0]], [[13.0, 11.0], [23.0, 25.0]]])


def test_a_table_worked_out_by_hand() -> None:
    # Cell means 11, 17; 12, 24: grand mean 16; rows 14, 18; columns 11.5, 20.5; seeds 15, 17.
    found = analyse(by_hand(), FACTORS)
    squares = {source.name: source.squares for source in found.sources}
    assert squares["blocks"] == pytest.approx(4 * (2**2 + 2**2))  # 32
    assert squares["layers"] == pytest.approx(4 * (4.5**2 + 4.5**2))  # 162
    # Left of the cell means: 11-14-11.5+16 = 1.5, and the same with other signs elsewhere.
    assert squares["blocks × layers"] == pytest.approx(2 * 4 * 1.5**2)  # 18
    assert squares["seeds"] == pytest.approx(4 * (1**2 + 1**2))  # 8
    # Within cells: seeds differ by 2, 6, -2, 2, on average by 2; what is left is 0, 4, -4, 0, half of it each way.
    assert squares["residual"] == pytest.approx(2 * (2**2 + 2**2))  # 16
    assert [source.df for source in found.sources] == [1, 1, 1, 1, 3]
    assert found.of("layers").f == pytest.approx(162 / (16 / 3))
    assert found.of("layers").eta == pytest.approx(162 / 236)
    # Partial ω²: (162 - 16/3) / (162 + (8 - 1) 16/3).
    assert found.of("layers").omega.value == pytest.approx((162 - 16 / 3) / (162 + 7 * 16 / 3))
    assert squares["blocks"] + squares["layers"] + 18 + 8 + 16 == pytest.approx(np.square(by_hand() - 16).sum())


def test_degrees_of_freedom_of_the_course() -> None:
    found = analyse(drawn(0, 3, 3, 3), FACTORS)
    assert [(source.name, source.df) for source in found.sources] == [
        ("blocks", 2),
        ("layers", 2),
        ("blocks × layers", 4),
        ("seeds", 2),
        ("residual", 16),
    ]


def contrasts(levels: int) -> np.ndarray:
    """Orthonormal columns that sum to 0: Helmert's. L L-1."""
    columns = np.array([[1.0] * place + [-place] + [0.0] * (levels - place - 1) for place in range(1, levels)]).T
    return columns / np.linalg.norm(columns, axis=0)


def test_sums_of_squares_are_those_of_orthogonal_contrasts() -> None:
    """Independently: each source's is the squared length of the data's projection on its contrasts."""
    values = drawn(1, 3, 4, 2, 5, effect=np.arange(12.0).reshape(3, 4, 1, 1))
    found = analyse(values, ("a", "b", "c"))
    assert sum(source.squares for source in found.sources) == pytest.approx(np.square(values - values.mean()).sum())
    columns = [(np.ones((levels, 1)) / levels**0.5, contrasts(levels)) for levels in values.shape]
    for size in (1, 2, 3):
        for chosen in combinations(range(3), size):
            base = np.ones((1, 1))
            for axis in range(4):
                base = np.kron(base, columns[axis][axis in chosen])
            source = found.of(" × ".join("abc"[axis] for axis in chosen))
            assert source.squares == pytest.approx(np.square(base.T @ values.ravel()).sum())
            assert source.df == base.shape[1]


def test_one_factor_with_two_levels_is_the_paired_t_test() -> None:
    values = drawn(2, 2, 6)
    found = analyse(values, ("arm",)).of("arm")
    t = stats.ttest_rel(values[0], values[1])
    assert found.f == pytest.approx(t.statistic**2)
    assert found.p == pytest.approx(t.pvalue)


def test_without_differences_between_seeds_it_is_one_way_analysis() -> None:
    """Where seeds have the same mean, f_oneway's sums of squares are ours, with more degrees of freedom."""
    values = drawn(4, 3, 5)
    values -= values.mean(0) - values.mean()
    found, one_way = analyse(values, ("arm",)), stats.f_oneway(*values)
    assert found.of("seeds").squares == pytest.approx(0, abs=1e-12)
    assert found.of("arm").f / 8 == pytest.approx(one_way.statistic / 12)


def test_what_a_seed_does_to_all_cells_changes_no_effect() -> None:
    values = drawn(5, 3, 3, 3)
    one, other = (analyse(each, FACTORS) for each in (values, values + np.array([0.0, 50.0, -20.0])))
    for name in (*FACTORS, "blocks × layers", "residual"):
        assert other.of(name).squares == pytest.approx(one.of(name).squares)
    assert other.of("seeds").squares > 1000


@pytest.fixture(scope="module")
def null() -> list[Analysis]:
    """Tables of what has no effect."""
    return [analyse(drawn(seed, 3, 3, 3), FACTORS) for seed in range(ROUNDS)]


def test_p_is_uniform_where_nothing_has_an_effect(null: list[Analysis]) -> None:
    for name in (*FACTORS, "blocks × layers"):
        p = np.array([each.of(name).p for each in null])
        assert stats.kstest(p, "uniform").pvalue > 0.001
        assert abs((p < 0.05).mean() - 0.05) <= noise(0.05)


def test_power_is_that_of_the_noncentral_f() -> None:
    effect = np.array([-0.6, 0.0, 0.6])[:, None, None]
    weight = 9 * float(np.square(effect).sum())
    wanted = stats.ncf.sf(stats.f.isf(0.05, 2, 16), 2, 16, weight)
    found = [analyse(drawn(seed, 3, 3, 3, effect=effect), FACTORS).of("blocks").p for seed in range(400)]
    assert abs(np.mean(np.array(found) < 0.05) - wanted) <= noise(wanted, 400)


@pytest.mark.parametrize("size", [0.0, 0.5, 2.0])
def test_effects_intervals_hold_the_truth_nine_times_in_ten(size: float) -> None:
    effect = size * np.array([-1.0, 0.0, 1.0])[:, None, None]
    weight = 9 * float(np.square(effect).sum())
    truth = weight / (weight + 27)
    held = 0
    for seed in range(300):
        found = analyse(drawn(seed, 3, 3, 3, effect=effect), FACTORS).of("blocks").omega
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    share = 0.95 if size == 0 else 0.9  # nothing lies below zero, so only one end can miss it
    assert abs(held / 300 - share) <= noise(share, 300)


def test_effects_intervals_leave_out_zero_just_where_p_does() -> None:
    seen = set()
    for seed in range(60):
        found = analyse(drawn(seed, 3, 3, 3, effect=np.array([0.0, 0.5, 1.0])[:, None, None]), FACTORS).of("blocks")
        assert (found.omega.low > 0) == (found.p < 0.05)
        seen.add(found.p < 0.05)
    assert seen == {True, False}


@pytest.mark.parametrize("f", [0.01, 1.0, 7.0, 500.0])
def test_bounds_of_the_noncentrality_are_where_tails_are(f: float) -> None:
    low, high = noncentral(f, 2, 16, 0.9)
    assert low == 0 or stats.ncf.sf(f, 2, 16, low) == pytest.approx(0.05, rel=1e-6)
    assert high == 0 or stats.ncf.cdf(f, 2, 16, high) == pytest.approx(0.05, rel=1e-6)
    assert (high == 0) == (stats.f.cdf(f, 2, 16) <= 0.05)


def test_levels_of_unpaired_runs_compare_as_scipys_tukey() -> None:
    """Where seeds have the same mean the sums are those of scipy's, which has more degrees of freedom."""
    values = drawn(6, 3, 5)
    values -= values.mean(0) - values.mean()
    theirs = stats.tukey_hsd(*values)
    found = compare(analyse(values, ("arm",)), "arm")
    assert [(each.level, each.other) for each in found] == [(1, 0), (2, 0), (2, 1)]
    for each in found:
        assert each.difference.value == pytest.approx(theirs.statistic[each.level, each.other])
        error = (np.square(values - values.mean(1, keepdims=True)).sum() / 8 / 5) ** 0.5
        q = abs(each.difference.value) / error
        assert each.p == pytest.approx(stats.studentized_range.sf(q, 3, 8))
        reach = each.difference.high - each.difference.value
        assert reach == pytest.approx(error * stats.studentized_range.ppf(0.95, 3, 8))


def test_two_levels_compare_as_students_t() -> None:
    values = drawn(7, 2, 3, 4)
    found = analyse(values, FACTORS)
    (only,) = compare(found, "blocks")
    assert only.p == pytest.approx(found.of("blocks").p)
    error = (found.of("residual").mean / 12) ** 0.5  # and that is the range of two
    assert only.p == pytest.approx(stats.studentized_range.sf(abs(only.difference.value) / error, 2, 15), rel=1e-5)
    assert only.difference.value == pytest.approx(values[1].mean() - values[0].mean())
    assert only.difference.n == 12


def test_all_of_a_factors_intervals_hold_together(null: list[Analysis]) -> None:
    """Means of levels differ by nothing, and the seeds do: in 95 of 100 tables no interval misses it."""
    # The reach is one multiple of the error in all tables, so that the slow quantile is wanted once.
    factor = stats.studentized_range.ppf(0.95, 3, 16)
    held = 0
    for seed, found in enumerate(null):
        error = (found.of("residual").mean / 9) ** 0.5
        held += np.ptp(found.means("layers")) <= factor * error
        if seed < 3:
            for each in compare(found, "layers"):
                assert each.difference.high - each.difference.value == pytest.approx(factor * error)
    assert abs(held / ROUNDS - 0.95) <= noise(0.95)


def test_what_pictures_add_is_added_once() -> None:
    """Seeds that agree on each picture leave its whole spread; noise of single pictures and seeds leaves nothing."""
    values = drawn(7, 2, 3, 4)
    (over_seeds,) = compare(analyse(values, FACTORS), "blocks")
    of_picture = np.random.default_rng(0).standard_normal(500)
    both = with_pictures(over_seeds, np.tile(of_picture, (4, 1)))
    assert both.variance == pytest.approx(over_seeds.variance + of_picture.var(ddof=1) / 500)
    assert both.difference.low < over_seeds.difference.low and both.p > over_seeds.p
    assert both.df > over_seeds.df
    draws = (np.random.default_rng((1, seed)).standard_normal((4, 100)) for seed in range(ROUNDS))
    added = np.array([of_pictures(each) for each in draws])
    # Without the cut at 0 the mean would be 0; with it, half a normal's: 0.4 of its deviation.
    assert added.mean() <= 0.5 * (2 / 99) ** 0.5 / 4 / 100


def test_with_other_pictures_as_well_it_errs_as_rarely_as_it_says() -> None:
    rounds, errs = 200, 0
    for seed in range(rounds):
        draw = np.random.default_rng((11, seed))
        of_seed, of_picture = draw.standard_normal((2, 3, 3, 1)), 5 * draw.standard_normal((2, 3, 1, 60))
        values = 0.5 * of_seed + of_picture + draw.standard_normal((2, 3, 3, 60))
        (found,) = compare(analyse(values.mean(-1), FACTORS), "blocks")
        errs += with_pictures(found, values[1].mean(0) - values[0].mean(0)).p < 0.05
    assert abs(errs / rounds - 0.05) <= noise(0.05, rounds)


def test_cells_intervals_are_of_the_pooled_error() -> None:
    values = drawn(8, 2, 3, 3)
    found = analyse(values, FACTORS)
    intervals = cell_intervals(found)
    assert [each.value for each in intervals] == pytest.approx(values.mean(-1).ravel().tolist())
    reach = stats.t.ppf(0.975, 10) * (found.of("residual").squares / 10 / 3) ** 0.5
    assert all(each.high - each.value == pytest.approx(reach) for each in intervals)


def test_shuffling_is_exact() -> None:
    """Two levels and four rows: 8 of 16 sign patterns with either sign, of which the most extreme two are seen."""
    values = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert abs(permuted(values, 0) - 2 / 16) <= noise(2 / 16, 9999)


def test_shuffling_errs_as_rarely_as_it_says_where_errors_are_crooked() -> None:
    rounds, p = 300, []
    for seed in range(rounds):
        draw = np.random.default_rng((9, seed))
        values = -40.0 * (draw.random((3, 3, 3)) < 0.15) + draw.standard_normal((3, 3, 3))  # some runs are dead
        p.append(permuted(values, 0, rounds=199, seed=seed))
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + noise(0.05, rounds)
    assert permuted(drawn(0, 3, 3, 3, effect=np.array([0.0, 5.0, 9.0])[:, None, None]), 0) < 0.001


def test_a_dead_run_is_seen_and_even_errors_seldom_are_blamed() -> None:
    values = drawn(10, 3, 3, 3, effect=50.0)
    values[2, 2, 1] = 10.0
    assert uneven(values) < 0.05 and crooked(values) < 0.001
    blamed = np.mean([uneven(drawn(seed, 3, 3, 3)) < 0.05 for seed in range(ROUNDS)])
    assert blamed <= 0.05 + noise(0.05)
    assert np.mean([crooked(drawn(seed, 3, 3, 3)) < 0.05 for seed in range(ROUNDS)]) <= 0.05 + noise(0.05)


def test_where_seeds_agree_wholly_nothing_can_be_tested() -> None:
    values = np.broadcast_to(np.arange(4.0).reshape(2, 2, 1), (2, 2, 3))
    found = analyse(values, FACTORS)
    assert found.of("blocks").f is None and found.of("blocks").p is None and found.of("blocks").omega is None
    assert found.of("blocks").eta == pytest.approx(0.8)
    assert np.isnan(compare(found, "blocks")[0].p)
    assert uneven(values) == crooked(values) == 1.0


def analysed(values: np.ndarray, factors: tuple[str, ...] = FACTORS) -> Analysis:
    return analyse(values, factors)


@pytest.mark.parametrize(
    ("values", "problem", "fix"),
    [
        (np.zeros((2, 2, 1)), "one seed", "--seeds 3"),
        (np.zeros((1, 2, 3)), "factor blocks has 1 level", "two or more"),
        (np.zeros((2, 3)), "2 axes, for 2 factors", "give 3 axes"),
        (
            np.where(np.arange(12).reshape(2, 2, 3) == 7, np.nan, 0.0),
            "blocks 1, layers 0 has no value for seed 1",
            "train",
        ),
    ],
)
def test_what_cannot_be_analysed_is_refused(values: np.ndarray, problem: str, fix: str) -> None:
    with pytest.raises(NetwrightError, match=problem) as error:
        analysed(values)
    assert fix in error.value.fix


def test_names_that_are_not_there_are_told() -> None:
    found = analysed(drawn(0, 2, 2, 2))
    with pytest.raises(NetwrightError) as error:
        compare(found, "layer")
    assert "did you mean 'layers'" in error.value.fix
    with pytest.raises(NetwrightError, match="unknown source of variance 'block'"):
        found.of("block")
