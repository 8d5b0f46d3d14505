"""Crops for training and whole pictures for evaluation: pixels, labels, chances and order."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.data.ragged import Ragged
from netwright.data.scene_sources import CropSource, WholeSource, cut
from netwright.data.scenes import Scenes
from netwright.engine.device import Profile
from netwright.engine.plans import Raw

PROFILE = Profile(torch.device("cpu"), "CPU", "fp32", False, 1)


def ragged(arrays: Sequence[np.ndarray]) -> Ragged:
    starts = np.cumsum([0, *(array.size for array in arrays)])[:-1]
    return Ragged(np.concatenate([array.ravel() for array in arrays]), starts, np.array([a.shape for a in arrays]))


def scenes(masks: Sequence[np.ndarray], classes: int = 3, background: bool = True, mapped: bool = False) -> Scenes:
    """Scenes whose pictures tell where each pixel is: its row, its column, and which picture it is of."""
    sizes = np.array([mask.shape[-2:] for mask in masks])
    pictures: list[np.ndarray] = []
    for number, size in enumerate(sizes):
        y, x = np.indices(size)
        pictures.append(np.stack([y, x, np.full(size, number)], -1).astype(np.uint8))
    several = masks[0].ndim == 3
    counted = [
        (mask == 1).sum((1, 2)) if several else np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks
    ]
    pixels = np.array(counted, np.int64)
    return Scenes(
        images=ragged(pictures),
        labels=(pixels > 0).astype(np.int64),
        ids=np.random.default_rng(0).integers(0, 2**63, len(masks)),
        names=[f"{place}" for place in range(len(masks))],
        masks=ragged(masks),
        sizes=sizes,
        pixels=pixels,
        background=background,
        several=several,
        places=np.arange(len(masks)),
        mapped=mapped,
    )


def drawn(masks: Sequence[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 3, mask.shape).astype(np.uint8) for mask in masks]


def blank(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def every(source: CropSource, stream: int = 0) -> Raw:
    return next(source.batches([np.arange(len(source))], stream=stream))


def many(source: CropSource, streams: int) -> list[Raw]:
    return [every(source, stream) for stream in range(streams)]


def test_an_epoch_has_as_many_pixels_as_the_pictures():
    source = CropSource(scenes([blank(64, 64), blank(65, 64), blank(10, 10), blank(128, 96)]), PROFILE, 32)
    assert len(source) == 4 + 5 + 1 + 12 and source.labels is None
    assert np.bincount(source.picture).tolist() == [4, 5, 1, 12]
    assert len(np.unique(source.ids)) == len(source) and source.ids.min() >= 0
    assert source.ids[[0, 4, 9, 10]].tolist() == source.scenes.ids.tolist()


def test_crops_are_cut_from_picture_and_mask_alike():
    own = scenes(drawn([blank(50, 70), blank(40, 33)]))
    raw = every(CropSource(own, PROFILE, 24), stream=3)
    assert raw.image.shape == (len(raw.id), 24, 24, 3) and raw.image.dtype == torch.uint8
    assert raw.label.shape == (len(raw.id), 24, 24) and raw.label.dtype == torch.int64
    for image, label in zip(raw.image.numpy(), raw.label.numpy(), strict=True):
        y, x, place = image[0, 0]
        assert (image == own.images[place][y : y + 24, x : x + 24]).all()
        assert (label == own.masks[place][y : y + 24, x : x + 24]).all()


def test_a_crop_follows_from_stream_and_id_alone():
    source = CropSource(scenes(drawn([blank(50, 70), blank(40, 33)])), PROFILE, 16)
    whole = every(source, 7)
    order = np.random.default_rng(1).permutation(len(source))
    parts = list(source.batches(np.array_split(order, 5), stream=7))
    assert (torch.cat([raw.image for raw in parts]) == whole.image[order]).all()
    assert (torch.cat([raw.label for raw in parts]) == whole.label[order]).all()
    assert (torch.cat([raw.id for raw in parts]) == whole.id[order]).all()
    other = every(source, 8)
    assert (other.id == whole.id).all() and (other.image != whole.image).any()
    fresh = CropSource(source.scenes, PROFILE, 16)  # what another crop has found plays no part
    assert (next(fresh.batches([order[-3:]], stream=7)).image == whole.image[order[-3:]]).all()


def test_mapped_scenes_are_read_ahead_and_give_the_same():
    masks = drawn([blank(50, 70), blank(40, 33)])
    held, mapped = (CropSource(scenes(masks, mapped=mapped), PROFILE, 16) for mapped in (False, True))
    chunks = np.array_split(np.arange(len(held)), 4)
    pairs = zip(held.batches(chunks, stream=1), mapped.batches(chunks, stream=1), strict=True)
    assert all((ours.image == theirs.image).all() for ours, theirs in pairs)


def test_anywhere_is_equally_likely():
    source = CropSource(scenes([blank(20, 20)], classes=1), PROFILE, 16, rare=0.0)
    corners = np.concatenate([raw.image[:, 0, 0, :2].numpy() for raw in many(source, 2500)])
    counts = np.histogram2d(*corners.T.astype(float), bins=(range(6), range(6)))[0]
    expected = len(corners) / 25
    # The sum of 24 squared normal numbers: mean 24, deviation 7; six of them.
    assert ((counts - expected) ** 2 / expected).sum() < 24 + 6 * math.sqrt(48)


def test_rare_crops_have_their_pixel():
    mask = blank(100, 120)
    mask[91, 7] = 1
    source = CropSource(scenes([mask]), PROFILE, 24, rare=1.0)
    raws = many(source, 20)
    assert all((raw.label == 1).any((1, 2)).all() for raw in raws)
    corners = torch.cat([raw.image[:, 0, 0, :2] for raw in raws]).numpy()
    assert corners[:, 0].max() == 100 - 24 and corners[:, 1].min() == 0, "pushed back into the picture"


def test_jitter_reaches_a_quarter_of_a_side():
    mask = blank(200, 200)
    mask[100, 100] = 1
    raws = many(CropSource(scenes([mask]), PROFILE, 40, rare=1.0), 60)
    corners = torch.cat([raw.image[:, 0, 0, :2] for raw in raws]).numpy().astype(int)
    assert corners.min() == 100 - 20 - 9 and corners.max() == 100 - 20 + 9


def test_how_often_a_rare_class_is_drawn():
    mask = blank(160, 160)
    mask[:, :80] = 1
    mask[150, 150] = 2
    own = scenes([mask])
    for rare, expected in ((0.0, None), (0.5, 0.25), (1.0, 0.5)):
        source = CropSource(own, PROFILE, 16, rare=rare)
        has = np.concatenate([(raw.label == 2).any(2).any(1).numpy() for raw in many(source, 30)])
        free = 10 * 10 / 145**2  # crops anywhere: so many of all corners have the pixel, at the picture's edge
        chance = free if expected is None else expected + (1 - rare) * free
        assert abs(has.mean() - chance) < 5 * math.sqrt(chance * (1 - chance) / len(has)), rare


def test_without_background_every_class_is_looked_for():
    mask = blank(64, 64)
    mask[:, 1:] = 1
    source = CropSource(scenes([mask], background=False), PROFILE, 8, rare=1.0)
    has = np.concatenate([(raw.label == 0).any(2).any(1).numpy() for raw in many(source, 20)])
    assert abs(has.mean() - 0.5) < 0.12, "class 0 is one of two, and seldom met by chance"


def test_a_large_class_is_sampled_evenly():
    mask = blank(100, 100)
    mask[:] = 1
    source = CropSource(scenes([mask]), PROFILE, 8, rare=1.0)
    found = source._places_of(0, 1, mask)
    assert len(found) == 1000 and found.max() > 9900 and found.min() < 100
    assert abs(found.mean() - 4999.5) < 5 * 2887 / math.sqrt(1000)


def test_pictures_without_foreground_and_smaller_than_a_crop():
    own = scenes([blank(5, 7), blank(1, 3), np.full((40, 6), 2, np.uint8)])
    raw = every(CropSource(own, PROFILE, 16, rare=1.0))
    image, label = raw.image.numpy(), raw.label.numpy()
    y, x = np.indices((16, 16))
    inside = (y >= 5) & (y < 10) & (x >= 4) & (x < 11)
    assert (label[0] == np.where(inside, 0, -1)).all()
    padded = np.pad(own.images[0], ((5, 6), (4, 5), (0, 0)), "reflect")
    assert (image[0] == padded).all()
    padded = np.pad(np.pad(own.images[1], ((7, 8), (0, 0), (0, 0)), "edge"), ((0, 0), (6, 7), (0, 0)), "reflect")
    assert (image[1] == padded).all() and (label[1] == 0).sum() == 3
    assert (label[2, :, 5:11] == 2).all() and (label[2, :, :5] == -1).all() and (label[2, :, 11:] == -1).all()


def test_ignored_pixels_are_minus_one():
    mask = blank(32, 32)
    mask[4:9] = 255
    raw = every(CropSource(scenes([mask]), PROFILE, 32))
    assert (raw.label[0, 4:9] == -1).all() and (raw.label[0] == -1).sum() == 5 * 32
    whole = next(WholeSource(scenes([mask]), PROFILE).batches([np.arange(1)]))
    assert (whole.label == raw.label).all()


def test_overlapping_classes_have_planes():
    planes = np.zeros((2, 20, 30), np.uint8)
    planes[0, :10], planes[1, 5:15], planes[1, 15:, 0] = 1, 1, 255
    own = scenes([planes, np.zeros((2, 6, 6), np.uint8)], background=False)
    raw = every(CropSource(own, PROFILE, 12))
    assert raw.label.shape == (len(raw.id), 2, 12, 12) and set(raw.label.unique().tolist()) == {-1, 0, 1}
    for image, label in zip(raw.image[:-1].numpy(), raw.label[:-1].numpy(), strict=True):
        y, x, _ = image[0, 0]
        assert (np.where(label == -1, 255, label) == planes[:, y : y + 12, x : x + 12]).all()
    assert (raw.label[-1, :, 3:9, 3:9] == 0).all() and (raw.label[-1] == -1).sum() == 2 * (144 - 36)
    whole = next(WholeSource(own, PROFILE).batches([np.array([0])]))
    assert whole.label.shape == (1, 2, 20, 30)


def test_cut_takes_views_where_it_can():
    array = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
    assert np.shares_memory(cut(array, (2, 3), 4), array)


def test_whole_pictures_come_in_order_by_size():
    own = scenes([blank(8, 8)] * 5 + [blank(8, 16)] * 2 + [blank(64, 64)] * 3)
    source = WholeSource(own, PROFILE, crop=16)
    chunks = source.chunks(4)
    assert np.concatenate(chunks).tolist() == list(range(10)) and len(source) == 10
    assert [len(chunk) for chunk in chunks] == [4, 1, 2, 1, 1, 1], "64 × 64 are as many as 16 crops"
    assert [len(chunk) for chunk in source.chunks(32)] == [5, 2, 2, 1]
    for raw, chunk in zip(source.batches(chunks), chunks, strict=True):
        assert raw.image[:, 0, 0, 2].tolist() == chunk.tolist() and (raw.id.numpy() == own.ids[chunk]).all()
        assert raw.image.shape[:3] == raw.label.shape == (len(chunk), *own.sizes[chunk[0]])


def test_sizes_do_not_meet_in_a_batch():
    source = WholeSource(scenes([blank(8, 8), blank(8, 16)]), PROFILE)
    with pytest.raises(NetwrightError, match=r"8×8 and 16×8 px [^@]*chunks"):
        list(source.batches([np.arange(2)]))


@pytest.mark.parametrize("several", [False, True])
def test_pixel_counts_are_those_of_the_crops_that_training_draws(several: bool) -> None:
    """A thing of 6x6 pixels in 64x64: a third of the crops, 16x16, go there, of the rest every fourteenth or so."""
    mask = blank(64, 64)
    mask[10:16, 40:46] = 1
    own = scenes([np.stack([mask, mask])]) if several else scenes([mask])
    source = CropSource(own, PROFILE, 16)
    drawn_ones = [raw.label for raw in many(source, 200)]
    mean = sum(int((label == 1).sum()) for label in drawn_ones) / len(drawn_ones)
    found = int(source.pixel_counts[1]) * (2 if several else 1)
    assert found > 2 * own.pixels[0, 1] * (2 if several else 1), "more than in the picture"
    # A crop has 0 or up to 36 of these pixels: a deviation of 18 at most each, over 1008 crops and 3200.
    assert found == pytest.approx(mean, abs=16 * (2 if several else 1) * 5 * 18 * (1 / 1008 + 1 / 3200) ** 0.5)
    assert source.pixel_counts.tolist() == CropSource(own, PROFILE, 16).pixel_counts.tolist()
