"""As far as few epochs go on small pictures, after the CIFAR-10 speed record of 2024 (Jordan, arXiv:2404.00498)."""

from netwright.recipes._recipe import Recipe


def speedrun_cifar() -> Recipe:
    """`netwright train cifar10_12k/ --recipe speedrun_cifar`; for pictures of 32 pixels a side."""
    return Recipe(
        name="speedrun_cifar",
        data="",
        model="airbench94",
        optimizer="sgd(lr=0.1, momentum=0.85, weight_decay=5e-4)",
        schedule="one_cycle(warmup=0.23)",
        tricks=("crop(pad=2)", "flip", "label_smoothing(smoothing=0.2)", "no_decay", "test_time_augmentation(shift=1)"),
        epochs=8,
        batch_size=256,
    )
