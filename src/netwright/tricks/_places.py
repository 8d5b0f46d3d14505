"""Which tricks move pixels and which mix colours, each in the order in which they act; cards say it to `Tricks`."""

PLACES = (
    "alternating_flip", "flip", "vertical_flip", "crop", "resized_crop", "zoom", "shear", "rotate", "translate",
    "perspective",
)  # fmt: skip
COLOURS = ("brightness", "contrast", "saturation", "hue", "grayscale", "channel_dropout", "invert")


def before(name: str, order: tuple[str, ...]) -> tuple[str, ...]:
    """Those that act before `name`, present or not."""
    return order[: order.index(name)]
