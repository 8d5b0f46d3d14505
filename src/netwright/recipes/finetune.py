"""Learnt weights as the starting point of every layer, early ones moved less."""

from netwright.recipes._recipe import Recipe


def finetune() -> Recipe:
    """`netwright train photos/ --model squeezenet1_0 --weights FILE --transfer finetune`: all layers train.

    The rate falls by `layer_decay` from stage to stage towards the picture: the new head learns fast, and what all
    pictures have in common stays nearly as it was.
    """
    return Recipe(
        name="finetune",
        data="",
        model="auto",
        optimizer="adamw(lr=2e-3, weight_decay=0.5)",
        schedule="cosine(warmup=0.1)",
        tricks=(
            "brightness",
            "flip",
            "head(norm='batch', power=0.5)",
            "label_smoothing",
            "layer_decay(decay=0.3)",
            "no_decay",
            "translate",
        ),
        epochs=15,
        batch_size="auto",
    )
