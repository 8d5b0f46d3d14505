"""Masks in every encoding, written to files: what the tests of encodings share."""

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.masks import MaskWanted, understood
from netwright.data.pairs import listing

RGB = [(0, 0, 0), (255, 0, 0), (10, 20, 30)]
SHAPE = (12, 16)


def blank(value=0, dtype=np.uint8):
    return np.full(SHAPE, value, dtype)


def boxes(*values, dtype=np.uint8):
    """One 3×3 box for each value, apart from one another."""
    mask = blank(dtype=dtype)
    for number, value in enumerate(values):
        row, column = divmod(number, 4)
        mask[row * 4 : row * 4 + 3, column * 4 : column * 4 + 3] = value
    return mask


def saved(root, masks, folder="masks", ending=".png", **options):
    """Pictures and masks, the latter arrays, Pillow images or bytes."""
    for number, mask in enumerate(masks):
        for name in ("images", folder):
            (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(root / "images" / f"{number:03}.png")
        path = root / folder / f"{number:03}{ending}"
        if ending == ".npy":
            np.save(path, mask)
        elif isinstance(mask, Image.Image):
            mask.save(path, **options)
        else:
            Image.fromarray(mask).save(path, **options)
    return root


def masks_of(root, **wanted):
    return understood(listing(str(root)), MaskWanted(**wanted))


def refused(root, match, **wanted):
    with pytest.raises(NetwrightError, match=match) as caught:
        masks_of(root, **wanted)
    assert caught.value.fix
    return caught.value.fix


def palettes(mask, colours):
    picture = Image.fromarray(mask)
    picture.putpalette([value for colour in colours for value in colour])
    return picture


def painted(mask, colours):
    return np.array(colours, np.uint8)[mask]
