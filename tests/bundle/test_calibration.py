"""Temperature scaling finds the temperature that was there."""

import numpy as np

from netwright.tasks._calibration import fit_temperature, negative_log_likelihood, softmax


def test_a_known_temperature_is_found() -> None:
    draw = np.random.default_rng(0)
    honest = draw.normal(0, 2, (20_000, 5))
    labels = np.array([draw.choice(5, p=row) for row in softmax(honest)])
    # Standard error of T̂/T at n = 20,000 is below 1 %; five of them.
    assert abs(fit_temperature(honest * 3, labels) / 3 - 1) < 0.05
    assert abs(fit_temperature(honest, labels) - 1) < 0.05


def test_no_other_temperature_is_better() -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(0, 3, (300, 4))
    labels = np.array([draw.choice(4, p=row) for row in softmax(logits / 2)])
    best = fit_temperature(logits, labels)

    def cost(temperature: float) -> float:
        return 300 * negative_log_likelihood(logits, labels, temperature) + 2 * np.log(temperature) ** 2

    assert all(cost(best) <= cost(best * f) + 1e-6 for f in (0.8, 0.95, 1.05, 1.25))


def test_ten_pictures_that_are_all_right_do_not_make_the_model_certain() -> None:
    logits = np.eye(2)[np.arange(10) % 2] * 3.0
    assert 0.5 < fit_temperature(logits, np.arange(10) % 2) < 1.0
