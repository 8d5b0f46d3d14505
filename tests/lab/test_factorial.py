"""Designs against what is published of them, contrasts against planted effects, Lenth against numbers done by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from netwright.core.errors import NetwrightError
from netwright.lab.factorial import LETTERS, MOST_RUNS, Design, design, designs, half_normal, lenth, two_way_table

# Resolution and number of words of length 3, 4, 5, ... of minimum aberration designs: Box, Hunter & Hunter, Statistics
# for Experimenters, 2005; Chen, Sun & Wu, A catalogue of two-level and three-level fractional factorial
# designs with small runs, International Statistical Review 61, 1993.
PUBLISHED = {
    (3, 1): (3, [1]),
    (4, 1): (4, [0, 1]),
    (5, 1): (5, [0, 0, 1]),
    (5, 2): (3, [2, 1]),
    (6, 1): (6, [0, 0, 0, 1]),
    (6, 2): (4, [0, 3]),
    (6, 3): (3, [4, 3]),
    (7, 2): (4, [0, 1, 2]),
    (7, 3): (4, [0, 7]),
    (7, 4): (3, [7, 7, 0, 0, 1]),
    (8, 2): (5, [0, 0, 2, 1]),
    (8, 3): (4, [0, 3, 4]),
    (8, 4): (4, [0, 14, 0, 0, 0, 1]),
    (9, 3): (4, [0, 1, 4, 2]),
    (9, 4): (4, [0, 6, 8, 0, 0, 1]),
    (9, 5): (3, [4, 14, 8, 0, 4, 1]),
    (10, 5): (4, [0, 10, 16, 0, 0, 5]),
    (11, 5): (4, [0, 4, 14, 8, 0, 3, 2]),
    (11, 6): (4, [0, 25, 0, 27, 0, 10, 0, 1]),
}
FRACTIONS = [(k, p) for k in range(2, 12) for p in range(k) if k < 1 << (k - p) <= 32 or (not p and k < 6)]


def made(k: int, p: int) -> Design:
    return design([f"f{at}" for at in range(k)], f"2^({k}-{p})" if p else "full")


def columns(rows: object) -> np.ndarray:
    """Runs × factors."""
    return np.array(rows)


def lengths_of(rows: np.ndarray) -> list[int]:
    """How many sets of 3, 4, ... factors have a product that never changes, by trying every set."""
    k = rows.shape[1]
    sets = (list(combinations(range(k), size)) for size in range(3, k + 1))
    return [sum(abs(rows[:, each].prod(1).sum()) == len(rows) for each in of_size) for of_size in sets]


@pytest.mark.parametrize(("k", "p"), PUBLISHED)
def test_designs_are_the_published_ones(k: int, p: int) -> None:
    resolution, words = PUBLISHED[k, p]
    found = made(k, p)
    assert found.resolution == resolution
    assert lengths_of(columns(found.rows)) == words + [0] * (k - 2 - len(words))
    assert len(found.rows) == found.runs == 2 ** (k - p)


@pytest.mark.parametrize(("k", "p"), [(4, 1), (5, 1), (5, 2), (6, 2), (6, 3), (7, 3), (7, 4)])
def test_no_other_products_confound_less(k: int, p: int) -> None:
    free = columns(list(product((-1, 1), repeat=k - p)))
    products = [free[:, each].prod(1) for size in range(2, k - p + 1) for each in combinations(range(k - p), size)]
    every = (np.column_stack([free, *chosen]) for chosen in combinations(products, p))
    assert min(map(lengths_of, every)) == lengths_of(columns(made(k, p).rows))


@pytest.mark.parametrize(("k", "p"), FRACTIONS)
def test_contrasts_are_orthogonal_and_balanced(k: int, p: int) -> None:
    found = made(k, p)
    signs = columns([contrast.signs for contrast in found.contrasts])
    np.testing.assert_array_equal(signs @ signs.T, found.runs * np.eye(len(signs), dtype=int))
    np.testing.assert_array_equal(signs.sum(1), 0)


@pytest.mark.parametrize(("k", "p"), FRACTIONS)
def test_aliases_are_exactly_the_effects_with_the_same_signs(k: int, p: int) -> None:
    found = made(k, p)
    rows = columns(found.rows)
    places = [each for size in (1, 2) for each in combinations(range(k), size)]
    by_signs: dict[tuple[int, ...], list[str]] = {}
    for each in places:
        by_signs.setdefault(tuple(rows[:, each].prod(1)), []).append(" × ".join(found.factors[at] for at in each))
    assert [(c.signs, [c.name, *c.aliases]) for c in found.contrasts] == list(by_signs.items())


@pytest.mark.parametrize(("k", "p"), FRACTIONS)
def test_runs_have_names_of_their_own_and_all_on_is_among_them(k: int, p: int) -> None:
    found = made(k, p)
    assert len(set(found.names)) == found.runs
    assert found.names[-1] == "+".join(found.factors)
    assert all((sign > 0) == (factor in name.split("+")) for name, row in zip(found.names, found.rows, strict=True)
               for factor, sign in zip(found.factors, row, strict=True))  # fmt: skip
    assert p or found.names[0] == "none"


class TestAFraction:
    def test_generators_and_relation_are_in_letters(self) -> None:
        found = made(6, 2)
        assert found.title == "2^(6-2)"
        assert found.generators == ("E = ABC", "F = ABD")
        assert found.relation == "I = ABCE = ABDF = CDEF"
        assert "resolution IV" in found.notes[0]
        assert "A f0, B f1" in found.notes[1]

    def test_a_full_factorial_has_none(self) -> None:
        found = made(3, 0)
        assert (found.title, found.resolution, found.relation, found.generators) == ("2^3", None, "", ())
        assert not found.notes
        assert found.rows[:3] == ((-1, -1, -1), (1, -1, -1), (-1, 1, -1))

    def test_json_has_the_contract(self) -> None:
        held = made(5, 1).to_json()
        assert {"runs", "factors", "generators", "resolution", "rows"} <= set(held)
        assert held["generators"] == ["E = ABCD"]
        assert len(held["rows"]) == held["runs"] == 16

    @pytest.mark.parametrize("text", ["2^(5-1)", "2^5-1", "2**(5-1)", " 2 ^ ( 5 - 1 ) "])
    def test_is_read_in_several_spellings(self, text: str) -> None:
        assert design("abcde", text).runs == 16

    @pytest.mark.parametrize("text", ["full", "2^5", "2^(5-0)"])
    def test_may_be_the_whole(self, text: str) -> None:
        assert design("abcde", text).runs == 32

    @pytest.mark.parametrize(
        ("factors", "text", "problem", "fix"),
        [
            ("abcde", "half", "cannot read the fraction 'half'", "full (32 runs), 2^(5-1) (16 runs), 2^(5-2) (8 runs)"),
            ("abcde", "3^5", "cannot read", "2^(5-1)"),
            ("abcde", "2^(6-2)", "for 6 factors, and there are 5: a, b, c, d, e", "or choose 6 with --tricks"),
            ("abcde", "2^(5-3)", "too few runs to tell 5 factors apart", "2^(5-2)"),
            ("abcde", "2^(5-9)", "too few runs", "2^(5-2)"),
            ("abcdefgh", "full", "256 runs for each seed", "2^(8-1) (128 runs)"),
            ("a", "full", "a factorial of 1 factor: a", "choose 2 to 11"),
            ("", "full", "a factorial of 0 factors: none", "choose 2 to 11"),
            ("abcdefghijkl", "full", "12 factors", "choose 2 to 11"),
        ],
    )
    def test_that_there_is_not_is_refused(self, factors: str, text: str, problem: str, fix: str) -> None:
        with pytest.raises(NetwrightError) as told:
            design(factors, text)
        assert problem in told.value.problem
        assert fix in told.value.fix

    @pytest.mark.parametrize("k", range(2, 12))
    def test_every_one_that_is_offered_can_be_had(self, k: int) -> None:
        for offered in designs(k)[-2:]:
            text, runs = offered.removesuffix(" runs)").split(" (")
            assert design(LETTERS[:k], text).runs == int(runs) <= MOST_RUNS


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_contrasts_recover_planted_effects_exactly(data: st.DataObject) -> None:
    k, p = data.draw(st.sampled_from([each for each in FRACTIONS if each[0] < 8]))
    found = made(k, p)
    quarters = st.integers(-40, 40).map(lambda whole: whole / 4)
    planted = {contrast.name: data.draw(quarters) for contrast in found.contrasts}
    rows = columns(found.rows)
    values = np.full(found.runs, data.draw(quarters))
    for name, effect in planted.items():
        values += effect / 2 * rows[:, [found.factors.index(factor) for factor in name.split(" × ")]].prod(1)
    seen = {c.name: float(np.dot(c.signs, values)) * 2 / found.runs for c in found.contrasts}
    assert seen == planted


def test_what_is_mixed_up_adds_up() -> None:
    found = design("abcd", "2^(4-1)")  # I = ABCD
    rows = columns(found.rows)
    mean = dict(zip(found.names, rows[:, [0, 1]].prod(1) + 2 * rows[:, [2, 3]].prod(1), strict=True))
    contrast = next(c for c in found.contrasts if c.name == "a × b")
    assert contrast.aliases == ("c × d",)
    assert sum(s * mean[n] for s, n in zip(contrast.signs, found.names, strict=True)) * 2 / found.runs == 2 * (1 + 2)


class TestHalfNormal:
    def test_quantiles_are_those_of_the_half_normal_distribution(self) -> None:
        found = half_normal({"a": -0.3, "b": 0.01, "c": 0.2, "d": -0.05})
        assert list(found) == ["b", "d", "c", "a"]
        np.testing.assert_allclose(list(found.values()), stats.halfnorm.ppf((np.arange(4) + 0.5) / 4), rtol=1e-12)

    @given(st.dictionaries(st.text(), st.floats(-1, 1), min_size=1, max_size=20))
    def test_larger_effects_have_larger_quantiles(self, effects: dict[str, float]) -> None:
        found = half_normal(effects)
        assert sorted(effects) == sorted(found)
        sizes = [abs(effects[name]) for name in found]
        assert sizes == sorted(sizes)
        assert list(found.values()) == sorted(found.values())

    def test_of_nothing_is_nothing(self) -> None:
        assert half_normal({}) == {}


class TestLenth:
    def test_by_hand(self) -> None:
        """The median of sizes is 4, so s0 = 6 and 30 is beyond 2.5 s0 = 15; the median of the rest is 3.5."""
        found = lenth([1, -2, 3, -4, 5, 6, -30])
        assert found.error == 1.5 * 3.5
        assert found.margin == pytest.approx(5.25 * stats.t.ppf(0.975, 7 / 3), rel=1e-9)
        assert found.simultaneous == pytest.approx(5.25 * stats.t.ppf((1 + 0.95 ** (1 / 7)) / 2, 7 / 3), rel=1e-9)

    @pytest.mark.parametrize(
        ("m", "margin", "simultaneous"), [(7, 3.764, 9.008), (15, 2.571, 5.219), (31, 2.218, 4.218)]
    )
    def test_multipliers_are_the_paper_s(self, m: int, margin: float, simultaneous: float) -> None:
        """As Lenth 1989 and textbooks after him table them, to three decimals."""
        found = lenth([1.0] * m)
        assert found.margin / found.error == pytest.approx(margin, abs=6e-4)
        assert found.simultaneous / found.error == pytest.approx(simultaneous, abs=6e-4)

    def test_effects_of_noise_stay_below_the_margin(self) -> None:
        """How often an effect of nothing is beyond its margin; Lenth's rule is known to be a little careful."""
        draw = np.random.default_rng(0)
        beyond = [abs(c) > lenth(noise).margin for noise in draw.normal(size=(800, 15)) for c in noise[:1]]
        assert 0.01 < np.mean(beyond) < 0.08  # 0.05 ± 4 binomial errors of 0.0077, and its lower end for its care

    def test_most_effects_exactly_nothing(self) -> None:
        found = lenth([0, 0, 0, 0, 1])
        assert (found.error, found.margin) == (0, 0)

    def test_no_effects(self) -> None:
        with pytest.raises(ValueError, match="no effects"):
            lenth([])


def test_two_way_tables_are_means_over_the_other_factors() -> None:
    found = design(["flip", "ema", "mixup"])
    means = {name: 10 * ("flip" in name) + 3 * ("ema" in name) + 0.5 * ("mixup" in name) for name in found.names}
    assert two_way_table(means, found, "flip", "ema") == ((0.25, 3.25), (10.25, 13.25))
    assert two_way_table(means, found, "ema", "flip") == ((0.25, 10.25), (3.25, 13.25))
