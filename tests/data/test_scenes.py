"""Pictures with masks at their own sizes: what is kept, what is left out, how they are divided, and the cache."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import live, open_data, scene_cache, scenes
from netwright.data.cache import opened_index
from netwright.data.facts import FACT, Examined
from netwright.data.listing import NOBODY, Arrays, Files, Listing, MaskFiles
from netwright.data.masks import Masks, understood
from netwright.data.scenes import Scenes, ready_scenes
from netwright.data.split import Data, Wanted

CLASSES = ("background", "cell", "wall")
SIDES = ("train", "val", "test")


def pair(seed: int, size: tuple[int, int] = (40, 33), channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture H W C and its mask H W; size is width and height."""
    draw = np.random.default_rng(seed)
    picture = draw.integers(0, 256, (size[1], size[0], channels), np.uint8)
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[2:9, 3:12], mask[20:, 15:20] = 1, 2
    return picture[..., 0] if channels == 1 else picture, mask


def folder(root: Path, sizes: Mapping[str, tuple[int, int]], channels: int = 3) -> Listing:
    """Pairs on disk, by name; a name begins with its side, if it has one."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for seed, (name, size) in enumerate(sizes.items()):
        picture, mask = pair(seed, size, channels)
        Image.fromarray(picture).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return listed(root, sorted(sizes))


def listed(root: Path, names: list[str]) -> Listing:
    sides = [SIDES.index(name.split("-")[0]) if name.split("-")[0] in SIDES else NOBODY for name in names]
    pictures, masks = (Files(root, [f"{kind}/{name}.png" for name in names]) for kind in ("images", "masks"))
    labels = np.zeros(len(names), np.int64)
    return Listing("cells", str(root), CLASSES, pictures, labels, np.array(sides, np.int8), masks=MaskFiles(masks))


SOME = {"train-a": (40, 33), "train-b": (24, 50), "train-c": (40, 33), "val-d": (64, 64), "test-e": (24, 50)}


def split(data: Data, side: str = "train") -> Scenes:
    found = data.splits[side]
    assert isinstance(found, Scenes)
    return found


def test_pairs_keep_their_sizes_and_values(tmp_path: Path):
    data = ready_scenes(folder(tmp_path, SOME), Wanted())
    assert [len(data.splits[side]) for side in SIDES] == [3, 1, 1] and data.classes == CLASSES
    for side in SIDES:
        own = split(data, side)
        for place, name in enumerate(own.names):
            stem = Path(name).stem
            picture, mask = pair(list(SOME).index(stem), SOME[stem])
            assert (own.images[place] == picture).all() and (own.masks[place] == mask).all()
            assert own.sizes[place].tolist() == [*mask.shape] and own.labels[place].tolist() == [1, 1, 1]
            assert own.pixels[place].tolist() == np.bincount(mask.ravel(), minlength=3).tolist()
    train = split(data)
    assert train.images.shape == (3, 50, 40, 3) and train.images.nbytes == 3 * (2 * 40 * 33 + 24 * 50)
    assert train.background and not train.several and list(train.foreground) == [1, 2]
    assert data.summary()["splits"]["train"] == {"n": 3, "per_class": {"background": 3, "cell": 3, "wall": 3}}


def test_they_are_ordered_by_size_and_then_content(tmp_path: Path):
    sizes = {f"train-{letter}": ((24, 30), (40, 33), (33, 40))[place % 3] for place, letter in enumerate("abcdefg")}
    data = ready_scenes(folder(tmp_path, {**sizes, "val-a": (32, 32)}), Wanted())
    train = split(data)
    assert train.sizes.tolist() == sorted(train.sizes.tolist())
    for size in np.unique(train.sizes, axis=0):
        ids = train.ids[(train.sizes == size).all(1)]
        assert (np.diff(ids) > 0).all()


def test_names_do_not_matter_and_contents_do(tmp_path: Path):
    first = ready_scenes(folder(tmp_path / "one", SOME), Wanted())
    names = {"train-a": "train-z", "train-c": "train-0"}
    for kind in ("images", "masks"):
        (tmp_path / "two" / kind).mkdir(parents=True)
        for name in SOME:
            stored = (tmp_path / "one" / kind / f"{name}.png").read_bytes()
            (tmp_path / "two" / kind / f"{names.get(name, name)}.png").write_bytes(stored)
    second = ready_scenes(listed(tmp_path / "two", sorted(names.get(name, name) for name in SOME)), Wanted())
    ours, theirs = split(first), split(second)
    assert (ours.ids == theirs.ids).all() and ours.names != theirs.names
    assert all((ours.masks[place] == theirs.masks[place]).all() for place in range(3))
    assert first.fingerprint != second.fingerprint, "names are a part of it"
    mask = np.array(Image.open(tmp_path / "one/masks/train-a.png"))
    mask[0, 0] = 1
    Image.fromarray(mask).save(tmp_path / "one/masks/train-a.png")
    changed = ready_scenes(listed(tmp_path / "one", sorted(SOME)), Wanted())
    assert changed.fingerprint != first.fingerprint
    assert len(set(split(changed).ids) & set(ours.ids)) == 2, "an identity is that of picture and mask"


def test_a_mask_saved_in_another_way_is_the_same_data(tmp_path: Path):
    first = ready_scenes(folder(tmp_path, SOME), Wanted())
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(np.array(Image.open(path))).save(path, compress_level=1)
    second = ready_scenes(listed(tmp_path, sorted(SOME)), Wanted())
    assert (split(first).ids == split(second).ids).all() and first.fingerprint == second.fingerprint


def test_equal_pairs_have_different_numbers(tmp_path: Path):
    listing = folder(tmp_path, SOME)
    for kind in ("images", "masks"):
        (tmp_path / kind / "train-c.png").write_bytes((tmp_path / kind / "train-a.png").read_bytes())
    train = split(ready_scenes(listing, Wanted()))
    assert len(set(train.ids.tolist())) == 3


def test_a_turned_picture_is_upright(tmp_path: Path):
    listing = folder(tmp_path, SOME)
    picture, _ = pair(0)
    exif = Image.Exif()
    exif[274] = 6  # stored lying; the viewer turns it by 90° clockwise
    Image.fromarray(np.ascontiguousarray(np.rot90(picture))).save(tmp_path / "images/train-a.png", exif=exif)
    train = split(ready_scenes(listing, Wanted()))
    place = [Path(name).stem for name in train.names].index("train-a")
    assert (train.images[place] == picture).all()


def test_without_a_split_content_decides(tmp_path: Path):
    listing = folder(tmp_path, {f"{place}": (40, 33) for place in range(12)})
    data = ready_scenes(listing, Wanted())
    assert sum(map(len, data.splits.values())) == 12 and set(data.splits) == set(SIDES)
    assert any("content hash" in note for note in data.notes)
    again = ready_scenes(listing, Wanted(fractions=(0.5, 0.5, 0.0)))
    assert len(again.splits["val"]) > len(data.splits["val"]) and "test" not in again.splits


@pytest.mark.parametrize(
    ("sizes", "wanted", "crop", "stored"),
    [
        (((256, 256),), Wanted(), 256, 256),
        (((300, 300),), Wanted(), 288, 300),
        (((500, 400),), Wanted(), 384, 400),
        (((512, 512),), Wanted(), 512, 512),
        (((1000, 1000),), Wanted(), 256, 293),
        (((28, 28),), Wanted(), 28, 28),
        (((100, 100), (200, 120), (300, 300)), Wanted(), 96, 110),
        (((1000, 800), (900, 700)), Wanted(), 256, 293),
        (((256, 256),), Wanted(image_size=64), 64, 73),
        (((256, 256),), Wanted(image_size=320), 320, 320),
        (((256, 256),), Wanted(image_size=64, stored_size=128), 64, 128),
    ],
)
def test_the_side_of_crops(sizes: tuple[tuple[int, int], ...], wanted: Wanted, crop: int, stored: int):
    facts = np.zeros(len(sizes), FACT)
    facts["width"], facts["height"] = np.array(sizes).T
    listing = Listing("", "", (), Arrays([], [""] * len(sizes)), np.zeros(len(sizes), np.int64), np.zeros(0, np.int8))
    geometry = scenes._geometry(Examined(listing, np.zeros(len(sizes), np.int8), facts, {}), 3, wanted)
    assert (geometry.image_size, geometry.stored_size, geometry.channels) == (crop, stored, 3)


def test_mean_and_deviation_are_those_of_all_training_pixels(tmp_path: Path):
    data = ready_scenes(folder(tmp_path, SOME), Wanted())
    train = split(data)
    values = np.concatenate([train.images[place].reshape(-1, 3) for place in range(3)]) / 255
    assert data.preprocess.mean == tuple(np.round(values.mean(0), 4))
    assert data.preprocess.std == tuple(np.round(values.std(0), 4))


def test_grey_pictures_have_one_channel(tmp_path: Path):
    listing = folder(tmp_path, SOME, channels=1)
    data = ready_scenes(listing, Wanted())
    assert data.preprocess.channels == 1 and split(data).images[0].shape[2] == 1
    assert any("grey" in note for note in data.notes)
    three = ready_scenes(listing, Wanted(channels=3))
    assert split(three).images[0].shape[2] == 3 and three.preprocess.channels == 3


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places that are decoded from now on."""
    seen: list[int] = []
    real = scene_cache._pair

    def counted(work: scene_cache._Work, place: int) -> object:
        seen.append(place)
        return real(work, place)

    monkeypatch.setattr(scene_cache, "_pair", counted)
    return seen


