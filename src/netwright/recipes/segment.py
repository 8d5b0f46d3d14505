"""A class for each pixel: a U-Net on crops at native resolution, AdamW, warm-up and cosine, averaged weights."""

from netwright.recipes._recipe import Recipe


def segment() -> Recipe:
    """`netwright train DATA` for pictures with masks; without data, the built-in set of lines, disks and texture.

    The network suits the pictures: a U-Net on ResNet-20 up to 64 pixels a side, on ResNet-18 above.
    """
    return Recipe(
        name="segment",
        data="generated",
        task="segmentation",
        model="auto",
        optimizer="adamw(lr=2e-3, weight_decay=0.05)",
        schedule="cosine(warmup=0.05)",
        tricks=("brightness", "contrast", "ema(decay=0.99)", "flip", "no_decay", "vertical_flip"),
        epochs=40,
        batch_size="auto",
    )
