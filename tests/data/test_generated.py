"""The generated set: the same bytes everywhere, with structures that no threshold finds."""

from hashlib import sha256

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.data import generated, open_data
from netwright.data.assign import SPLITS
from netwright.data.listing import Listing

DIGESTS = {
    "generated": "6bbf5ec0084a27dc1f734d17642c73ad7ce73ad3c272ce0950ba20e62cc8aae1",
    "generated:lines": "e6e442166073666c6f2a0a32e83fb6e11fa9763b8bc6470a23abba32581220d5",
    "generated:disks": "b907332ac8698b6f2d56cf34968bb53d624c60f1486e24796f42e9aa036b71e2",
    "generated:texture(size=48, n=8)": "728136b7dd837595f198cda1ff3f925838b1e6dd033d00ab389b2cb9d5da068f",
}


def arrays(listing: Listing) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and masks, N S S."""
    assert listing.masks is not None and listing.masks.semantic is not None
    semantic = listing.masks.semantic
    places = range(len(listing))
    return np.stack([listing.blobs.read(at) for at in places]), np.stack([semantic.read(at) for at in places])


@pytest.mark.parametrize("source", DIGESTS)
def test_the_bytes_never_change(source: str):
    pictures, masks = arrays(generated.listing(source))
    assert sha256(pictures.tobytes() + masks.tobytes()).hexdigest() == DIGESTS[source]


def test_sizes_splits_and_classes():
    data = open_data("generated")
    assert data.classes == ("background", "line", "disk", "texture")
    assert {side: len(split) for side, split in data.splits.items()} == {"train": 160, "val": 40, "test": 200}
    assert data.preprocess.image_size == 32 and data.preprocess.channels == 1 and not data.quarantined
    assert data.masks is not None and data.masks.background and not data.masks.several
    assert open_data("generated:lines").classes == ("background", "line")
    larger = generated.listing("generated:disks(size=64, n=8)")
    assert [int((larger.sides == side).sum()) for side in range(len(SPLITS))] == [8, 2, 10]
    assert arrays(larger)[0].shape == (20, 64, 64)


def test_pictures_differ():
    pictures, masks = arrays(generated.listing("generated"))
    assert len({picture.tobytes() for picture in pictures}) == len({mask.tobytes() for mask in masks}) == 400


def test_brightness_and_noise_are_as_described():
    pictures, masks = arrays(generated.listing("generated"))
    values = {name: pictures[masks == label].astype(float) for label, name in enumerate(("", *generated.ALL))}
    for name, brighter in (("", 0), ("line", generated.LINE), ("disk", generated.DISK), ("texture", 0)):
        own = values[name]
        # The fourth decimal of 443 / 256 and rounding downwards: half a level; sampling: four standard errors.
        error = 0.6 + 4 * generated.NOISE / np.sqrt(len(own))
        assert abs(own.mean() - generated.GREY - brighter) < error, name
        assert abs(own.std() - generated.NOISE) < 0.03 * generated.NOISE, name


def test_no_threshold_finds_a_structure():
    for source, label in (("generated:lines", 1), ("generated:disks", 1), ("generated:texture", 1)):
        pictures, masks = arrays(generated.listing(source))
        truth = masks == label
        found = (pictures >= threshold for threshold in range(0, 256, 4))
        dice = max(2 * (guess & truth).sum() / (guess.sum() + truth.sum()) for guess in found)
        assert dice < 0.65, source


def test_lines_are_one_pixel_thin():
    _, masks = arrays(generated.listing("generated:lines"))
    pairs = masks[:, :-1] & masks[:, 1:] & np.roll(masks, 1, 2)[:, :-1] & np.roll(masks, 1, 2)[:, 1:]
    assert pairs.sum() < 0.05 * masks.sum(), "full squares of 2×2 pixels, but for crossings"


def test_a_line_takes_a_step_along_its_longer_direction():
    y, x = generated._line(2, 9, 6, 1)
    assert x.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    exact = 2 + np.arange(9) * 4 / 8
    assert (np.abs(y - exact) <= 0.5).all() and (y[0], y[-1]) == (2, 6)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("generated:line", "did you mean 'lines'"),
        ("generated(side=3)", "unknown option of generated 'side'"),
        ("generated(size=8)", "at least 16|between 16"),
        ("generated:disks(n='many')", "n"),
        ("generated(size=64", "close the bracket"),
        ("generated(size=1024, n=100000)", "(?s)262,144 megapixels.*with size=1024 give n=204 at most"),
        ("generated:lines(size=512, n=820)", "n=819 at most"),
    ],
)
def test_mistakes_are_answered(source: str, says: str):
    with pytest.raises(NetwrightError, match=says):
        open_data(source)