def files_of_the_cache() -> list[Path]:
    return sorted((scene_cache.cache_folder() / "scenes").glob("*.npy"))


def test_pairs_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listing, seen = folder(tmp_path, SOME), count_decoding(monkeypatch)
    first = ready_scenes(listing, Wanted())
    assert sorted(seen) == list(range(5)) and len(files_of_the_cache()) == 2
    second = ready_scenes(listing, Wanted())
    assert len(seen) == 5 and first.fingerprint == second.fingerprint
    assert (split(first).images[1] == split(second).images[1]).all()
    ready_scenes(listing, Wanted(channels=1))
    assert len(seen) == 10, "other channels are other pictures"


def test_a_large_set_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listing = folder(tmp_path, SOME)
    held = split(ready_scenes(listing, Wanted()))
    monkeypatch.setattr(scene_cache, "HELD", 1000)
    mapped = split(ready_scenes(listing, Wanted()))
    assert mapped.mapped and not held.mapped
    for place in range(3):
        assert (mapped.images[place] == held.images[place]).all() and (mapped.masks[place] == held.masks[place]).all()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-200] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", [cut_short, alter, Path.unlink])
@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None], which: int
):
    if which == 0 and harm is alter:
        return  # the table's own values are taken as they are
    listing = folder(tmp_path, SOME)
    first = ready_scenes(listing, Wanted())
    harm(sorted(files_of_the_cache(), key=lambda path: not path.name.endswith(".keys.npy"))[which])
    seen = count_decoding(monkeypatch)
    second = ready_scenes(listing, Wanted())
    assert len(seen) == 5 and first.fingerprint == second.fingerprint
    assert all((split(first).images[at] == split(second).images[at]).all() for at in range(3))


