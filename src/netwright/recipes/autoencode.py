"""Pictures from a code of them, no labels needed: a convolutional autoencoder, AdamW, warm-up and cosine."""

from netwright.recipes._recipe import Recipe


def autoencode() -> Recipe:
    """`netwright train DATA --task reconstruction`; folders of pictures without classes will do.

    The network suits the pictures: an autoencoder on ResNet-20 up to 64 pixels a side, on ResNet-18 above. With
    `--model "vae(latent=16)"` codes are random and new pictures can be drawn; tricks as denoise and sparse make other
    kinds.
    """
    return Recipe(
        name="autoencode",
        task="reconstruction",
        model="auto",
        optimizer="adamw(lr=1e-3, weight_decay=0.01)",
        schedule="cosine(warmup=0.05)",
        tricks=("no_decay",),
        epochs=20,
        batch_size="auto",
    )
