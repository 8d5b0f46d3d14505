"""The same pictures in every format: the same samples in the same order, and the same weights, bit by bit."""

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.recipes._fit import fit
from netwright.recipes._recipe import Recipe
from tests.support import hash_of

CLASSES = ("cat", "dog", "fox")
SIZES = {"train": 24, "val": 9, "test": 6}


def pictures(side: str) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(len(side))
    labels = np.arange(SIZES[side]) % len(CLASSES)
    return draw.integers(0, 256, (SIZES[side], 32, 32, 3), np.uint8) // (labels + 1)[:, None, None, None].astype(
        np.uint8
    ), labels


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def each():
    for side in SIZES:
        for number, (image, label) in enumerate(zip(*pictures(side), strict=True)):
            yield side, number, image, CLASSES[label]


def folder(root: Path) -> str:
    for side, number, image, name in each():
        path = root / "photos" / side / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return str(root / "photos")


def table(root: Path) -> str:
    """Names that sort in another order, and the rows of one split after the other backwards."""
    rows = [("path", "label", "split")]
    (root / "files").mkdir()
    for side, number, image, name in reversed(list(each())):
        path = root / "files" / f"{(number * 7) % 31:02d}-{side}-{number}.png"
        path.write_bytes(png(image))
        rows.append((path.relative_to(root).as_posix(), name, {"val": "validation"}.get(side, side)))
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(root / "labels.csv")


def arrays(root: Path) -> str:
    held = {f"{axis}_{side}": array for side in SIZES for axis, array in zip("xy", pictures(side), strict=True)}
    np.savez(root / "photos.npz", classes=np.array(CLASSES), **held)
    return str(root / "photos.npz")


def single_arrays(root: Path) -> str:
    for side in SIZES:
        for axis, array in zip("xy", pictures(side), strict=True):
            np.save(root / f"{axis}_{side}.npy", array)
    np.save(root / "classes.npy", np.array(CLASSES))
    return str(root)


def webdataset(root: Path) -> str:
    for side, number, image, name in each():
        path = root / f"{side}-{number % 2:03d}.tar"
        with tarfile.open(path, "a") as shard:
            for ending, content in (("png", png(image)), ("cls", name.encode())):
                member = tarfile.TarInfo(f"{number:04d}.{ending}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return str(root)


def hugging_face(root: Path) -> str:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is an extra: pip install datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    splits = {}
    for side in SIZES:
        images, labels = pictures(side)
        rows = {"image": [{"bytes": png(image), "path": None} for image in images], "label": labels.tolist()}
        splits[{"val": "validation"}.get(side, side)] = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict(splits).save_to_disk(str(root / "saved"))
    return f"hf:{root / 'saved'}"


def json_lines(root: Path) -> str:
    folder(root)
    lines = [
        json.dumps({"file_name": f"photos/{side}/{name}/{number}.png", "label": name, "split": side})
        for side, number, _, name in each()
    ]
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return str(root / "metadata.jsonl")


def archive(root: Path) -> str:
    with zipfile.ZipFile(root / "photos.zip", "w") as file:
        for side, number, image, name in each():
            file.writestr(f"photos/{side}/{name}/{number}.png", png(image))
    return str(root / "photos.zip")


def trained(source: str, output: Path) -> tuple[dict[str, list[int]], str]:
    """The numbers of the samples in their order, and a hash of the weights."""
    seen: dict[str, list[int]] = {}
    recipe = Recipe(data=source, model="lenet5", epochs=2, batch_size=8, seed=3, threads=1, precision="fp32")
    result = fit(recipe.with_("flip", "translate"), output=output)
    from netwright.data import open_data

    for side, split in open_data(source).splits.items():
        seen[side] = split.ids.tolist()
    return seen, hash_of(result.model.state_dict())


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[int]], str]:
    root = tmp_path_factory.mktemp("expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETWRIGHT_CACHE", str(root / "cache"))
        return trained(folder(root), root / "runs")


@pytest.mark.parametrize(
    "made",
    [table, arrays, single_arrays, webdataset, hugging_face, json_lines, archive],
    ids=lambda made: made.__name__,
)
def test_every_format_trains_the_same_network(made, expected, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    ids, weights = trained(made(tmp_path / "data"), tmp_path / "runs")
    assert ids == expected[0]
    assert weights == expected[1]


def test_other_pictures_train_another(expected, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    source = folder(tmp_path)
    picture = next(Path(source).glob("train/*/*.png"))
    pixels = np.array(Image.open(picture))
    pixels[0, 0] ^= 128
    Image.fromarray(pixels).save(picture)
    assert trained(source, tmp_path / "runs")[1] != expected[1]