def test_other_masks_from_the_same_files_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listing = folder(tmp_path, SOME)
    ready_scenes(listing, Wanted())
    seen = count_decoding(monkeypatch)
    salted = replace(understood(listing), salt="another reading")

    def understands(*_: object) -> Masks:
        return salted

    monkeypatch.setattr(scenes, "understood", understands)
    ready_scenes(listing, Wanted())
    assert len(seen) == 5


def test_more_than_the_cache_may_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listing = folder(tmp_path, SOME)
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0.000001")
    with pytest.raises(NetwrightError, match="NETWRIGHT_CACHE_GB=1"):
        ready_scenes(listing, Wanted())


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "file"))
    listing = folder(tmp_path / "data", SOME)
    assert len(split(ready_scenes(listing, Wanted()))) == 3
    monkeypatch.setattr(scene_cache, "HELD", 1000)
    with pytest.raises(NetwrightError, match="set NETWRIGHT_CACHE to a folder"):
        ready_scenes(listing, Wanted())


def test_arrays_take_no_files():
    made = [pair(seed) for seed in range(6)]
    names = [f"x[{place}]" for place in range(6)]
    masks = MaskFiles(Arrays([np.stack([mask for _, mask in made])], names))
    pictures = Arrays([np.stack([picture for picture, _ in made])], names)
    sides = np.array([0, 0, 0, 0, 1, 1], np.int8)
    data = ready_scenes(Listing("arrays", "", CLASSES, pictures, np.zeros(6, np.int64), sides, masks=masks), Wanted())
    assert not files_of_the_cache()
    train = split(data)
    for place, name in enumerate(train.names):
        assert (train.images[place] == made[names.index(name)][0]).all()


