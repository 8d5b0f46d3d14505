"""WebDataset shards: the same bytes as in the files, sides from names, and a named error for all that is wrong."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.assign import SPLITS
from netwright.data.decode import UnreadableImage, decode
from netwright.data.listing import NOBODY, Listing
from netwright.data.shards import expanded
from netwright.data.webdataset import is_webdataset, listing


@cache
def png(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def tar(path: Path, members: Mapping[str, bytes | str | int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else str(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pairs(*labels: int | str, first: int = 0) -> dict[str, bytes | str | int]:
    members: dict[str, bytes | str | int] = {}
    for place, label in enumerate(labels, first):
        members |= {f"{place:04d}.png": png(place), f"{place:04d}.cls": label}
    return members


def problem(source: str | Path) -> NetwrightError:
    with pytest.raises(NetwrightError) as caught:
        listing(str(source))
    assert caught.value.fix
    return caught.value


def labels(found: Listing) -> list[str]:
    return [found.classes[label] for label in found.labels]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    tar(tmp_path / "wds" / "train-0000.tar", pairs(0, 1, 2))
    tar(tmp_path / "wds" / "train-0001.tar", pairs(2, 1, first=3))
    tar(tmp_path / "wds" / "val-0000.tar", pairs(1, 0, first=5))
    return tmp_path / "wds"


def test_pictures_labels_and_sides(shards: Path) -> None:
    found = listing(str(shards))
    assert found.name == "wds"
    assert found.root == str(shards)
    assert list(found.blobs.names[:2]) == ["train-0000.tar/0000.png", "train-0000.tar/0001.png"]
    assert found.blobs.names[-1] == "val-0000.tar/0006.png"
    assert [found.blobs.read(place) for place in range(7)] == [png(seed) for seed in range(7)]
    assert found.labels.tolist() == [0, 1, 2, 2, 1, 1, 0]
    assert found.labels.dtype == np.int64
    assert found.classes == ("0", "1", "2")
    assert [SPLITS[side] for side in found.sides] == ["train"] * 5 + ["val"] * 2
    assert found.sides.dtype == np.int8
    assert not found.blobs.in_memory


def test_threads_read_what_one_thread_reads(shards: Path) -> None:
    blobs = listing(str(shards)).blobs
    places = np.random.default_rng(0).integers(0, 7, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(blobs.read, places)) == [png(place) for place in places]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("train-{0000..0001}.tar", 5),
        ("{train,val}-0000.tar", 5),
        ("train-0001.tar", 2),
        ("", 7),
    ],
)
def test_patterns_files_and_folders(shards: Path, source: str, count: int) -> None:
    assert is_webdataset(shards / source)
    assert len(listing(str(shards / source))) == count


def test_braces_expand_as_in_a_shell() -> None:
    assert list(expanded("a{08..11}")) == ["a08", "a09", "a10", "a11"]
    assert list(expanded("{train,val}/{0..1}.tar")) == ["train/0.tar", "train/1.tar", "val/0.tar", "val/1.tar"]


@pytest.mark.parametrize("names", ["{}/3.tar", "imagenet1k-{}-03.tar", "{}_3.tar", "{}3.tar", "3.{}.tar"])
@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_the_side_is_a_word_of_the_shards_name(tmp_path: Path, names: str, val: str) -> None:
    train, other = names.format("train"), names.format(val)
    tar(tmp_path / train, pairs("cat"))
    tar(tmp_path / other, pairs("cat", "dog"))
    found = listing(str(tmp_path))
    told = {
        name.removesuffix("/0000.png"): SPLITS[side] for name, side in zip(found.blobs.names, found.sides, strict=True)
    }
    assert {train: "train", other: "val"}.items() <= told.items()


def test_shards_without_a_side_are_for_nobody(tmp_path: Path) -> None:
    found = listing(str(tar(tmp_path / "photos.tar", pairs("cat", "dog"))))
    assert found.sides.tolist() == [NOBODY, NOBODY]
    assert found.name == "photos"
    tar(tmp_path / "all" / "train-1.tar", pairs("cat", "dog"))
    assert listing(str(tmp_path / "all")).sides.tolist() == [NOBODY, NOBODY]


def test_labels_are_numbers_words_or_json(tmp_path: Path) -> None:
    members = {
        "a/1.png": png(1), "a/1.json": json.dumps({"label": "dog", "width": 6}),
        "a/2.PNG": png(2), "a/2.txt": "cat\n",
        "b/1.png": png(3), "b/1.cls": "dog", "b/1.txt": "a photo of a dog", "b/1.seg.png": png(4),
        "./b/2.png": png(5), "./b/2.json": json.dumps({"class": "cat"}),
    }  # fmt: skip
    found = listing(str(tar(tmp_path / "x.tar", members)))
    assert found.classes == ("cat", "dog")
    assert labels(found) == ["dog", "cat", "dog", "cat"]
    assert list(found.blobs.names) == ["x.tar/a/1.png", "x.tar/a/2.png", "x.tar/b/1.png", "x.tar/b/2.png"]
    assert found.blobs.read(2) == png(3)


def test_words_of_digits_among_words_are_words(tmp_path: Path) -> None:
    assert listing(str(tar(tmp_path / "x.tar", pairs("10", "9", "dog")))).classes == ("10", "9", "dog")


def test_class_names_beside_the_shards(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", pairs(1, 0, 1))
    (tmp_path / "classes.txt").write_text("dog\ncat\nbird\n")
    found = listing(str(path))
    assert found.classes == ("dog", "cat", "bird")
    assert labels(found) == ["cat", "dog", "cat"]
    tar(path, pairs("cat", "dog"))
    assert listing(str(path)).labels.tolist() == [1, 0]
    assert "did you mean 'cat'" in problem(tar(path, pairs("cat", "catt"))).fix
    assert "x.tar/0001.png has label 3" in problem(tar(path, pairs(0, 3))).problem
    (tmp_path / "classes.txt").write_text("dog\ncat\ndog\n")
    assert "'dog' twice" in problem(path).problem


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"1.png": b"p", "2.png": b"p", "2.cls": 0}, "x.tar/1.png has no label beside it"),
        ({"1.png": b"p", "1.jpg": b"p", "1.cls": 0}, "x.tar/1 has 2 pictures: png, jpg"),
        ({"1.png": b"p", "1.cls": 0, "2.png": b"p", "2.cls": 0, "./1.png": b"p", "./1.cls": 1}, "is there twice"),
        ({"1.png": b"p", "./1.png": b"p", "1.cls": 0}, "x.tar/./1.png is there twice"),
        ({"1.png": b"p", "1.json": "{"}, "x.tar/1.json is not JSON"),
        ({"1.png": b"p", "1.json": "[" * 50_000}, "x.tar/1.json is not JSON"),
        ({"1.png": b"p", "1.json": '{"lable": 3}'}, "x.tar/1.json holds no label"),
        ({"1.png": b"p", "1.json": '{"label": [1, 2]}'}, r"x.tar/1.json holds no label but [1, 2]"),
        ({"1.png": b"p", "1.json": '{"label": true}'}, "holds no label but True"),
        ({"1.png": b"p", "1.cls": b"\xff"}, "x.tar/1.cls is not text"),
        ({"1.png": b"p", "1.cls": ""}, "x.tar/1.cls holds no label"),
        ({"1.png": b"p", "1.cls": "9" * 70_000}, "the label x.tar/1.cls has 70,000 bytes"),
        ({"a.v2.png": b"p", "a.v2.cls": 0}, "a.v2.png has no picture: a key ends at the first dot"),
        ({"1.npy": b"p", "1.cls": 0}, "no pictures in"),
        ({}, "no pictures in"),
    ],
)
def test_what_is_wrong_with_a_sample_is_named(tmp_path: Path, members: dict[str, bytes | str | int], said: str) -> None:
    assert said in problem(tar(tmp_path / "x.tar", members)).problem


@pytest.mark.fault(67, "Links, devices and paths that climb out of a WebDataset shard are never followed or written.")
def test_nothing_but_regular_files_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    path = tar(tmp_path / "in" / "x.tar", {"../../climbs.png": png(0), "../../climbs.cls": 0})
    with tarfile.open(path, "a") as archive:
        for kind, name in (
            (tarfile.SYMTYPE, "1"),
            (tarfile.LNKTYPE, "2"),
            (tarfile.CHRTYPE, "3"),
            (tarfile.DIRTYPE, "4"),
        ):
            info = tarfile.TarInfo(f"{name}.png")
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
    before = sorted(tmp_path.rglob("*"))
    found = listing(str(path))
    assert [found.blobs.read(place) for place in range(len(found))] == [png(0)]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.fault(44, "A WebDataset shard that breaks off is refused, with its name and its last whole member.")
@pytest.mark.parametrize("kept", ["content", "padding", "header", "end mark"])
def test_a_truncated_shard_is_named(tmp_path: Path, kept: str) -> None:
    path = tar(tmp_path / "train-7.tar", pairs(0, 1))
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    end = {"content": last.offset_data - 600, "padding": last.offset_data + 100, "header": last.offset + 50}
    path.write_bytes(path.read_bytes()[: end.get(kept, last.offset_data + 512)])
    error = problem(path)
    assert "the shard train-7.tar is truncated or damaged" in error.problem
    whole = {"content": "0000.cls", "end mark": "0001.cls"}.get(kept, "0001.png")
    assert f"its last whole member is {whole}" in error.problem


@pytest.mark.fault(45, "Of a WebDataset shard, a damaged header is noticed and not taken for the end.")
def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", pairs(0, 1))
    with tarfile.open(path) as archive:
        header = archive.getmembers()[2].offset
    data = bytearray(path.read_bytes())
    data[header] ^= 1
    path.write_bytes(data)
    assert "its last whole member is 0000.cls" in problem(path).problem


@pytest.mark.fault(67, "A tar header with a negative size is refused at once instead of being read for ever.")
def test_negative_sizes_are_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", pairs(0, 1))
    with tarfile.open(path) as archive:
        first, second = (archive.getmembers()[place] for place in (0, 2))
    data = bytearray(path.read_bytes())
    at = second.offset
    data[at + 124 : at + 136] = (2**96 - (second.offset_data - first.offset)).to_bytes(12, "big")
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = f"{sum(data[at : at + 512]):06o}\0 ".encode()
    path.write_bytes(data)
    assert "the shard x.tar is truncated or damaged" in problem(path).problem


def test_a_shard_that_changes_later_makes_unreadable_pictures(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", pairs(0, 1))
    found = listing(str(path))
    stamp = found.blobs.stamp(1)
    assert stamp == (len(png(1)), path.stat().st_mtime_ns)
    os.utime(path, ns=(0, 0))
    assert found.blobs.stamp(1) != stamp
    os.truncate(path, 2000)
    with pytest.raises(UnreadableImage, match=r"x.tar/0001.png: its shard has become shorter"):
        found.blobs.read(1)
    path.unlink()
    with pytest.raises(UnreadableImage, match="cannot be opened") as caught:
        found.blobs.read(0)
    assert not caught.value.lasting
    with pytest.raises(OSError, match="No such file"):
        found.blobs.stamp(0)


def test_what_shards_hold_can_be_decoded(shards: Path) -> None:
    data = listing(str(shards)).blobs.read(4)
    assert isinstance(data, bytes)
    assert decode(data).shape == (5, 6, 3)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("http://example.org/train-{0..9}.tar", "is an address"),
        ("s3://bucket/train-0.tar", "is an address"),
        ("pipe:curl -s http://example.org/x.tar", "is a command: a data source is never executed"),
    ],
)
@pytest.mark.fault(69, "A data source that is an address or a command is refused and never opened or executed.")
def test_addresses_and_commands_are_refused(source: str, said: str) -> None:
    assert said in problem(source).problem
    assert is_webdataset(Path(source))


def test_missing_and_compressed_shards_are_named(shards: Path, tmp_path: Path) -> None:
    error = problem(shards / "train-{0000..0003}.tar")
    assert "2 of 4 shards do not exist" in error.problem
    assert "train-0002.tar" in error.problem
    assert f"did you mean {shards / 'train-0000.tar'}" in problem(shards / "tran-0000.tar").fix
    packed = tmp_path / "packed" / "x.tar.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress((shards / "train-0000.tar").read_bytes()))
    assert is_webdataset(packed)
    assert is_webdataset(packed.parent)
    assert problem(packed).fix == f"unpack it to a plain .tar: gunzip {packed}"
    assert "compressed" in problem(packed.parent).problem
    renamed = packed.rename(packed.with_name("x.tar"))
    assert "not a tar file" in problem(renamed).problem
    assert "has no .tar files" in problem(tmp_path).problem
    assert "count upwards" in problem(tmp_path / "{9..3}.tar").fix


def test_shards_that_disagree_about_sides_are_refused(shards: Path) -> None:
    odd = tar(shards / "extra.tar", pairs(0))
    assert problem(shards).fix.endswith("train-extra.tar")
    odd.rename(shards / "train-test.tar")
    assert "names two sides: test, train" in problem(shards).problem


def test_shards_are_told_from_archives_of_class_folders(shards: Path, tmp_path: Path) -> None:
    folders = tar(tmp_path / "folders.tar", {f"photos/{name}/{n}.png": b"p" for name in ("cat", "dog") for n in (1, 2)})
    assert is_webdataset(shards)
    assert not is_webdataset(folders)
    assert not is_webdataset(tmp_path)
    assert not is_webdataset(tmp_path / "missing.tar")
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no tar")
    assert not is_webdataset(broken)
    cut = tmp_path / "cut.tar"
    cut.write_bytes((shards / "train-0000.tar").read_bytes()[:3000])
    assert is_webdataset(cut)


def test_numbers_that_count_nothing_are_refused(tmp_path: Path) -> None:
    assert "labels up to 20,000,000 for 2 pictures" in str(problem(tar(tmp_path / "a.tar", pairs(0, 20_000_000))))


def test_class_names_that_are_not_utf8(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", pairs(0, 1))
    (tmp_path / "classes.txt").write_bytes("Bär\nHund\n".encode("latin-1"))
    assert "classes.txt cannot be read" in str(problem(shard))
    (tmp_path / "classes.txt").write_text("Bär\nHund\n", "utf-8-sig")
    assert listing(str(shard)).classes == ("Bär", "Hund")
