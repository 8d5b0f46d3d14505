"""Pictures that occur more than once are found, however they were turned, resized or compressed; others are not."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from netwright.data.facts import FACT, complete, thumbnail
from netwright.data.gate.duplicates import (
    CROWD,
    FLAT,
    UNLIKE,
    Pair,
    _best_turns,
    _candidates,
    _compared,
    exact_groups,
    near_pairs,
)
from netwright.data.gate.likeness import BACK, TURNS, hashes

T = Image.Transpose
PILLOW = {  # the same turns in Pillow's words, in the order in which they are made
    "": (),
    "flipped": (T.FLIP_LEFT_RIGHT,),
    "flipped upside down": (T.FLIP_TOP_BOTTOM,),
    "rotated by 180°": (T.ROTATE_180,),
    "rotated by 90°": (T.ROTATE_90,),
    "rotated by 270°": (T.ROTATE_270,),
    "flipped and rotated by 90°": (T.FLIP_LEFT_RIGHT, T.ROTATE_90),
    "flipped and rotated by 270°": (T.FLIP_LEFT_RIGHT, T.ROTATE_270),
}


def scene(seed: int, width: int = 96, height: int = 64) -> Image.Image:
    """Colours that change smoothly, with more of the slow changes, as in photographs."""
    draw = np.random.default_rng(seed)
    scales = [(3, 2), (6, 4), (12, 8), (24, 16)]
    layers = [Image.fromarray(draw.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in scales]
    smooth = [np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC), np.float64) for layer in layers]
    return Image.fromarray((0.4 * smooth[0] + 0.3 * smooth[1] + 0.2 * smooth[2] + 0.1 * smooth[3]).astype(np.uint8))


def turned(picture: Image.Image, turn: str) -> Image.Image:
    for step in PILLOW[turn]:
        picture = picture.transpose(step)
    return picture


def jpeg(picture: Image.Image, quality: int = 50) -> Image.Image:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def facts(pictures: list[Image.Image]) -> NDArray[np.void]:
    """What is known of pictures, each a file of its own."""
    rows = facts_of_thumbs(np.stack([thumbnail(picture) for picture in pictures]))
    rows["width"], rows["height"] = np.array([picture.size for picture in pictures]).T
    return rows


def facts_of_thumbs(thumbs: NDArray[np.uint8]) -> NDArray[np.void]:
    rows = np.zeros(len(thumbs), FACT)
    rows["thumb"], rows["digest"] = thumbs, digests(range(len(thumbs)))
    complete(rows)
    rows["width"] = rows["height"] = 100
    return rows


def digests(numbers: range | list[int]) -> NDArray[np.void]:
    """One digest for each number, none of them empty."""
    return np.frombuffer(b"".join((number + 1).to_bytes(32, "big") for number in numbers), "V32")


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.name or "nothing")
def test_a_turn_does_to_thumbnails_and_hashes_what_its_name_says(turn) -> None:
    picture = scene(0, 64, 64)
    thumb = thumbnail(picture)[None]
    again = thumbnail(turned(picture, turn.name))
    # Pillow rounds after each of the two directions, of which an exchange makes the second the first.
    assert np.abs(turn.thumbs(thumb)[0].astype(int) - again).max() <= int(turn.exchanged)
    many = np.random.default_rng(0).integers(0, 256, (100, 16, 16), dtype=np.uint8)
    np.testing.assert_array_equal(turn.hashes(hashes(many)), hashes(turn.thumbs(many)))
    np.testing.assert_array_equal(TURNS[BACK[TURNS.index(turn)]].thumbs(turn.thumbs(many)), many)


@pytest.mark.parametrize("size", [(96, 64), (33, 47), (8, 8), (401, 299)])
def test_thumbnails_of_flipped_pictures_are_flipped_thumbnails(size: tuple[int, int]) -> None:
    picture = scene(1, *size)
    for turn in TURNS[:4]:
        np.testing.assert_array_equal(thumbnail(turned(picture, turn.name)), turn.thumbs(thumbnail(picture)[None])[0])


def test_the_hash_depends_on_neither_brightness_nor_contrast() -> None:
    thumb = np.random.default_rng(0).integers(0, 64, (1, 16, 16), dtype=np.uint8)
    assert hashes(thumb) == hashes(3 * thumb + 40)


@pytest.mark.fault(59, "files with the same content are found, on whichever side they are")
def test_exact_groups() -> None:
    assert exact_groups(digests([7, 3, 7, 5, 3, 7])) == [[0, 2, 5], [1, 4]]
    assert exact_groups(digests([1, 2])) == []
    assert exact_groups(digests([])) == []


def test_pictures_that_cannot_be_read_are_duplicates_of_nothing() -> None:
    assert exact_groups(np.zeros(3, "V32")) == []
    found = near_pairs(np.zeros(3, FACT))
    assert (found.pairs, found.flat, found.crowded) == ((), 0, 0)


@pytest.mark.fault(59, "pictures that were flipped, turned upside down or rotated are found and told as such")
@pytest.mark.parametrize("turn", PILLOW)
def test_turns_are_named(turn: str) -> None:
    originals = [scene(seed) for seed in range(30)]
    found = near_pairs(facts([*originals, *(turned(picture, turn) for picture in originals)]))
    assert [(pair.first, pair.second, pair.turn) for pair in found.pairs] == [(i, i + 30, turn) for i in range(30)]
    assert max(pair.distance for pair in found.pairs) < 0.1


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda picture: picture.resize((48, 32), Image.Resampling.BICUBIC),
    "three times the size": lambda picture: picture.resize((288, 192), Image.Resampling.BICUBIC),
    "another aspect ratio": lambda picture: picture.resize((64, 64), Image.Resampling.BILINEAR),
    "JPEG of quality 50": jpeg,
    "brighter, with less contrast": lambda picture: picture.point(lambda value: 0.7 * value + 60),
    "flipped, half the size, JPEG": lambda picture: jpeg(turned(picture, "flipped").resize((48, 32))),
    "grey": lambda picture: picture.convert("L"),
}


@pytest.mark.fault(
    59, "pictures that were resized, or compressed with JPEG quality 50, are found, and no others reported"
)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_found_and_no_others(change: str) -> None:
    originals = [scene(seed) for seed in range(100)]
    others = [scene(seed) for seed in range(100, 200)]
    found = near_pairs(facts([*originals, *others, *(CHANGES[change](picture) for picture in originals)]))
    pairs = {(pair.first, pair.second) for pair in found.pairs}
    planted = {(i, i + 200) for i in range(100)}
    assert len(pairs & planted) >= 99
    assert pairs <= planted


def test_exact_duplicates_are_represented_by_the_first() -> None:
    first, second = scene(0), turned(scene(0), "flipped")
    rows = facts([first, second, first, second, scene(1)])
    rows["digest"] = digests([0, 1, 0, 1, 2])
    found = near_pairs(rows)
    assert [(pair.first, pair.second, pair.turn) for pair in found.pairs] == [(0, 1, "flipped")]


def test_flat_pictures_are_counted_and_not_compared() -> None:
    draw = np.random.default_rng(0)
    noise = draw.integers(100, 104, (4, 16, 16), dtype=np.uint8)
    assert (noise.std((1, 2)) < FLAT).all()
    noise[1] = noise[0]
    found = near_pairs(facts_of_thumbs(noise))
    assert (found.pairs, found.flat) == ((), 4)


def test_a_symmetric_picture_is_not_said_to_be_turned() -> None:
    half = np.asarray(scene(3).convert("L").resize((8, 16)))
    thumb = np.concatenate([half, half[:, ::-1]], axis=1)
    found = near_pairs(facts_of_thumbs(np.stack([thumb, thumb])))
    assert found.pairs == (Pair(0, 1, "", 0.0),)


def test_a_pair_is_named_by_the_turn_that_fits_best_and_of_equals_by_the_simplest() -> None:
    candidates = np.array([[0, 1, 0], [0, 1, 3], [0, 2, 1], [0, 2, 4], [1, 2, 5]])
    assert _best_turns(candidates, np.array([0.2, 0.1, 0.1, 0.1, 0.0])).tolist() == [1, 2, 4]


def test_the_order_of_the_pictures_changes_nothing_but_their_places() -> None:
    originals = [scene(seed) for seed in range(40)]
    rows = facts([*originals, *(jpeg(turned(picture, "flipped upside down")) for picture in originals)])
    order = np.random.default_rng(0).permutation(len(rows))
    found, shuffled = near_pairs(rows), near_pairs(rows[order])
    assert found == near_pairs(rows)
    assert found.pairs == tuple(sorted(found.pairs, key=lambda pair: (pair.first, pair.second)))
    same = {tuple(sorted((int(order[pair.first]), int(order[pair.second])))): pair.turn for pair in shuffled.pairs}
    assert same == {(pair.first, pair.second): pair.turn for pair in found.pairs}


def test_hashes_that_differ_in_four_bits_are_always_compared() -> None:
    draw = np.random.default_rng(0)
    first = draw.integers(0, 2**64, 2000, dtype=np.uint64)
    bits = np.argsort(draw.random((2000, 64)))[:, :4].astype(np.uint64)
    second = first ^ (np.uint64(1) << bits).sum(axis=1, dtype=np.uint64)
    found, _ = _candidates(np.concatenate([first, second]))
    assert {(i, i + 2000, 0) for i in range(2000)} <= {tuple(row) for row in found.tolist()}


def test_where_similar_hashes_say_little_only_copies_are_reported() -> None:
    """Waves of the same signs and other strengths: the hashes are similar, the pictures mostly not."""
    draw = np.random.default_rng(0)
    frequency = np.add.outer(np.arange(16), np.arange(16)) + 1.0
    signs = draw.choice([-1, 1], (16, 16)) / frequency**1.5
    strengths = draw.lognormal(0, 0.35, (60, 16, 16))
    cosines = np.cos(np.pi * np.outer(np.arange(16), np.arange(16) + 0.5) / 16)
    waves = cosines.T @ (signs * strengths) @ cosines
    family = (128 + 30 * (waves - waves.mean((1, 2), keepdims=True)) / waves.std((1, 2), keepdims=True)).astype(
        np.uint8
    )
    rows = facts_of_thumbs(family)
    candidates, _ = _candidates(rows["hash"])
    distance, _ = _compared(family[candidates[:, 0]], family[candidates[:, 1]])
    assert len(candidates) > 1000
    assert 10 < (distance <= UNLIKE).sum() < 0.3 * len(candidates)
    assert near_pairs(rows).pairs == ()
    copy = family[7] + draw.integers(0, 3, (16, 16), dtype=np.uint8)
    found = near_pairs(facts_of_thumbs(np.concatenate([family, copy[None]])))
    assert [(pair.first, pair.second) for pair in found.pairs] == [(7, 60)]


@pytest.mark.fault(59, "ten thousand copies of one picture are one group, found without comparing each with each")
def test_large_groups_do_not_explode() -> None:
    thumb = thumbnail(scene(0))
    rows = facts_of_thumbs(np.broadcast_to(thumb, (10_000, *thumb.shape)))
    found = near_pairs(rows)
    assert len(found.pairs) <= CROWD * len(rows)
    assert found.crowded == len(rows)
    first = {pair.second: pair.first for pair in found.pairs}  # each is a copy of an earlier one: one group
    assert all(first.get(place, place) < place for place in range(1, len(rows)))
    rows["digest"] = rows["digest"][0]
    assert near_pairs(rows).pairs == ()
    assert exact_groups(rows["digest"]) == [list(range(len(rows)))]


@pytest.mark.data
@pytest.mark.fault(59, "in real photographs planted duplicates are found and nothing else is reported")
def test_real_photographs(real_data: Path) -> None:
    paths = sorted(real_data.glob("clothing/*/*/*.jpg"))[::4]
    originals = [Image.open(path).convert("RGB") for path in paths]
    copies = [jpeg(turned(picture.resize((96, 128)), "rotated by 270°")) for picture in originals]
    found = near_pairs(facts([*originals, *copies]))
    n = len(originals)
    wanted = [(i, i + n, "rotated by 270°") for i in range(n)]
    assert n >= 100
    assert [(pair.first, pair.second, pair.turn) for pair in found.pairs] == wanted
