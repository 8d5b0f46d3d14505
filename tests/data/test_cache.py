"""Decoded once, trusted only when everything about the file is as it was written."""

import errno
import json
import os
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import cache
from netwright.data.cache import Index, cache_folder, cached
from netwright.data.preprocess import Preprocess

PREPROCESS = Preprocess.plain(8, 10)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        values = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(values).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def decoded(monkeypatch):
    """The names of files as they are decoded."""
    names = []
    original = cache._row
    monkeypatch.setattr(cache, "_row", lambda path, *rest: (names.append(path.name), original(path, *rest))[1])
    return names


def opened(paths, folder, preprocess=PREPROCESS, **options):
    return cached(paths, [sha256(path.read_bytes()).digest() for path in paths], preprocess, folder=folder, **options)


def test_the_second_time_nothing_is_decoded(photos, tmp_path, decoded):
    steps = []
    first = opened(photos, tmp_path / "cache", progress=lambda done, total: steps.append((done, total)))
    assert sorted(decoded) == [path.name for path in photos] and steps == [(n, 6) for n in range(1, 7)]
    decoded.clear()
    second = opened(photos, tmp_path / "cache")
    assert decoded == [] and (first.images == second.images).all() and isinstance(second.images, np.memmap)
    for row, path in zip(second.images, photos, strict=True):
        assert (row == PREPROCESS.stored(path)).all()
    assert not list((tmp_path / "cache").glob("*.part"))


def test_what_the_network_sees_of_it_does_not_matter(photos, tmp_path, decoded):
    opened(photos, tmp_path)
    decoded.clear()
    opened(photos, tmp_path, Preprocess(5, 10, mean=(0.5,) * 3, std=(0.2,) * 3))
    assert decoded == []
    for other in (Preprocess.plain(8, 11), Preprocess.plain(8, 10, "pad"), Preprocess.plain(8, 10, channels=1)):
        opened(photos, tmp_path, other)
        assert len(decoded) == 6
        decoded.clear()


def test_a_changed_file_is_decoded_again(photos, tmp_path, decoded):
    opened(photos, tmp_path / "cache")
    Image.new("RGB", (20, 20), "red").save(photos[2])
    decoded.clear()
    assert tuple(opened(photos, tmp_path / "cache").images[2, 5, 5]) == (255, 0, 0)
    assert decoded