def test_progress_is_told(tmp_path: Path):
    told: list[tuple[int, int]] = []
    ready_scenes(folder(tmp_path, SOME), Wanted(progress=lambda done, total: told.append((done, total))))
    assert told[-1] == (5, 5)


def test_some_of_a_split(tmp_path: Path):
    train = split(ready_scenes(folder(tmp_path, SOME), Wanted()))
    some = train.taken(np.array([2, 0]))
    assert len(some) == 2 and some.names == [train.names[2], train.names[0]]
    assert (some.images[0] == train.images[2]).all() and (some.masks[1] == train.masks[0]).all()
    assert (some.sizes == train.sizes[[2, 0]]).all() and some.ids.tolist() == train.ids[[2, 0]].tolist()


def test_few_large_pairs_are_in_memory_at_a_time():
    sizes = np.array([5, 5, scene_cache.TOGETHER, 7, scene_cache.TOGETHER - 7, 1, 3 * scene_cache.TOGETHER])
    assert list(scene_cache._together(sizes)) == [(0, 2), (2, 3), (3, 5), (5, 6), (6, 7)]
    assert not list(scene_cache._together(sizes[:0]))


@pytest.mark.parametrize("module", [live, scene_cache])
def test_pictures_with_masks_have_a_limit_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
):
    listing = folder(tmp_path, SOME)
    monkeypatch.setattr(module, "MOST_WITH_MASK", 0)
    with pytest.raises(NetwrightError, match="over the limit of 0 megapixels"):
        ready_scenes(listing, Wanted())


def test_masks_that_are_called_as_their_pictures_are_told_apart(tmp_path: Path):
    """Same name, same size, same time: only the folder differs."""
    stored: dict[str, bytes] = {}
    for shade, kind in enumerate(("images", "masks")):
        (tmp_path / kind).mkdir()
        Image.new("L", (8, 8), shade).save(tmp_path / kind / "a.bmp")
        os.utime(tmp_path / kind / "a.bmp", (1e9, 1e9))
        stored[kind] = (tmp_path / kind / "a.bmp").read_bytes()
    pictures, masks = (Files(tmp_path / kind, ["a.bmp"]) for kind in stored)
    sides = np.zeros(1, np.int8)
    listing = Listing("", str(tmp_path), CLASSES, pictures, np.zeros(1, np.int64), sides, masks=MaskFiles(masks))
    with opened_index() as index:
        keys, mask_keys = index.keys(listing)[0], scenes._mask_keys(index, listing, understood(listing))
    assert keys[0].tobytes() == sha256(stored["images"]).digest()
    assert mask_keys[0].tobytes() == sha256(stored["masks"]).digest()


@pytest.mark.data
def test_nuclei(real_data: Path):
    data = open_data(str(real_data / "nuclei"))
    assert {side: len(part) for side, part in data.splits.items()} == {"train": 100, "val": 30, "test": 30}
    train = split(data)
    assert (train.sizes == 256).all() and data.preprocess.image_size == data.preprocess.stored_size == 256
    assert len(data.classes) == 2 and train.background and not data.quarantined
    assert 0.02 < train.pixels[:, 1].sum() / train.pixels.sum() < 0.3
