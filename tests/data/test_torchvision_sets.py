"""torchvision's data sets from files laid out as torchvision does, without a download and without foreign pickles."""

import bz2
import gzip
import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torchvision.datasets as sets
from numpy.typing import NDArray
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data import torchvision_sets
from netwright.data.assign import SPLITS
from netwright.data.decode import UnreadableImage
from netwright.data.listing import NOBODY, Listing
from netwright.data.torchvision_sets import SETS, OneByOne, listing
from tests.conftest import photo

DRAW = np.random.default_rng(0)
HALVES = {"train": slice(0, 2), "test": slice(2, 4)}


def noise(*shape: int) -> NDArray[np.uint8]:
    return DRAW.integers(0, 256, shape, dtype=np.uint8)


def problem(source: str) -> NetwrightError:
    with pytest.raises(NetwrightError) as caught:
        listing(source)
    assert caught.value.fix
    return caught.value


def sides(found: Listing) -> list[str]:
    return ["" if side == NOBODY else SPLITS[side] for side in found.sides]


def labels(found: Listing) -> list[str]:
    return [found.classes[label] for label in found.labels]


def idx(path: Path, values: NDArray[Any], kind: int = 8) -> None:
    """A file as MNIST's: two zeros, the type, the number of dimensions, their sizes, the values, big-endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = np.array(values.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, kind, values.ndim]) + sizes + values.tobytes())


def mnist(folder: Path, prefixes: tuple[str, str] = ("train", "t10k"), first: int = 0) -> NDArray[np.uint8]:
    pictures = noise(7, 28, 28)
    for prefix, rows in zip(prefixes, (slice(0, 4), slice(4, 7)), strict=True):
        idx(folder / f"{prefix}-images-idx3-ubyte", pictures[rows])
        idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(7, dtype=np.uint8)[rows] % 4 + first)
    return pictures


def cifar(kind: type[sets.CIFAR10], root: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> NDArray[np.uint8]:
    """Files as CIFAR's, declared to be those that were published."""
    folder, pictures = root / kind.base_folder, noise(7, 32, 32, 3)
    rows = pictures.transpose(0, 3, 1, 2).reshape(7, -1)
    names = [f"class {n}" for n in range(4)]
    content = {
        "one": {"data": rows[:2], key: [0, 1]}, "two": {"data": rows[2:4], key: [2, 3]},
        "test": {"data": rows[4:], key: [0, 1, 2]}, "meta": {kind.meta["key"]: names},
    }  # fmt: skip
    folder.mkdir(parents=True)
    sums = {}
    for name, each in content.items():
        data = pickle.dumps(each, protocol=2)
        (folder / name).write_bytes(data)
        sums[name] = md5(data).hexdigest()
    monkeypatch.setattr(kind, "train_list", [[name, sums[name]] for name in ("one", "two")])
    monkeypatch.setattr(kind, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": "meta", "md5": sums["meta"]})
    return pictures


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_files_as_mnists(tmp_path: Path, name: str) -> None:
    pictures = mnist(tmp_path / name / "raw")
    found = listing(f"torchvision:{name}(root='{tmp_path}')")
    assert found.name == name
    assert found.root == str(tmp_path)
    assert sides(found) == ["train"] * 4 + ["test"] * 3
    assert list(found.blobs.names) == [*(f"train[{n}]" for n in range(4)), *(f"test[{n}]" for n in range(3))]
    assert np.array_equal(np.stack([found.blobs.read(place) for place in range(7)]), pictures)
    assert labels(found) == [getattr(sets, name).classes[n % 4] for n in range(7)]
    assert found.notes[0].startswith("left out classes without pictures: ")
    assert found.blobs.in_memory


def test_the_pictures_are_views(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST" / "raw")
    blobs = listing(f"torchvision:MNIST(root='{tmp_path}')").blobs
    one, again = blobs.read(1), blobs.read(1)
    assert isinstance(one, np.ndarray)
    assert isinstance(again, np.ndarray)
    assert np.shares_memory(one, again)


@pytest.mark.parametrize("folder", ["", "MNIST", "MNIST/raw"])
def test_the_folder_of_the_files_will_do_as_root(tmp_path: Path, folder: str) -> None:
    mnist(tmp_path / "MNIST" / "raw")
    assert len(listing(f"torchvision:MNIST(root='{tmp_path / folder}')")) == 7


def test_a_root_may_be_called_as_the_set(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST" / "MNIST" / "raw")
    assert listing(f"torchvision:MNIST(root='{tmp_path / 'MNIST'}')").root == str(tmp_path / "MNIST")


def test_the_root_is_data_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mnist(tmp_path / "data" / "MNIST" / "raw")
    assert len(listing("torchvision:MNIST")) == 7


def test_letters_begin_with_a_class_that_has_no_pictures(tmp_path: Path) -> None:
    mnist(tmp_path / "EMNIST" / "raw", ("emnist-letters-train", "emnist-letters-test"), first=1)
    found = listing(f"torchvision:EMNIST(root='{tmp_path}', split='letters')")
    assert found.classes == ("a", "b", "c", "d")
    assert labels(found) == ["a", "b", "c", "d", "a", "b", "c"]
    assert found.labels.dtype == np.int64


def test_qmnist_has_more_than_a_label(tmp_path: Path) -> None:
    pictures = noise(4, 28, 28)
    for side, rows in HALVES.items():
        about = (np.arange(4 * 8).reshape(4, 8) % 10).astype(">i4")
        idx(tmp_path / "QMNIST/raw" / f"qmnist-{side}-images-idx3-ubyte", pictures[rows])
        idx(tmp_path / "QMNIST/raw" / f"qmnist-{side}-labels-idx2-int", about[rows], 12)
    found = listing(f"torchvision:QMNIST(root='{tmp_path}')")
    assert labels(found) == [sets.QMNIST.classes[n] for n in (0, 8, 6, 4)]
    assert np.array_equal(found.blobs.read(3), pictures[3])


@pytest.mark.parametrize(("kind", "key"), [(sets.CIFAR10, "labels"), (sets.CIFAR100, "fine_labels")])
@pytest.mark.parametrize("direct", [True, False])
def test_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[sets.CIFAR10], key: str, direct: bool
) -> None:
    pictures = cifar(kind, tmp_path, monkeypatch, key)
    root = tmp_path / kind.base_folder if direct else tmp_path
    found = listing(f"torchvision:{kind.__name__}(root='{root}')")
    assert np.array_equal(np.stack([found.blobs.read(place) for place in range(7)]), pictures)
    assert found.classes == ("class 0", "class 1", "class 2", "class 3")
    assert found.labels.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert sides(found) == ["train"] * 4 + ["test"] * 3


class Evil:
    """What a pickle can do."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, int]]:
        return os.open, (str(self.canary), os.O_CREAT)


@pytest.mark.fault(64, "A CIFAR file that is not the one that was published is refused before it is unpickled.")
@pytest.mark.parametrize("name", ["one", "two", "test", "meta"])
def test_a_foreign_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cifar(sets.CIFAR10, tmp_path, monkeypatch, "labels")
    path = tmp_path / sets.CIFAR10.base_folder / name
    path.write_bytes(pickle.dumps({"data": Evil(tmp_path / "canary")}))
    error = problem(f"torchvision:CIFAR10(root='{tmp_path}')")
    assert f"{path} is not the file that was published" in error.problem
    assert not (tmp_path / "canary").exists()
    os.close(pickle.loads(path.read_bytes())["data"])
    assert (tmp_path / "canary").exists()
    path.unlink()
    assert f"{path} does not exist" in problem(f"torchvision:CIFAR10(root='{tmp_path}')").problem


@pytest.mark.fault(64, "Of torchvision's data sets, none is read that unpickles files whose checksum is not known.")
def test_no_other_set_unpickles() -> None:
    for name in SETS:
        source = Path(inspect.getfile(getattr(sets, name))).read_text()
        assert "pickle." not in source or issubclass(getattr(sets, name), sets.CIFAR10), name
        assert source.count("torch.load(") == source.count("weights_only=True"), name
        assert "allow_pickle" not in source, name


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, split_list = noise(5, 32, 32, 3), dict(sets.SVHN.split_list)
    for side, rows in {"train": slice(0, 3), "test": slice(3, 5)}.items():
        numbers = np.array([10, 1, 2, 1, 10], np.uint8)[rows, None]
        path = tmp_path / f"{side}_32x32.mat"
        scipy.io.savemat(path, {"X": pictures[rows].transpose(1, 2, 3, 0), "y": numbers})
        split_list[side] = [*split_list[side][:2], md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(sets.SVHN, "split_list", split_list)
    found = listing(f"torchvision:SVHN(root='{tmp_path}')")
    assert np.array_equal(np.stack([found.blobs.read(place) for place in range(5)]), pictures)
    assert labels(found) == ["0", "1", "2", "1", "0"]


def test_stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, folder = noise(4, 96, 96, 3), tmp_path / sets.STL10.base_folder
    folder.mkdir()
    files = {
        **{f"{side}_X.bin": pictures[rows].transpose(0, 3, 2, 1).tobytes() for side, rows in HALVES.items()},
        **{f"{side}_y.bin": bytes([1, 2]) for side in HALVES},
        "class_names.txt": b"bird\ncar\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sums = {name: md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(sets.STL10, "train_list", [[name, sums[name]] for name in ("train_X.bin", "train_y.bin")])
    monkeypatch.setattr(sets.STL10, "test_list", [[name, sums[name]] for name in ("test_X.bin", "test_y.bin")])
    found = listing(f"torchvision:STL10(root='{folder}')")
    assert np.array_equal(np.stack([found.blobs.read(place) for place in range(4)]), pictures)
    assert labels(found) == ["bird", "car"] * 2


def test_usps(tmp_path: Path) -> None:
    for name, label in {"usps.bz2": 1, "usps.t.bz2": 2}.items():
        line = f"{label} " + " ".join(f"{place + 1}:{1 if place % 2 else -1}" for place in range(256)) + "\n"
        (tmp_path / name).write_bytes(bz2.compress(line.encode()))
    found = listing(f"torchvision:USPS(root='{tmp_path}')")
    assert np.array_equal(found.blobs.read(1), np.tile(np.array([0, 255], np.uint8), (16, 8)))
    assert labels(found) == ["0", "1"]


def tree(folder: Path, *names: str) -> list[str]:
    """Pictures, each another one."""
    for name in names:
        photo(folder / name, (90, 120, 150), DRAW.integers(2**30), (6, 5))
    return list(names)


def eurosat(root: Path) -> None:
    tree(root / "eurosat/2750", "Forest/Forest_1.jpg", "River/River_1.jpg", "River/River_2.jpg")


def country(root: Path) -> None:
    for side in ("train", "valid", "test"):
        tree(root / "country211" / side, "AD/1.jpg", "AE/2.jpg")


def food(root: Path) -> None:
    tree(root / "food-101/images", "pie/1.jpg", "pie/2.jpg", "soup/3.jpg", "soup/4.jpg")
    (root / "food-101/meta").mkdir()
    for side, (one, other) in {"train": "13", "test": "24"}.items():
        (root / f"food-101/meta/{side}.json").write_text(json.dumps({"pie": [f"pie/{one}"], "soup": [f"soup/{other}"]}))


def pets(root: Path) -> None:
    tree(root / "oxford-iiit-pet/images", "Abyssinian_1.jpg", "beagle_1.jpg", "Abyssinian_2.jpg", "beagle_2.jpg")
    (root / "oxford-iiit-pet/annotations").mkdir()
    for n, side in enumerate(("trainval", "test"), 1):
        lines = f"Abyssinian_{n} 1 1 1\nbeagle_{n} 2 2 1\n"
        (root / f"oxford-iiit-pet/annotations/{side}.txt").write_text(lines)


def dtd(root: Path) -> None:
    (root / "dtd/dtd/labels").mkdir(parents=True)
    for n, side in enumerate(("train", "val", "test")):
        names = tree(root / "dtd/dtd/images", f"dots/{n}.jpg", f"lines/{n}.jpg")
        (root / f"dtd/dtd/labels/{side}1.txt").write_text("\n".join(names))


def signs(root: Path) -> None:
    tree(root / "gtsrb/GTSRB/Training", "00000/0.ppm", "00001/0.ppm")
    tree(root / "gtsrb/GTSRB/Final_Test/Images", "0.ppm")
    (root / "gtsrb/GT-final_test.csv").write_text("Filename;Width;ClassId\n0.ppm;6;1\n")


def cars(root: Path) -> None:
    devkit = root / "stanford_cars/devkit"
    devkit.mkdir(parents=True)
    kind = [("fname", "O"), ("class", "O")]
    for side, path in {
        "train": devkit / "cars_train_annos.mat",
        "test": devkit.parent / "cars_test_annos_withlabels.mat",
    }.items():
        tree(devkit.parent / f"cars_{side}", "1.jpg", "2.jpg")
        scipy.io.savemat(path, {"annotations": np.array([("1.jpg", 1), ("2.jpg", 2)], kind)})
    scipy.io.savemat(devkit / "cars_meta.mat", {"class_names": np.array(["Audi", "BMW"], object)})


@pytest.mark.parametrize(
    ("name", "make", "split", "named"),
    [
        ("EuroSAT", eurosat, ["", "", ""], ["Forest", "River", "River"]),
        ("Country211", country, ["train", "train", "val", "val", "test", "test"], ["AD", "AE"] * 3),
        ("Food101", food, ["train", "train", "test", "test"], ["pie", "soup"] * 2),
        ("OxfordIIITPet", pets, ["train", "train", "test", "test"], ["Abyssinian", "Beagle"] * 2),
        ("DTD", dtd, ["train", "train", "val", "val", "test", "test"], ["dots", "lines"] * 3),
        ("GTSRB", signs, ["train", "train", "test"], ["0", "1", "1"]),
        ("StanfordCars", cars, ["train", "train", "test", "test"], ["Audi", "BMW"] * 2),
    ],
)
def test_sets_of_files(
    tmp_path: Path, name: str, make: Callable[[Path], None], split: list[str], named: list[str]
) -> None:
    make(tmp_path)
    found = listing(f"torchvision:{name}(root='{tmp_path}')")
    assert sides(found) == split
    assert labels(found) == named
    assert not found.blobs.in_memory
    for place, file in enumerate(found.blobs.names):
        assert found.blobs.read(place) == (tmp_path / file).read_bytes()
    assert len({found.blobs.read(place) for place in range(len(found))}) == len(found)


def test_pictures_without_a_list_of_files_are_read_one_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "caltech101/101_ObjectCategories"
    tree(folder, "BACKGROUND_Google/image_0001.jpg", "ant/image_0001.jpg", "bass/image_0001.jpg", "bass/image_0002.jpg")
    found = listing(f"torchvision:Caltech101(root='{tmp_path}')")
    assert labels(found) == ["ant", "bass", "bass"]
    assert sides(found) == ["", "", ""]
    with Image.open(folder / "bass/image_0002.jpg") as picture:
        assert np.array_equal(found.blobs.read(2), np.asarray(picture))
    assert found.blobs.names[2] == "Caltech101[2]"
    (folder / "ant/image_0001.jpg").write_bytes(b"no picture")
    with pytest.raises(UnreadableImage, match=r"Caltech101\[0\]: torchvision cannot read it"):
        found.blobs.read(0)


@pytest.mark.parametrize("error", [RuntimeError("broken"), SyntaxError("broken PNG"), IndexError(7)])
def test_whatever_torchvision_stumbles_on_is_one_picture_that_cannot_be_read(error: Exception) -> None:
    class Broken:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, row: int) -> None:
            raise error

    with pytest.raises(UnreadableImage, match=r"test\[0\]: torchvision cannot read it"):
        OneByOne([Broken()], ["test[0]"]).read(0)


@pytest.mark.fault(56, "Sides of a torchvision data set whose class folders differ are refused.")
def test_classes_must_agree_between_sides(tmp_path: Path) -> None:
    country(tmp_path)
    (tmp_path / "country211/test/AD").rename(tmp_path / "country211/test/ZZ")
    assert "train, val, test have different classes" in problem(f"torchvision:Country211(root='{tmp_path}')").problem


@pytest.mark.fault(69, "torchvision's data sets are read from disk: whatever is missing, nothing is downloaded.")
@pytest.mark.parametrize("name", sorted(SETS))
def test_the_table_agrees_with_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("a download was begun"))
    assert name in sets.__all__
    standard, parameters = SETS[name], inspect.signature(getattr(sets, name).__init__).parameters
    assert not standard.argument or standard.argument in parameters or "kwargs" in parameters
    option = ", split='letters'" if name == "EMNIST" else ""
    for folder in ("", standard.folder):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        before = sorted(tmp_path.rglob("*"))
        error = problem(f"torchvision:{name}(root='{tmp_path}'{option})")
        assert str(tmp_path) in error.problem
        assert sorted(tmp_path.rglob("*")) == before


def test_the_message_has_the_line_that_downloads(tmp_path: Path) -> None:
    fix = problem(f"torchvision:Food101(root='{tmp_path}')").fix
    assert f"from torchvision.datasets import Food101; Food101('{tmp_path}', split='train', download=True)" in fix
    assert "download" not in problem(f"torchvision:FER2013(root='{tmp_path}')").fix


def test_compressed_files_name_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST/raw"
    mnist(folder)
    for path in list(folder.iterdir()):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert problem(f"torchvision:MNIST(root='{tmp_path}')").fix == f"gunzip --keep {folder}/*.gz"


def test_damaged_files_are_named(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST/raw")
    path = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    assert f"cannot read MNIST from {tmp_path} for test" in problem(f"torchvision:MNIST(root='{tmp_path}')").problem
    mnist(tmp_path / "MNIST/raw", first=8)
    assert "labels from 8 to 11, but 10 classes" in problem(f"torchvision:MNIST(root='{tmp_path}')").problem


@pytest.mark.parametrize(
    ("source", "problem_part", "fix_part"),
    [
        ("torchvision:CIFAR1O", "unknown data set of torchvision 'CIFAR1O'", "did you mean 'CIFAR10'?"),
        ("torchvision:LSUN", "torchvision's LSUN is not read", "Sets that are read: CIFAR10"),
        ("torchvision:CIFAR10(split='train')", "unknown option of torchvision:CIFAR10 'split'", "Allowed: root."),
        ("torchvision:DTD(partion=2)", "'partion'", "did you mean 'partition'?"),
        ("torchvision:DTD(download=True)", "'download'", "Allowed: partition, root."),
        ("torchvision:EMNIST", "EMNIST needs to know its split", "torchvision:EMNIST(split='byclass')"),
        ("torchvision:", "cannot read", "write a name"),
    ],
)
def test_names_and_options(source: str, problem_part: str, fix_part: str) -> None:
    error = problem(source)
    assert problem_part in error.problem
    assert fix_part in error.fix


def test_torchvision_is_imported_only_when_it_is_wanted() -> None:
    script = f"import sys, {torchvision_sets.__name__}; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.data
def test_the_real_mnist(tmp_path: Path, real_data: Path) -> None:
    raw = real_data / "mnist/MNIST/raw"
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    for path in raw.glob("*ubyte.gz"):
        with gzip.open(path) as packed, (tmp_path / "MNIST/raw" / path.stem).open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    found = listing(f"torchvision:MNIST(root='{tmp_path}')")
    pictures = (tmp_path / "MNIST/raw/t10k-images-idx3-ubyte").read_bytes()
    numbers = (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").read_bytes()
    assert len(found) == 70_000
    for row in (0, 17, 9_999):
        pixels = found.blobs.read(60_000 + row)
        assert isinstance(pixels, np.ndarray)
        assert pixels.tobytes() == pictures[16 + row * 784 : 16 + (row + 1) * 784]
        assert labels(found)[60_000 + row].startswith(str(numbers[8 + row]))
    assert len(found.classes) == 10
    assert found.notes == ()
