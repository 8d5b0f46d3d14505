"""The Fréchet distance against its closed form, its interval against the truth, and what it refuses."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from netwright.core.errors import NetwrightError
from netwright.tasks._frechet import between_features, between_normals, frechet
from netwright.tasks._ssim import ssim


def features(n: int, seed: int, scale: float = 1.0, shift: float = 0.0, dimensions: int = 4) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).normal(size=(n, dimensions))


def test_normals_of_independent_features_have_a_closed_form() -> None:
    """Σ (m − m')² + (s − s')²."""
    m, s, other_m, other_s = np.array([[0.0, 1, -2], [1, 0.5, 3], [2, 1, -2], [2, 0.1, 3]])
    expected = ((m - other_m) ** 2 + (s - other_s) ** 2).sum()
    assert between_normals(m, np.diag(s**2), other_m, np.diag(other_s**2)) == pytest.approx(expected, rel=1e-12)


def test_by_features_and_by_covariances_and_by_scipy_it_is_the_same() -> None:
    mix = np.random.default_rng(5).normal(size=(6, 6))
    one, other = features(300, 0, dimensions=6) @ mix, features(200, 1, 0.5, 0.3, dimensions=6)
    means, covariances = [each.mean(0) for each in (one, other)], [np.cov(each.T) for each in (one, other)]
    root = sqrtm(covariances[0] @ covariances[1])
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    assert between_features(one, other) == pytest.approx(expected, rel=1e-9)
    assert between_normals(means[0], covariances[0], means[1], covariances[1]) == pytest.approx(expected, rel=1e-9)


def test_a_set_is_at_no_distance_from_itself_even_where_features_repeat() -> None:
    one = features(50, 0)
    doubled = np.concatenate([one, one, np.ones((50, 1))], 1)  # of rank four: eigenvalues round to below zero
    assert between_features(doubled, doubled) == pytest.approx(0, abs=1e-12)
    covariance = np.cov(doubled.T)
    assert between_normals(doubled.mean(0), covariance, doubled.mean(0), covariance) == pytest.approx(0, abs=1e-7)


def test_shifting_all_features_adds_the_square_of_the_way() -> None:
    one, other = features(80, 0), features(90, 1, 2.0)
    before = between_features(one, other - other.mean(0) + one.mean(0))
    after = between_features(one, other - other.mean(0) + one.mean(0) + 0.5)
    assert after - before == pytest.approx(4 * 0.25)


def test_the_interval_holds_the_truth_and_takes_the_bias_off() -> None:
    truth = 6 * 0.1**2 + 6 * 0.3**2
    found = [
        frechet(features(100, 2 * i, dimensions=6), features(100, 2 * i + 1, 1.3, 0.1, 6), resamples=60)
        for i in range(40)
    ]
    plain, corrected = np.mean([each.value for each in found]), np.mean([each.corrected for each in found])
    assert plain > truth + 0.05
    assert abs(corrected - truth) < abs(plain - truth) / 2
    held = sum(each.low <= truth <= each.high for each in found)
    assert held >= 33  # of 40 at 95 %: fewer than 33 in one of 1,400 cases
    assert all(each.low <= each.corrected <= each.high for each in found)


def test_without_resampling_there_is_no_interval() -> None:
    found = frechet(features(30, 0), features(40, 1), resamples=0)
    assert (
        found.value == found.corrected and np.isnan(found.low) and (found.n, found.m, found.dimensions) == (30, 40, 4)
    )


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (features(4, 0), features(40, 1), "4 features cannot be told from 4 pictures"),
        (features(40, 0), features(40, 0, dimensions=3), "have no Fréchet distance"),
        (features(40, 0) * np.nan, features(40, 0), "not finite"),
    ],
)
def test_what_means_nothing_is_refused(one: np.ndarray, other: np.ndarray, says: str) -> None:
    with pytest.raises(NetwrightError, match=says):
        frechet(one, other)


def test_what_is_no_covariance_is_refused() -> None:
    with pytest.raises(NetwrightError, match="none below zero"):
        between_normals(np.zeros(2), np.diag([1.0, -0.1]), np.zeros(2), np.eye(2))


def test_ssim_is_one_of_the_same_and_falls() -> None:
    pytest.importorskip("skimage")
    one = np.random.default_rng(0).random((2, 16, 16, 1)).astype(np.float32)
    # Of two flat pictures only the means differ: (2 a b + c) / (a² + b² + c), c = 0.01².
    flat = [np.full((1, 12, 12, 3), value) for value in (0.5, 0.7)]
    assert ssim(one, one) == pytest.approx([1, 1])
    assert (ssim(one, 1 - one) < 0).all()
    assert ssim(flat[0], flat[1])[0] == pytest.approx((2 * 0.35 + 1e-4) / (0.25 + 0.49 + 1e-4))


def test_ssim_refuses_what_its_window_does_not_fit_into() -> None:
    pytest.importorskip("skimage")
    with pytest.raises(NetwrightError, match="11 x 11"):
        ssim(np.zeros((1, 8, 8, 1)), np.zeros((1, 8, 8, 1)))
    with pytest.raises(NetwrightError, match="one by one"):
        ssim(np.zeros((1, 16, 16, 1)), np.zeros((2, 16, 16, 1)))
