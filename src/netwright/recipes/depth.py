"""A short protocol without tricks, for small pictures: what a network's depth does, and nothing else."""

from netwright.recipes._recipe import Recipe


def depth() -> Recipe:
    """`netwright study depth PATH` trains its grid with it, and `netwright train PATH --recipe depth` one network.

    Three epochs say how fast networks begin to learn, not what they reach in the end.
    """
    return Recipe(
        name="depth",
        data="",
        model="vgg(dropout=0.0, head='dense', hidden=(128,))",
        optimizer="adam(lr=1e-3)",
        schedule="constant",
        tricks=(),
        epochs=3,
        batch_size=64,
    )
