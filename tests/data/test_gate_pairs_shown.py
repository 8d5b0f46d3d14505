"""The audit of what masks show: classes, sides, copies, what is ignored; and the mathematics of its scores."""

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
from tests.data.synthetic_pairs import found, masks_named, pairs, read, save, scene, verdict_on


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pairs(tmp_path / "cells")


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
    for place in (4, 5):
        mask = read(root / f"train/masks/{place}.png")
        mask[:5] = 255
        save(root / f"train/masks/{place}.png", mask)
    save(root / "train/masks/3.png", np.full((64, 64), 255, np.uint8))
    kinds = found(root)
    assert masks_named(kinds["mask_ignored"]) == ["train/masks/3.png"] and set(kinds) == {"mask_ignored"}
    assert verdict_on(root).masks["ignored"]["train"] == pytest.approx((64 + 10) / 64 / 14, abs=1e-6)


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
    monkeypatch.setattr(mask_facts, "mask_fact", lambda *given: looked.append(given[-1]) or one(*given))
    assert look() == first and not looked
    save(root / "train/masks/3.png", read(root / "train/masks/3.png")[:, ::-1])
    assert look() != first and 3 in looked


@pytest.mark.data
def test_nuclei_have_nothing_to_mend(real_data: Path) -> None:
    verdict = verdict_on(real_data / "nuclei")
    assert verdict.of("error") == () and verdict.of("warning") == ()
    assert verdict.masks["classes"] == ["background", "foreground"]
