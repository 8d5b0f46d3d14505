"""Temperature scaling: one number that makes probabilities honest (Guo et al., On calibration, ICML 2017)."""

from typing import Any

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits as probabilities. Shape: N K -> N K."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean −log p(label) at a temperature, in nats."""
    scaled = logits.astype(np.float64) / temperature
    top = scaled.max(1)
    normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(1))
    return float((normaliser - scaled[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature in [1/20, 20] with the least negative log-likelihood; convex in 1/T, so a bracket finds it."""
    from scipy.optimize import minimize_scalar

    def cost(inverse: float) -> float:
        return negative_log_likelihood(logits, labels, 1 / inverse)

    found: Any = minimize_scalar(cost, bounds=(1 / 20, 20), method="bounded")
    return float(1 / found.x)
