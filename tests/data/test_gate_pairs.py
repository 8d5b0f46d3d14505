"""The audit of pictures with masks: faults that are planted on good data are found and named, and good data pass."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from netwright.data.gate._pairs_shown import overlap
from netwright.data.gate.alignment import aligned, border
from netwright.data.gate.likeness import TURNS
from netwright.data.gate.mask_stored import turn_between, turn_number
from netwright.data.gate.verdict import Verdict
from netwright.data.masks import MaskWanted
from tests.data.synthetic_pairs import exif, found, masks_named, pairs, read, save, scene, verdict_on

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
    assert set(raw) == {"exif_picture", "turned"} and "train/images/3.png" in raw["exif_picture"].leave_out
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


def test_values_that_no_legend_has(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells", classes=2)
    (root / "legend.csv").write_text("0,background\n1,cell\n2,debris\n3,scratch\n")
    mask = read(root / "val/masks/1.png")
    mask[:3] = 9
    save(root / "val/masks/1.png", mask)
    kinds = found(root)
    assert masks_named(kinds["mask_values"]) == ["val/masks/1.png"]
    assert kinds["mask_values"].examples[0][1].says == "9: 192 px"
    assert kinds["mask_unused_class"].detail == "scratch" and kinds["mask_unused_class"].severity == "warning"
    assert set(kinds) == {"mask_values", "mask_unused_class"}


def test_an_id_far_above_the_others(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells", classes=3)
    mask = read(root / "train/masks/3.png")
    mask[:2] = 17
    save(root / "train/masks/3.png", mask)
    kinds = found(root)
    assert kinds["mask_values"].examples[0][1].says == "17: 128 px" and set(kinds) == {"mask_values"}


@pytest.mark.parametrize("folder", ["masks", "instances"])
def test_numbered_things_are_no_strange_values(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "cells"
    for place in range(20):
        picture, mask = scene(place, (96, 96), classes=5)
        things = mask.astype(np.uint16)
        for extra in range(place):  # each mask has as many as it needs
            things[2 * (extra // 20), 3 * (extra % 20)] = 6 + extra
        things = np.unique(things, return_inverse=True)[1].reshape(96, 96).astype(np.uint16)
        save(root / f"images/{place}.png", picture)
        save(root / f"{folder}/{place}.png", things)
    assert not {"mask_values", "mask_encodings"} & set(found(root))


def test_layers_are_no_strange_values(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for place in range(20):
        picture, mask = scene(place, classes=3)
        save(root / f"images/{place}.png", picture)
        for number in (1, 2, 3):
            save(root / f"masks/kind{number}/{place}.png", (mask == number) * np.uint8(255))
    verdict = verdict_on(root)
    assert not verdict.of("error") and verdict.masks["classes"] == ["kind1", "kind2", "kind3"]
    assert verdict.masks["pixels"]["train"].keys() == {"kind1", "kind2", "kind3"}


def test_classes_that_only_one_side_has(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells", classes=2)
    for side, number in (("train", 2), ("test", 1)):
        for path in (root / side / "masks").iterdir():
            mask = read(path)
            save(path, np.where(mask == number, 0, mask))
    kinds = found(root)
    assert kinds["mask_unknown_class"].detail == "class 2" and kinds["mask_unknown_class"].severity == "error"
    assert kinds["mask_unmeasured_class"].detail == "class 1"


def test_rare_classes(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells", classes=2)
    mask = read(root / "train/masks/3.png")
    mask[:3, :3] = 3
    save(root / "train/masks/3.png", mask)
    finding = found(root)["mask_rare_class"]
    assert (
        finding.severity == "note"
        and finding.detail == f"class 3 {100 * 9 / 24 / 4096:.2g} % of the pixels, in 1 picture"
    )


def test_pixels_that_are_all_ignored(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells", classes=2)
    mask = read(root / "train/masks/4.png")
    mask[:5] = 255
    save(root / "train/masks/4.png", mask)
    save(root / "train/masks/3.png", np.full((64, 64), 255, np.uint8))
    kinds = found(root)
    assert masks_named(kinds["mask_ignored"]) == ["train/masks/3.png"] and set(kinds) == {"mask_ignored"}
    assert verdict_on(root).masks["ignored"]["train"] == pytest.approx((64 + 5) / 64 / 14, abs=1e-6)


def test_classes_in_other_shares(tmp_path: Path) -> None:
    root = pairs(tmp_path / "cells")
    for place in range(14, 40):
        picture, mask = scene(100 + place)
        save(root / f"train/images/{place}.png", picture)
        save(root / f"train/masks/{place}.png", mask * 255)
        picture, mask = scene(200 + place, (256, 256))
        save(root / f"test/images/{place}.png", picture[:64, :64])
        save(root / f"test/masks/{place}.png", mask[:64, :64] * 255)
    findings = [each for each in verdict_on(root).findings if each.kind == "mask_shares"]
    assert {each.severity for each in findings} == {"note"}
    assert "training and test hold the classes in other shares" in [each.title for each in findings]


def test_copies_across_splits_are_found_as_in_other_data(root: Path) -> None:
    for kind in ("images", "masks"):
        save(root / f"val/{kind}/2.png", read(root / f"train/{kind}/3.png"))
    save(root / "test/images/1.png", read(root / "train/images/5.png")[:, ::-1])
    save(root / "test/masks/1.png", read(root / "train/masks/5.png")[:, ::-1])
    kinds = found(root)
    assert [item.name for item in kinds["exact_across"].examples[0]] == ["train/images/3.png", "val/images/2.png"]
    assert kinds["near_across"].examples[0][1].says == "flipped"
    assert set(kinds) == {"exact_across", "near_across"}


def test_how_far_masks_of_one_picture_agree(root: Path) -> None:
    save(root / "train/images/3.png", read(root / "train/images/4.png"))
    first, second = (read(root / f"train/masks/{place}.png") > 0 for place in (3, 4))
    iou = (first & second).sum() / (first | second).sum()
    assert found(root)["mask_contradiction"].examples[0][3].says == f"IoU {iou:.2f}"


def test_one_stray_mask_does_not_decide_what_the_others_mean(root: Path) -> None:
    clean = verdict_on(root).masks
    save(root / "train/masks/3.png", read(root / "train/masks/3.png") // 255)
    assert verdict_on(root).masks["encoding"] == clean["encoding"]


def test_masks_that_make_no_sense_together(root: Path) -> None:
    draw = np.random.default_rng(0)
    for path in root.glob("*/masks/*.png"):
        save(path, draw.integers(0, 2, (64, 64, 3), np.uint8) * 100 + draw.integers(0, 100, 3).astype(np.uint8))
    assert not verdict_on(root).passed


def test_a_value_that_the_user_ignores_is_no_fault(root: Path) -> None:
    for path in root.glob("*/masks/*.png"):
        mask = read(path)
        mask[:2] = 100
        save(path, mask)
    verdict = verdict_on(root, MaskWanted(ignore=100))
    assert verdict.passed and verdict.masks["ignored"]["train"] == pytest.approx(2 / 64)


# The mathematics


@pytest.mark.parametrize("turn", range(1, 8))
def test_the_symmetry_that_was_done_is_found(turn: int) -> None:
    picture, mask = scene(5, (96, 96))
    made = aligned(Image.fromarray(picture), TURNS[turn].thumbs(mask[None])[0])
    assert made is not None and made.turned == turn_between(turn, 0)


def test_shifts_are_measured() -> None:
    picture, mask = scene(5, (96, 80))
    made = aligned(Image.fromarray(picture), np.roll(mask, (11, -7), (0, 1)))
    assert made is not None and made.shifted and made.shift == (-11, 7)
    straight = aligned(Image.fromarray(picture), mask)
    assert straight is not None and not straight.shifted and straight.turned is None


def test_the_score_is_the_mean_gradient_on_borders_in_deviations() -> None:
    picture, mask = scene(5, (40, 40))
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float64)
    length = np.hypot(*np.gradient(grey))
    length = np.minimum(length, np.percentile(length, 95))
    length -= length.mean()
    edge = border(mask)
    means = [(np.roll(edge, (a, b), (0, 1)) * length).sum() for a in range(40) for b in range(40)]
    made = aligned(Image.fromarray(picture), mask)
    assert made is not None and made.scores[0] == pytest.approx(means[0] / np.std(means), abs=2e-3)


def test_turns_as_exif_writes_them() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for orientation in range(1, 9):
        lying = Image.fromarray(pixels)
        lying.getexif()[274] = orientation
        upright = np.asarray(ImageOps.exif_transpose(lying))
        assert np.array_equal(TURNS[turn_number(lying)].thumbs(pixels[None])[0], upright)


def test_overlap_against_counting() -> None:
    one, other = np.array([[0, 1, 1, 2]], np.uint8), np.array([[0, 1, 2, 2]], np.uint8)
    assert overlap(one, other, background=True) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert overlap(one, other, background=False) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert overlap(one * 0, one * 0, background=True) == 1.0 and overlap(one, one.T, background=True) == 0.0


def test_nothing_is_looked_at_twice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.data.gate import mask_facts
    from netwright.data.gate.check import check
    from netwright.data.gate.layout import examined_once, listed
    from netwright.data.split import Wanted

    def look() -> Verdict:
        return check(examined_once(listed(str(root))[0], Wanted()))

    first, looked = look(), list[int]()
    one = mask_facts.mask_fact
    monkeypatch.setattr(mask_facts, "mask_fact", lambda listing, place: looked.append(place) or one(listing, place))
    assert look() == first and not looked
    save(root / "train/masks/3.png", read(root / "train/masks/3.png")[:, ::-1])
    assert look() != first and 3 in looked


@pytest.mark.data
def test_nuclei_have_nothing_to_mend(real_data: Path) -> None:
    verdict = verdict_on(real_data / "nuclei")
    assert verdict.of("error") == () and verdict.of("warning") == ()
    assert verdict.masks["classes"] == ["background", "foreground"]
