"""One protocol for every family on small pictures, so that only the network differs between runs."""

from netwright.recipes._recipe import Recipe


def history() -> Recipe:
    """`netwright history cifar10_12k/`, or one network alone: `netwright train cifar10_12k/ --recipe history`.

    For pictures up to 64 pixels a side.
    AdamW with clipped gradients trains all families, with or without normalisation, at one learning rate; each would
    gain from a rate of its own. What they reach is in docs/benchmarks.
    """
    return Recipe(
        name="history",
        data="",
        model="resnet20",
        optimizer="adamw(lr=2e-3, weight_decay=0.05)",
        schedule="one_cycle(warmup=0.2)",
        tricks=("crop(pad=4)", "flip", "grad_clip(norm=1.0)", "no_decay"),
        epochs=10,
        batch_size=128,
    )