def zeroed(path):
    data = path.read_bytes()
    kept = min(128, len(data) // 2)
    path.write_bytes(data[:kept] + b"\0" * (len(data) - kept))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def garbage(path):
    path.write_bytes(b"not an array")


def foreign(path):
    with path.open("wb") as file:
        np.save(file, np.zeros((6, 3, 3, 3), np.uint8))


def pickled(path):
    with path.open("wb") as file:
        np.save(file, np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("harm", [zeroed, cut, garbage, foreign, pickled, os.unlink])
@pytest.mark.parametrize("ending", [".npy", ".json"])
def test_a_damaged_cache_is_rebuilt(photos, tmp_path, decoded, harm, ending):
    folder = tmp_path / "cache"
    opened(photos, folder)
    harm(next(folder.glob(f"*{ending}")))
    decoded.clear()
    again = opened(photos, folder)
    assert len(decoded) == 6
    assert (again.images[3] == PREPROCESS.stored(photos[3])).all()
    decoded.clear()
    opened(photos, folder)
    assert decoded == []


@pytest.mark.parametrize("text", ["[]", '{"rows": "x"}', '{"key": 1, "rows": 6, "sample": 0, "unreadable": []}'])
def test_a_foreign_sidecar_is_not_trusted(photos, tmp_path, decoded, text):
    folder = tmp_path / "cache"
    opened(photos, folder)
    next(folder.glob("*.json")).write_text(text)
    decoded.clear()
    opened(photos, folder)
    assert len(decoded) == 6


def test_writing_into_the_array_never_reaches_the_file(photos, tmp_path):
    images = opened(photos, tmp_path / "cache").images
    file = next((tmp_path / "cache").glob("*.npy"))
    before = file.read_bytes()
    images[:] = 0
    assert file.read_bytes() == before


def test_unreadable_files_are_left_out_and_remembered(photos, tmp_path, decoded):
    photos[1].write_bytes(b"<html>")
    photos[4].write_bytes(photos[4].read_bytes()[:200])
    for _ in range(2):
        found = opened(photos, tmp_path / "cache")
        assert found.images.shape == (4, 10, 10, 3)
        assert found.unreadable.keys() == {1, 4} and found.unreadable[1] == "not an image (starts with '<html>')"
        assert (found.images[3] == PREPROCESS.stored(photos[5])).all()
    assert len(decoded) == 6


def test_no_file_readable(photos, tmp_path):
    for path in photos:
        path.write_bytes(b"")
    for _ in range(2):
        assert opened(photos, tmp_path / "cache").images.shape == (0, 10, 10, 3)


def test_a_file_that_changes_meanwhile_is_tried_again_next_time(photos, tmp_path):
    digests = [sha256(path.read_bytes()).digest() for path in photos]
    good = photos[0].read_bytes()
    photos[0].write_bytes(photos[1].read_bytes())
    found = cached(photos, digests, PREPROCESS, folder=tmp_path / "cache")
    assert found.unreadable == {0: "changed while it was being read"}
    photos[0].write_bytes(good)
    assert cached(photos, digests, PREPROCESS, folder=tmp_path / "cache").unreadable == {}


def test_a_full_disk_is_told_before_decoding(photos, tmp_path, monkeypatch, decoded):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NetwrightError, match=r"need 1 MB in .*cache.*\n  fix: free 1 MB there, or set NETWRIGHT_CACHE"):
        opened(photos, tmp_path / "cache")
    assert decoded == []


def test_a_disk_that_fills_up_while_writing(photos, tmp_path, monkeypatch):
    def full(file, shape):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_header", full)
    with pytest.raises(NetwrightError, match="the disk is full"):
        opened(photos, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_leftovers_of_killed_runs_are_removed(photos, tmp_path):
    old, new = tmp_path / "cache" / "old.part", tmp_path / "cache" / "new.part"
    old.parent.mkdir()
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    opened(photos, tmp_path / "cache")
    assert not old.exists() and new.exists()


def test_without_a_place_to_write_pictures_stay_in_memory(photos, tmp_path):
    (tmp_path / "file").touch()
    photos[0].write_bytes(b"")
    found = opened(photos, tmp_path / "file" / "cache")
    assert found.images.shape == (5, 10, 10, 3) and found.unreadable == {0: "empty file"}
    assert "set NETWRIGHT_CACHE to a folder that can" in found.notes[0]


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("NETWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache_folder() == tmp_path / "netwright"


def test_unchanged_files_are_not_read_again(photos, tmp_path, monkeypatch):
    for path in photos:
        os.utime(path, (1e9, 1e9))
    index = Index(photos[0].parent, tmp_path)
    good, bad = index.digests(photos)
    index.save()
    assert good[photos[0]] == sha256(photos[0].read_bytes()).digest() and bad == {}
    os.utime(photos[3], (2e9 - 1e9 + 5, 1e9 + 5))
    seen = []
    original = cache.read
    monkeypatch.setattr(cache, "read", lambda path: (seen.append(path), original(path))[1])
    assert Index(photos[0].parent, tmp_path).digests(photos)[0] == good
    assert seen == [photos[3]]


def test_a_file_written_just_now_is_read_again(photos, tmp_path):
    index = Index(photos[0].parent, tmp_path)
    index.digests(photos)
    index.save()
    assert json.loads(index.path.read_text())["known"] == [{}, {}]


@pytest.mark.parametrize("text", ["", "[1]", '{"known": [{"0.png": 3}, {}], "checksum": 1}', '{"known": 2}'])
def test_a_damaged_index_is_ignored(photos, tmp_path, text):
    index = Index(photos[0].parent, tmp_path)
    index.path.write_text(text)
    assert len(Index(photos[0].parent, tmp_path).digests(photos)[0]) == 6


def test_files_that_cannot_be_opened(photos, tmp_path):
    missing = photos[0].parent / "gone.png"
    good, bad = Index(photos[0].parent, tmp_path).digests([photos[0], missing])
    assert list(good) == [photos[0]] and "cannot be opened" in bad[missing]
