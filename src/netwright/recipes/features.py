"""Learnt features, and a new head alone: seconds, from a handful of pictures a class on."""

from netwright.recipes._recipe import Recipe


def features() -> Recipe:
    """`netwright train photos/ --model squeezenet1_0 --weights FILE --transfer features`: the backbone stands still.

    Norm statistics stand still too. Pictures are not changed at random, so that their features are computed once;
    the head, one linear layer on standardised square roots of features, then trains in seconds.
    """
    return Recipe(
        name="features",
        data="",
        model="auto",
        optimizer="adamw(lr=1e-3, weight_decay=1.0)",
        schedule="cosine(warmup=0.05)",
        tricks=("freeze", "head(norm='batch', power=0.5)", "label_smoothing"),
        epochs=60,
        batch_size="auto",
    )
