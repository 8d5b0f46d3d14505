"""The closed vocabulary of what can be wrong with a training run; tricks say which of them they treat."""

from enum import StrEnum


class Symptom(StrEnum):
    """One thing that goes wrong in training, named as the field names it."""

    OVERFITTING = "overfitting"
    UNDERFITTING = "underfitting"
    UNSTABLE_LOSS = "unstable loss"
    EXPLODING_GRADIENTS = "exploding gradients"
    VANISHING_GRADIENTS = "vanishing gradients"
    OVERCONFIDENCE = "overconfidence"
    LABEL_NOISE = "label noise"
    CLASS_IMBALANCE = "class imbalance"
    NOISY_WEIGHTS = "noisy weights at the end"
    SHARP_MINIMUM = "sharp minimum"
    OUT_OF_MEMORY = "out of memory"
    WASTED_EPOCHS = "wasted epochs"
    POSTERIOR_COLLAPSE = "posterior collapse"
    DEAD_UNITS = "dead units"
