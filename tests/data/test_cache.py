"""Decoded once, shared by every run, and trusted only when everything about the files is as it was written."""

import errno
import os
import shutil
import signal
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import cache, live, segments
from netwright.data import index as index_module
from netwright.data import listing as listings
from netwright.data.cache import cache_folder, opened_index
from netwright.data.decode import UnreadableImage
from netwright.data.index import Index
from netwright.data.listing import Files, Listing
from netwright.data.live import Live
from netwright.data.preprocess import Preprocess
from netwright.data.segments import ABSENT, Rows, Segments, as_keys

PREPROCESS = Preprocess.plain(8, 10)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


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
    original = live.examine
    monkeypatch.setattr(
        live, "examine", lambda blob, name, geometry: (names.append(name), original(blob, name, geometry))[1]
    )
    return names


def listed(paths):
    names = [path.name for path in paths]
    blobs, nothing = Files(paths[0].parent, names), np.zeros(len(paths), np.int64)
    return Listing("photos", str(paths[0].parent), (), blobs, nothing, nothing.astype(np.int8))


def opened(paths, geometry=PREPROCESS, **options):
    with opened_index() as index:
        keys, closed = index.keys(listed(paths))
        return cache.decoded(listed(paths), keys, closed, geometry, index, **options)


def test_the_second_time_nothing_is_decoded(photos, folder, decoded):
    steps = []
    first = opened(photos, progress=lambda done, total: steps.append((done, total)))
    assert sorted(decoded) == [path.name for path in photos] and steps == [(n, 6) for n in range(1, 7)]
    decoded.clear()
    second = opened(photos)
    assert decoded == [] and (first.images[:] == second.images[:]).all() and isinstance(second.images, Rows)
    assert (first.facts == second.facts).all()
    for row, path in zip(second.images, photos, strict=True):
        assert (row == PREPROCESS.stored(path)).all()
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".npy", ".sqlite"}


def test_one_new_picture_is_one_to_decode(photos, tmp_path, decoded):
    opened(photos[:5])
    decoded.clear()
    assert (opened(photos).images[5] == PREPROCESS.stored(photos[5])).all()
    assert decoded == ["5.png"]


def test_data_sets_share_what_they_have_in_common(photos, tmp_path, decoded):
    opened(photos)
    decoded.clear()
    shutil.copytree(photos[0].parent, tmp_path / "copy")
    assert (opened(sorted((tmp_path / "copy").iterdir())).images[:] == opened(photos).images[:]).all()
    assert decoded == []


def test_equal_pictures_are_decoded_once(photos, decoded):
    for path in photos[1:]:
        shutil.copy(photos[0], path)
    found = opened(photos)
    assert decoded == ["0.png"] and all((row == PREPROCESS.stored(photos[0])).all() for row in found.images)


def test_what_the_network_sees_of_it_does_not_matter(photos, decoded):
    opened(photos)
    decoded.clear()
    opened(photos, Preprocess(5, 10, mean=(0.5,) * 3, std=(0.2,) * 3))
    assert decoded == []
    for other in (Preprocess.plain(8, 11), Preprocess.plain(8, 10, "pad"), Preprocess.plain(8, 10, channels=1)):
        opened(photos, other)
        assert len(decoded) == 6
        decoded.clear()


@pytest.mark.fault(22, "a picture whose content changes is decoded anew")
def test_a_changed_file_is_decoded_again(photos, decoded):
    opened(photos)
    Image.new("RGB", (20, 20), "red").save(photos[2])
    decoded.clear()
    assert tuple(opened(photos).images[2][5, 5]) == (255, 0, 0)
    assert decoded == ["2.png"]


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


@pytest.mark.fault(63, "a damaged cache is rebuilt")
@pytest.mark.parametrize("harm", [zeroed, cut, garbage, foreign, pickled, os.unlink])
@pytest.mark.parametrize("keys", [True, False], ids=["keys", "values"])
@pytest.mark.parametrize("kind", ["pixels", "facts"])
def test_a_damaged_cache_is_rebuilt(photos, folder, decoded, harm, keys, kind):
    opened(photos)
    harm(next(path for path in folder.glob(f"{kind}/*/*.npy") if path.name.endswith(".keys.npy") == keys))
    decoded.clear()
    again = opened(photos)
    assert len(decoded) == 6
    assert (again.images[3] == PREPROCESS.stored(photos[3])).all()
    assert again.facts["width"].tolist() == [30] * 6
    decoded.clear()
    opened(photos)
    assert decoded == []


def test_writing_into_the_array_never_reaches_the_file(photos, folder):
    images = opened(photos).images
    file = next(path for path in folder.glob("pixels/*/*.npy") if ".keys" not in path.name)
    before = file.read_bytes()
    images.segments[0][:] = 0
    assert file.read_bytes() == before


