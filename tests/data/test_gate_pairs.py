"""The audit of pictures with masks: faults that are planted on good data are found and named, and good data pass."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.data.gate.alignment import border
from netwright.data.gate.verdict import Verdict
from tests.data.synthetic_pairs import exif, found, masks_named, pairs, read, save, verdict_on

Plant = Callable[[Path], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pairs(tmp_path_factory.mktemp("good") / "cells")


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "cells"))


def test_good_pairs_pass(root: Path) -> None:
    verdict = verdict_on(root)
    assert verdict.findings == () and verdict.conclusion == "fit for training"
    masks = verdict.masks
    assert masks["classes"] == ["background", "foreground"] and masks["empty"] == {"train": 0, "val": 0, "test": 0}
    own = [read(path) > 0 for path in (root / "train/masks").iterdir()]
    assert masks["pixels"]["train"]["foreground"] == pytest.approx(np.mean(own), abs=1e-6)
    assert masks["pictures"]["train"] == {"background": 14, "foreground": 14}
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_good_pairs_of_several_classes_pass(tmp_path: Path) -> None:
    verdict = verdict_on(pairs(tmp_path / "cells", (80, 64), classes=3))
    assert verdict.findings == () and len(verdict.masks["classes"]) == 4


# Each fault, planted on good data: the finding's name and severity, the mask that is named


def _over(pixels: Callable[[np.ndarray], np.ndarray], name: str = "train/masks/3.png") -> Plant:
    """Change one mask."""
    return lambda root: save(root / name, pixels(read(root / name)))


def _photo(root: Path) -> None:
    save(root / "train/masks/3.png", read(root / "train/images/3.png"))


def _other_photo(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    save(root / "train/masks/3.png", noise)


def _jpeg(root: Path) -> None:
    mask = read(root / "train/masks/3.png")
    (root / "train/masks/3.png").unlink()
    save(root / "train/masks/3.jpg", mask, quality=60)


def _blurred(root: Path) -> None:
    small = Image.open(root / "train/masks/3.png").resize((32, 32), Image.Resampling.BILINEAR)
    small.resize((64, 64), Image.Resampling.BILINEAR).save(root / "train/masks/3.png")


def _colours(mask: np.ndarray) -> np.ndarray:
    return np.stack([mask, np.zeros_like(mask), np.zeros_like(mask)], -1)


def _same_picture(root: Path) -> None:
    save(root / "train/images/3.png", read(root / "train/images/4.png"))


def _copied(root: Path) -> None:
    for place in (3, 4, 5):
        save(root / f"train/masks/{place}.png", read(root / "train/masks/2.png"))


def _two_ways(root: Path) -> None:
    save(root / "train/masks/3.png", read(root / "train/masks/3.png") // 255)
    mask = read(root / "train/masks/4.png")
    mask[:2] = 7
    save(root / "train/masks/4.png", mask)


PLANTS: dict[str, tuple[Plant, str, list[str]]] = {
    "mask_size": (_over(lambda mask: mask[:48, :48]), "error", ["train/masks/3.png"]),
    "mask_encodings": (_over(lambda mask: mask // 255), "error", ["train/masks/3.png"]),
    "mask_encodings ": (_over(_colours), "error", ["train/masks/3.png"]),
    "mask_channels": (_over(lambda mask: np.repeat(mask[..., None], 3, -1)), "note", ["train/masks/3.png"]),
    "mask_values": (
        _over(lambda mask: np.where((mask == 0) & (border(mask) > 0), 7, mask).astype(np.uint8)),
        "error",
        ["train/masks/3.png"],
    ),
    "mask_encodings  ": (_two_ways, "error", ["train/masks/3.png"]),
    "mask_jpeg": (_jpeg, "warning", ["train/masks/3.jpg"]),
    "mask_blurred": (_blurred, "error", ["train/masks/3.png"]),
    "mask_is_picture": (_photo, "error", ["train/masks/3.png"]),
    "mask_is_picture ": (_other_photo, "error", ["train/masks/3.png"]),
    "mask_empty": (_over(np.zeros_like), "note", ["train/masks/3.png"]),
    "mask_full": (_over(lambda mask: np.full_like(mask, 255)), "warning", ["train/masks/3.png"]),
    "mask_turned": (_over(lambda mask: mask[:, ::-1]), "warning", ["train/masks/3.png"]),
    "mask_turned ": (_over(lambda mask: np.rot90(mask)), "warning", ["train/masks/3.png"]),
    "mask_shifted": (_over(lambda mask: np.roll(mask, (9, -6), (0, 1))), "warning", ["train/masks/3.png"]),
    "mask_contradiction": (_same_picture, "error", ["train/masks/3.png", "train/masks/4.png"]),
    "mask_copied": (_copied, "warning", [f"train/masks/{place}.png" for place in (2, 3, 4)]),
}


@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_fault_is_named(root: Path, kind: str) -> None:
    plant, severity, named = PLANTS[kind]
    plant(root)
    kinds = found(root)
    assert kind.strip() in kinds, list(kinds)
    finding = kinds[kind.strip()]
    assert finding.severity == severity and masks_named(finding) == named
    besides = {"copied": {"mask_turned", "mask_shifted"}, "encodings  ": {"mask_values"}, "contradiction": {"copies"}}
    allowed = {kind.strip()}.union(*(others for word, others in besides.items() if word in kind))
    assert set(kinds) <= allowed, "nothing else is blamed"
    if severity == "error":
        picture = named[0].replace("masks", "images").replace(".jpg", ".png")
        assert picture in finding.leave_out


def test_a_jpeg_mask_of_a_dark_picture_is_no_picture(root: Path) -> None:
    _jpeg(root)
    save(root / "train/images/3.png", read(root / "train/images/3.png") // 24)
    assert set(found(root)) <= {"mask_jpeg", "shift"}


def test_partners_that_are_missing_or_too_many(root: Path) -> None:
    (root / "train/masks/0.png").unlink()
    (root / "val/images/1.png").unlink()
    save(root / "train/masks/2_mask.png", read(root / "train/masks/2.png"))
    kinds = found(root)
    assert kinds["no_mask"].examples[0][0].name == "train/images/0.png"
    assert kinds["no_picture"].examples[0][0].name == "val/masks/1.png"
    assert {"train/masks/2.png", "train/masks/2_mask.png"} <= {item.name for item in kinds["two_masks"].examples[0]}
    assert [kinds[kind].severity for kind in ("no_mask", "no_picture", "two_masks")] == ["warning", "warning", "error"]
    assert kinds["listing"].title == "masks' names without _mask are those of pictures", "what is missing is told once"


def test_masks_that_cannot_be_read(root: Path) -> None:
    whole = (root / "train/masks/3.png").read_bytes()
    (root / "train/masks/3.png").write_bytes(whole[: len(whole) // 2])
    (root / "train/masks/4.png").write_bytes(b"")
    (root / "train/images/5.png").write_bytes(whole[: len(whole) // 2])
    kinds = found(root)
    assert masks_named(kinds["mask_file_truncated"]) == ["train/masks/3.png"]
    assert masks_named(kinds["mask_file_empty"]) == ["train/masks/4.png"]
    assert kinds["mask_file_empty"].severity == kinds["mask_file_truncated"].severity == "error"
    assert [*kinds["truncated"].leave_out] == ["train/images/5.png"]
    assert [*kinds["mask_file_truncated"].leave_out] == ["train/images/3.png"]


@pytest.mark.parametrize("size", [(80, 64), (64, 64)], ids=["by size", "by borders"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_on_the_picture_alone(tmp_path: Path, size: tuple[int, int], orientation: int) -> None:
    root = pairs(tmp_path / "cells", size)
    picture = read(root / "train/images/3.png")
    save(root / "train/images/3.png", picture, exif=exif(orientation))  # as it lies, the mask fits
    raw = found(root)
    assert raw["exif_picture"].severity == "error" and masks_named(raw["exif_picture"]) == ["train/masks/3.png"]
    told = {"exif_picture"} if size[0] != size[1] and orientation == 6 else {"exif_picture", "turned"}
    assert set(raw) == told and "train/images/3.png" in raw["exif_picture"].leave_out, "what training leaves out is out"
    lying = Image.fromarray(picture).transpose(
        {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    )
    save(root / "train/images/3.png", np.array(lying), exif=exif(orientation))  # upright, the mask fits
    seen = found(root)
    assert set(seen) == {"exif_picture_fits", "turned"} and seen["exif_picture_fits"].severity == "note"


@pytest.mark.parametrize("size", [(80, 64), (64, 64)], ids=["by size", "by borders"])
def test_exif_on_the_mask_alone(tmp_path: Path, size: tuple[int, int]) -> None:
    root = pairs(tmp_path / "cells", size)
    save(root / "train/masks/3.png", read(root / "train/masks/3.png"), exif=exif(6))
    kinds = found(root)
    assert set(kinds) == {"exif_mask"} and kinds["exif_mask"].severity == "error"


def test_exif_on_both_is_nothing_to_tell(root: Path) -> None:
    for kind in ("images", "masks"):
        save(root / f"train/{kind}/3.png", read(root / f"train/{kind}/3.png"), exif=exif(6))
    assert set(found(root)) == {"turned"}


def test_exif_where_borders_do_not_tell(root: Path) -> None:
    save(root / "train/masks/3.png", np.zeros((64, 64), np.uint8))
    save(root / "train/images/3.png", read(root / "train/images/3.png"), exif=exif(6))
    kinds = found(root)
    assert kinds["exif_picture_unclear"].severity == "warning"


def test_masks_on_their_side(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells", (80, 64))
    save(root / "train/masks/3.png", np.rot90(read(root / "train/masks/3.png")))
    finding = found(root)["mask_on_its_side"]
    assert finding.examples[0][1].says == "64×80 px, the picture 80×64 px; fits rotated by 270°"
