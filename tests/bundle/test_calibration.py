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
    least = negative_log_likelihood(logits, labels, best)
    assert all(least <= negative_log_likelihood(logits, labels, best * f) + 1e-9 for f in (0.8, 0.95, 1.05, 1.25))