def test_unreadable_files_are_left_out_and_remembered(photos, decoded):
    photos[1].write_bytes(b"<html>")
    photos[4].write_bytes(photos[4].read_bytes()[:200])
    for _ in range(2):
        found = opened(photos)
        assert found.unreadable.keys() == {1, 4} and found.unreadable[1] == "not an image (starts with '<html>')"
        assert (found.images[5] == PREPROCESS.stored(photos[5])).all()
        assert not found.facts[[1, 4]]["width"].any()
    assert len(decoded) == 6


def test_every_copy_of_an_unreadable_file_is_left_out(photos):
    for path in photos[:3]:
        path.write_bytes(b"<html>")
    assert opened(photos).unreadable.keys() == {0, 1, 2}


def test_no_file_readable(photos):
    for path in photos:
        path.write_bytes(b"")
    for _ in range(2):
        assert opened(photos).unreadable.keys() == set(range(6))


@pytest.mark.fault(63, "a picture that changes while it is read is left out, and tried again in the next run")
def test_a_file_that_changes_meanwhile_is_tried_again_next_time(photos):
    keys = as_keys([sha256(path.read_bytes()).digest() for path in photos])
    good = photos[0].read_bytes()
    photos[0].write_bytes(photos[1].read_bytes())
    index = Index(None)
    found = cache.decoded(listed(photos), keys, {}, PREPROCESS, index)
    assert found.unreadable == {0: "changed while it was being read"}
    photos[0].write_bytes(good)
    assert cache.decoded(listed(photos), keys, {}, PREPROCESS, index).unreadable == {}
    index.close()


def test_a_full_disk_is_told_before_decoding(photos, monkeypatch, decoded):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NetwrightError, match=r"need 1 MB in .*cache.*\n  fix: free 1 MB there, or set NETWRIGHT_CACHE"):
        opened(photos)
    assert decoded == []


def test_a_disk_that_fills_up_while_writing(photos, folder, monkeypatch):
    def full(file, dtype, shape):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments, "_header", full)
    with pytest.raises(NetwrightError, match=r"the disk is full.*\n  fix: .*NETWRIGHT_CACHE"):
        opened(photos)
    assert not list(folder.rglob("*.npy"))


def test_leftovers_of_killed_runs_are_removed(photos, folder):
    old, new = folder / "pixels" / ".a.npy.1-old", folder / "pixels" / ".b.npy.1-new"
    old.parent.mkdir(parents=True)
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    opened(photos)
    assert not old.exists() and new.exists()


def test_without_a_place_to_write_pictures_stay_in_memory(photos, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "file" / "cache"))
    photos[0].write_bytes(b"")
    found = opened(photos)
    assert (found.images[5] == PREPROCESS.stored(photos[5])).all() and found.unreadable == {0: "empty file"}
    assert "set NETWRIGHT_CACHE to a folder that can" in found.notes[0]


def test_a_killed_run_keeps_the_segments_it_finished(photos, folder, monkeypatch, decoded):
    monkeypatch.setattr(segments, "SEGMENT_ROWS", 2)
    monkeypatch.setattr(cache, "_CHUNK", 2)
    child = os.fork()
    if child == 0:
        opened(photos, progress=lambda done, _: os.kill(os.getpid(), signal.SIGKILL) if done == 5 else None)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    found = opened(photos)
    assert sorted(decoded) == ["4.png", "5.png"]
    assert all((row == PREPROCESS.stored(path)).all() for row, path in zip(found.images, photos, strict=True))


def test_what_was_used_least_recently_makes_room(photos, folder, monkeypatch):
    old, used, new = (Preprocess.plain(side, side) for side in (12, 11, 10))
    opened(photos, old)
    opened(photos, used)
    for number, path in enumerate(folder.glob("pixels/*/*.keys.npy")):
        os.utime(path, (1e9 + number, 1e9 + number))
    opened(photos, used)  # again: now it is the one used last
    size = sum(path.stat().st_size for path in folder.rglob("*.npy"))
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", str(size / 1e9))
    opened(photos, new)
    kept = {path.parent.name for path in folder.glob("pixels/*/*.npy")}
    assert kept == {cache._name(each.shape, each.fit) for each in (used, new)}


def test_pictures_of_one_geometry_make_room_for_each_other(photos, folder, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0.000005")
    for path in photos:
        found = opened([path])
        assert (found.images[0] == PREPROCESS.stored(path)).all()
    assert sum(path.stat().st_size for path in folder.rglob("*.npy")) < 8000


def test_values_without_keys_are_the_first_to_go(photos, folder, monkeypatch):
    opened(photos[:3])
    left = folder / "pixels" / "x" / "left.npy"
    left.parent.mkdir()
    np.save(left, np.zeros(1000, np.uint8))
    os.utime(left, (0, 0))
    size = sum(path.stat().st_size for path in folder.rglob("*.npy"))
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", str(size / 1e9))
    opened(photos)
    assert not left.exists() and len(list(folder.glob("pixels/*/*.keys.npy"))) == 2


def test_many_small_segments_become_one(photos, folder, monkeypatch):
    monkeypatch.setattr(segments, "MOST_SMALL", 3)
    for path in photos:
        opened([path])
    assert len(list(folder.glob("pixels/*/*.keys.npy"))) <= 3
    found = opened(photos)
    assert all((row == PREPROCESS.stored(path)).all() for row, path in zip(found.images, photos, strict=True))


def test_too_many_open_files_are_not_taken_for_damage(photos, monkeypatch):
    opened(photos)

    def refused(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(np, "load", refused)
    with pytest.raises(NetwrightError, match=r"too many files are open.*\n  fix: .*ulimit"):
        opened(photos)


def test_a_database_in_use_is_left_alone(photos, folder, monkeypatch):
    import sqlite3

    opened(photos)
    monkeypatch.setattr(index_module, "_connected", _busy_on_disk(index_module._connected, sqlite3.OperationalError))
    opened(photos)
    monkeypatch.undo()
    assert (folder / "index.sqlite").stat().st_size > 0


def _busy_on_disk(original, error):
    def connected(path):
        if path != ":memory:":
            raise error("database is locked")
        return original(path)

    return connected


def test_more_than_the_cache_may_hold_is_decoded_whenever_it_is_asked_for(photos, monkeypatch, decoded):
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0.000001")
    found = opened(photos)
    assert isinstance(found.images, Live) and found.images.shape == (6, 10, 10, 3)
    assert "NETWRIGHT_CACHE_GB=1 would keep them" in found.notes[0]
    decoded.clear()
    wanted = np.stack([PREPROCESS.stored(photos[place]) for place in (4, 1)])
    assert (found.images[np.array([4, 1])] == wanted).all() and sorted(decoded) == ["1.png", "4.png"]
    photos[1].write_bytes(b"")
    with pytest.raises(UnreadableImage, match=r"1\.png: changed while it was being read"):
        found.images[np.array([1])]
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "much")
    with pytest.raises(NetwrightError, match="give gigabytes"):
        opened(photos, Preprocess.plain(5, 5))


def test_without_a_cache_folder_memory_is_not_filled(photos, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(cache, "HELD", 100)
    found = opened(photos)
    assert isinstance(found.images, Live) and (found.images[2] == PREPROCESS.stored(photos[2])).all()


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("NETWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache_folder() == tmp_path / "netwright"


def test_unchanged_files_are_not_read_again(photos, folder, monkeypatch):
    for path in photos:
        os.utime(path, (1e9, 1e9))
    with opened_index() as index:
        keys, closed = index.keys(listed(photos))
    assert keys[0].tobytes() == sha256(photos[0].read_bytes()).digest() and closed == {}
    os.utime(photos[3], (1e9 + 5, 1e9 + 5))
    seen = []
    original = listings.read
    monkeypatch.setattr(listings, "read", lambda path: (seen.append(path), original(path))[1])
    with opened_index() as index:
        assert (index.keys(listed(photos))[0] == keys).all()
    assert seen == [photos[3]]


def test_a_file_written_just_now_is_read_again(photos):
    with opened_index() as index:
        index.keys(listed(photos))
        assert index.database.execute("SELECT count(*) FROM files").fetchone() == (0,)


@pytest.mark.parametrize("content", [b"", b"[1]", b"SQLite format 3\0" + bytes(84), os.urandom(5000)])
def test_a_damaged_index_is_begun_anew(photos, folder, content):
    folder.mkdir()
    (folder / "index.sqlite").write_bytes(content)
    for _ in range(2):
        assert opened(photos).unreadable == {}


def test_findings_are_kept_by_content(folder):
    with opened_index() as index:
        assert index.finding("a", lambda: [1, "x"]) == [1, "x"]
    with opened_index() as index:
        assert index.finding("a", lambda: pytest.fail("found out again")) == [1, "x"]
        assert index.finding("b", lambda: 2) == 2


def test_files_that_cannot_be_opened(photos):
    missing = photos[0].parent / "gone.png"
    found = opened([photos[0], missing])
    assert list(found.unreadable) == [1] and "cannot be opened" in found.unreadable[1]
    missing.write_bytes(photos[1].read_bytes())
    assert opened([photos[0], missing]).unreadable == {}


def test_keys_that_begin_alike_are_told_apart(tmp_path):
    kept = Segments(tmp_path, np.int64)
    keys = np.array([[7, 0, 0, n] for n in range(5)], np.uint64)
    for part in (keys[:2], keys[2:]):
        with kept.writing() as writer:
            for key in part:
                writer.add(key, np.array(int(key[3]) * 10))
    again = Segments(tmp_path, np.int64)
    assert again.rows(again.find(keys[::-1].copy()))[:].tolist() == [40, 30, 20, 10, 0]
    assert again.find(np.array([[7, 0, 0, 9], [8, 0, 0, 0]], np.uint64)).tolist() == [ABSENT, ABSENT]
