"""The data gate: faults in labels, splits and groups that are planted are found and named, and clean data pass."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chi2_contingency, ks_2samp

from netwright.core.errors import NetwrightError
from netwright.data.facts import FACT, Examined, Odd
from netwright.data.gate.check import check
from netwright.data.gate.shift import Measure, compared, homogeneity
from netwright.data.gate.summary import notes
from netwright.data.gate.verdict import MOST_SHOWN
from tests.data.synthetic_gate import TEST, TRAIN, VAL, encoded, even, folder, found, looked, made, names, noise


def test_clean_data_pass() -> None:
    verdict = check(even())
    assert verdict.findings == () and verdict.passed and verdict.conclusion == "fit for training"
    assert verdict.splits == {"train": 45, "val": 15} and notes(verdict, "pets") == []
    assert verdict.per_class["train"] == {"cat": 24, "dog": 21}


# Classes


@pytest.mark.fault(54, "`netwright check` names classes without a picture, and those that a side has none of")
def test_empty_classes(tmp_path: Path) -> None:
    files = {
        f"{side}/{name}/{n}.png": encoded(noise(n + 10 * len(side + name)), "PNG")
        for side in ("train", "val")
        for name in ("cat", "horse")
        for n in range(3)
    }
    root = folder(tmp_path, files)
    for made_empty in ("train/fox", "train/owl", "val/owl"):
        (root / made_empty).mkdir()
    (root / "train/owl/0.png").write_bytes(b"")
    (root / "train/fox/0.png").write_bytes(encoded(noise(99), "PNG"))
    kinds = found(looked(root))
    assert kinds["empty_class"].detail == "owl" and kinds["empty_class"].severity == "error"
    assert kinds["unmeasured_class"].detail == "fox" and kinds["unmeasured_class"].severity == "warning"


@pytest.mark.fault(55, "one class alone is an error: there is nothing to tell apart")
def test_one_class() -> None:
    kinds = found(made([TRAIN] * 20 + [VAL] * 10, [0] * 30, ("cat",)))
    assert kinds["one_class"].severity == "error"
    labels = np.ones((30, 1), np.int64)
    assert "one_class" not in found(made([TRAIN] * 20 + [VAL] * 10, labels, ("cat",))), "there or not is two answers"


@pytest.mark.fault(56, "a class that validation or test has and training has not is an error that names the nearest")
def test_class_maps_that_differ() -> None:
    labels = [place % 2 for place in range(40)] + [2] * 5
    kinds = found(made([TRAIN] * 30 + [VAL] * 15, labels, ("cat", "dog", "dgo")))
    assert kinds["class_map"].severity == "error" and kinds["class_map"].detail == "'dgo' (close to 'dog')"
    assert "empty_class" not in kinds and "unmeasured_class" not in kinds


@pytest.mark.fault(57, "hidden folders are no classes, and are named")
def test_what_was_noticed_while_listing_is_told() -> None:
    kinds = found(even(notes=("ignored folders: .ipynb_checkpoints",)))
    assert kinds["listing"].title == "ignored folders: .ipynb_checkpoints" and kinds["listing"].severity == "note"


@pytest.mark.fault(58, "class names that differ only in case or in how Unicode writes them are named")
def test_twins() -> None:
    classes = ("Cat", "cat", "caf\u00e9", "cafe\u0301", "dog")
    kinds = found(made([TRAIN] * 100 + [VAL] * 50, [place % 5 for place in range(150)], classes))
    assert kinds["twins"].count == 2 and kinds["twins"].severity == "warning"
    assert kinds["twins"].detail == r"'Cat' and 'cat', 'caf\xe9' and 'cafe\u0301'"


@pytest.mark.fault(62, "classes with few pictures, and of which one has ten times as many as another, are named")
def test_uneven_classes() -> None:
    labels = [0] * 100 + [1] * 9 + [0] * 10 + [1]
    kinds = found(made([TRAIN] * 109 + [VAL] * 11, labels))
    assert kinds["uneven"].detail == "cat 100, dog 9" and kinds["few"].detail == "dog 9"
    labels = [0] * 90 + [1] * 10 + [0] * 9 + [1]
    assert not {"uneven", "few"} & set(found(made([TRAIN] * 100 + [VAL] * 10, labels)))


# Copies


@pytest.mark.fault(59, "pictures that are on two sides are named, and are an error above 0.1 % of the smaller side")
def test_exact_duplicates_across_sides() -> None:
    kinds = found(even(same=[(0, 1), (5, 6, 4)]))
    leak = kinds["exact_across"]
    assert leak.title == "validation pictures that are also in training: 2 of 15" and leak.severity == "error"
    assert names(leak) == [["train/1.jpg", "val/0.jpg"], ["train/5.jpg", "val/4.jpg"]]
    assert sorted(leak.leave_out) == ["train/1.jpg", "train/5.jpg", "train/6.jpg"], "every copy in training"
    assert leak.leave_out["train/6.jpg"] == "the same picture as val/4.jpg (val)"
    assert names(kinds["copies"]) == [["train/5.jpg", "train/6.jpg"]]


def test_a_thousandth_on_two_sides_is_let_through() -> None:
    sides, labels = [TRAIN] * 3000 + [VAL] * 2000, [place % 2 for place in range(5000)]
    pairs = [(0, 4998), (2, 4996), (4, 4994)]
    assert found(made(sides, labels, same=pairs[:2]))["exact_across"].severity == "warning", "2 of 2,000"
    assert found(made(sides, labels, same=pairs))["exact_across"].severity == "error", "3 of 2,000"


def test_three_sides_are_compared_two_by_two() -> None:
    sides = [TRAIN] * 30 + [VAL] * 20 + [TEST] * 10
    verdict = check(made(sides, [place % 2 for place in range(60)], same=[(0, 30, 50)]))
    leaks = [finding for finding in verdict.findings if finding.kind == "exact_across"]
    assert [names(leak) for leak in leaks] == [
        [["train/0.jpg", "val/30.jpg"]],
        [["train/0.jpg", "test/50.jpg"]],
        [["val/30.jpg", "test/50.jpg"]],
    ]
    assert sorted(verdict.leave_out) == ["train/0.jpg", "val/30.jpg"], "the test picture stays"


@pytest.mark.fault(59, "resized, recompressed, flipped and rotated copies on two sides are named with what was done")
def test_near_duplicates_across_sides(tmp_path: Path) -> None:
    turn = Image.Transpose
    near = {
        "resized": noise(0, (128, 96)).resize((64, 48)),
        "squeezed": noise(1, (128, 96)),
        "flipped": noise(2, (128, 96)).transpose(turn.FLIP_LEFT_RIGHT),
        "rotated": noise(3, (128, 96)).transpose(turn.ROTATE_90),
    }
    files = {f"train/{'ab'[seed % 2]}/{seed}.png": encoded(noise(seed, (128, 96)), "PNG") for seed in range(20)}
    files |= {f"val/{'ab'[seed % 2]}/{seed}.png": encoded(noise(seed, (128, 96)), "PNG") for seed in range(20, 30)}
    for seed, (name, picture) in enumerate(near.items()):
        files[f"val/{'ab'[seed % 2]}/{name}.jpg"] = encoded(picture, "JPEG", quality=50 if name == "squeezed" else 90)
    kinds = found(looked(folder(tmp_path, files)))
    assert kinds["near_across"].severity == "warning" and "exact_across" not in kinds
    pairs = {pair[1].name.split("/")[-1]: (pair[0].name, pair[1].says) for pair in kinds["near_across"].examples}
    assert pairs == {
        "resized.jpg": ("train/a/0.png", ""),
        "squeezed.jpg": ("train/b/1.png", ""),
        "flipped.jpg": ("train/a/2.png", "flipped"),
        "rotated.jpg": ("train/b/3.png", "rotated by 90°"),
    }


@pytest.mark.fault(60, "the same picture with different labels is an error that names every copy")
def test_contradictions() -> None:
    kinds = found(even(same=[(1, 6), (5, 13)]))
    assert names(kinds["contradiction"]) == [["train/1.jpg", "train/6.jpg"]]
    assert [item.label for item in kinds["contradiction"].examples[0]] == ["cat", "dog"]
    assert kinds["contradiction"].severity == "error"
    assert kinds["contradiction"].leave_out == dict.fromkeys(
        ("train/1.jpg", "train/6.jpg"), "the same picture is labelled cat and dog"
    )
    assert kinds["copies"].count == 2


def test_of_many_copies_those_that_differ_are_shown() -> None:
    examined = even(200, same=[[place for place in range(200) if place % 4]])
    examined.listing.labels[examined.sides == TRAIN] = 0
    examined.listing.labels[199] = 1
    (shown,) = found(examined)["contradiction"].examples
    assert [item.label for item in shown] == ["cat", "dog"] + ["cat"] * 4 and shown[1].name == "train/199.jpg"


def test_with_several_labels_only_known_ones_contradict() -> None:
    labels = np.tile([[1, 0], [0, 1]], (30, 1))
    sides = [VAL if place % 4 == 0 else TRAIN for place in range(60)]
    labels[1], labels[2], labels[5], labels[6] = (1, -1), (1, 1), (1, 1), (1, 0)
    kinds = found(made(sides, labels, same=[(1, 2), (5, 6)]))
    assert names(kinds["contradiction"]) == [["train/5.jpg", "train/6.jpg"]]
    assert kinds["contradiction"].examples[0][0].label == "cat, dog"


def test_what_is_not_labelled_contradicts_nothing() -> None:
    examined = even(same=[(1, 6)])
    examined.listing.labels[6] = -1
    assert "contradiction" not in found(examined)


def test_a_picture_is_left_out_for_the_first_reason() -> None:
    verdict = check(even(same=[(0, 5)]))
    assert [finding.kind for finding in verdict.of("error")] == ["exact_across", "contradiction"]
    assert verdict.leave_out["train/5.jpg"] == "the same picture as val/0.jpg (val)"
    assert verdict.leave_out["val/0.jpg"] == "the same picture is labelled cat and dog"


def test_many_copies_on_one_side_are_more_than_an_accident() -> None:
    few, many = even(200, same=[(1, 2)]), even(200, same=[(1, 2), (9, 10), (17, 18)])
    assert found(few)["copies"].severity == "note" and found(many)["copies"].severity == "warning"


# Groups


def patients(torn: bool) -> Examined:
    """Thirty patients of four slices each; where they are torn, one slice of every third is in val."""
    names = [
        f"{'cat' if patient % 2 else 'dog'}/p{patient:02d}_{part}.jpg" for patient in range(30) for part in range(4)
    ]
    held_out = [part == 3 and patient % 3 == 0 if torn else patient >= 22 for patient in range(30) for part in range(4)]
    sides = [VAL if held else TRAIN for held in held_out]
    return made(sides, [patient % 2 for patient in range(30) for _ in range(4)], names=names)


@pytest.mark.fault(61, "`--group` finds every patient, video or scene that is on two sides")
def test_groups_on_two_sides() -> None:
    leak = found(patients(torn=True), r"(p\d+)_")["group_leak"]
    assert leak.severity == "error" and leak.count == 10 and leak.title.endswith("10 of 30")
    assert names(leak)[0] == ["dog/p00_0.jpg", "dog/p00_3.jpg"]
    whole = found(patients(torn=False), r"(p\d+)_")
    assert "group_leak" not in whole and whole["groups"].title == "30 groups of 4.0 pictures on average"


@pytest.mark.fault(61, "names that look as if pictures belonged together give a warning when they are torn apart")
def test_shared_stems() -> None:
    hint = found(patients(torn=True))["shared_stems"]
    assert hint.severity == "warning" and hint.count == 10
    pattern = re.search(r"--group '(.*)'", hint.fix)
    assert pattern and found(patients(torn=True), pattern[1])["group_leak"].count == 10, "the hint can be typed"
    assert "shared_stems" not in found(patients(torn=False))


@pytest.mark.parametrize("name", ["img_{:04d}.jpg", "n0144_{}.jpg", "{:02d}a3-5b{}.jpg", "2024_IMG_{}.jpg"])
def test_names_that_are_only_numbered_are_no_groups(name: str) -> None:
    assert "shared_stems" not in found(even(names=[name.format(place, place) for place in range(60)]))


def test_names_that_begin_with_their_class_are_no_groups() -> None:
    labels = [place // 4 % 12 for place in range(96)]
    given = [f"n{label:04d}_{place}.jpg" for place, label in enumerate(labels)]
    sides = [VAL if place % 4 == 0 else TRAIN for place in range(96)]
    assert "shared_stems" not in found(made(sides, labels, tuple("abcdefghijkl"), names=given))
    assert found(made(sides, [label % 2 for label in labels], names=given))["shared_stems"].count == 12


def test_one_large_group_among_small_ones_is_a_habit_of_naming() -> None:
    given = [f"{'img2024' if place < 40 else f'p{place // 2}'}_{place}.jpg" for place in range(60)]
    assert "shared_stems" not in found(even(names=given))


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ("(", r"is no regular expression"),
        (r"p\d+", r"names no group\n  fix: put round brackets where the name is: '\(p\\d\+\)'"),
        ("(x+)", r"matches no name\n  fix: it is searched in names like 'val/0.jpg'"),
        (r"^(.+)\.jpg", r"takes the side into the group's name: 'val/0'"),
    ],
)
def test_expressions_that_would_find_nothing_are_refused(group: str, says: str) -> None:
    with pytest.raises(NetwrightError, match=says):
        check(even(), group)


# Shifts


def test_sides_that_differ_are_told_with_how_much() -> None:
    examined = even(400)
    val = examined.sides == VAL
    examined.facts["brightness"][val] += 0.2
    shift = found(examined)["shift"]
    assert shift.title == "training and validation differ in brightness" and shift.severity == "warning"
    assert re.search(r"mean grey over 0\.\d\d: \d+% and \d+% \(p ≤ .* corrected for 4 comparisons\)", shift.detail)


def test_a_sure_difference_that_is_small_is_none() -> None:
    examined = even(4000)
    examined.facts["width"][examined.sides == VAL] = 103
    assert check(examined).findings == (), "all of val is 1.5 % larger, which is sure and means nothing"


def test_a_large_difference_that_may_be_chance_is_none() -> None:
    examined = even(12)
    examined.facts["brightness"] = np.linspace(0.2, 0.8, 12) + 0.3 * (examined.sides == VAL)
    assert "shift" not in found(examined)


def test_the_distance_is_that_of_kolmogorov_and_smirnov() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=300), draw.normal(0.3, 1, size=200)
    measure = Measure("any", lambda facts: facts["width"], 0.0, "over {}")
    ours, theirs = compared(measure, one, other), ks_2samp(one, other, method="asymp")
    assert ours.distance == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p == pytest.approx(theirs.pvalue, rel=0.2), "the same limit, which scipy corrects for small samples"
    assert ours.shares[0] == pytest.approx((one > ours.at).mean()) and compared(measure, one, one).distance == 0
    assert compared(Measure("any", measure.of, 10.0, ""), one, other).distance == 0, "within tolerance"
    table = np.array([[10, 20, 30], [20, 20, 20]])
    assert homogeneity(table) == pytest.approx(chi2_contingency(table).pvalue, rel=1e-12)


def test_other_shares_of_classes() -> None:
    labels = [0] * 150 + [1] * 50 + [0] * 50 + [1] * 150
    shift = found(made([TRAIN] * 200 + [VAL] * 200, labels))["shift_classes"]
    assert "75% of training, 25% of validation" in shift.detail and shift.severity == "warning"
    assert shift.detail.startswith("50% of the pictures")


# All kinds of data


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_little_data_do_not_stop_the_checks(n: int) -> None:
    assert check(made([TRAIN] * n, [0] * n)).pictures == n


def test_pictures_without_classes_are_checked_as_files() -> None:
    plain = made([-1] * 30, [-1] * 30, (), same=[(1, 2)], names=[f"{place}.jpg" for place in range(30)])
    verdict = check(plain)
    assert {finding.kind for finding in verdict.findings} == {"unlabelled", "copies"}
    assert verdict.passed and verdict.splits == {"all": 30} and verdict.per_class == {}
    assert all(item.side == item.label == "" for item in verdict.of("warning")[0].examples[0])


def test_several_labels_a_picture() -> None:
    labels = np.random.default_rng(0).integers(-1, 2, (60, 3))
    verdict = check(made([VAL if place % 4 == 0 else TRAIN for place in range(60)], labels, ("a", "b", "c")))
    assert verdict.passed and verdict.per_class["val"]["b"] == (labels[::4, 1] == 1).sum()


def test_everything_unreadable() -> None:
    examined = even()
    dead = Examined(
        examined.listing, np.full(60, -1, np.int8), np.zeros(60, FACT), dict.fromkeys(range(60), "empty file")
    )
    verdict = check(dead)
    assert verdict.splits == {} and [finding.kind for finding in verdict.findings] == ["empty"]
    assert verdict.findings[0].count == 60 and len(verdict.leave_out) == 60


def test_examples_are_capped_and_counted() -> None:
    examined = even(200, same=[(place, place + 2) for place in range(4, 190, 4)])
    leak = found(examined)["exact_across"]
    assert (leak.count, len(leak.examples), len(leak.leave_out)) == (47, 47, 47)
    examined.facts["odd"] = int(Odd.PALETTE)
    assert (found(examined)["palette"].count, len(found(examined)["palette"].examples)) == (200, MOST_SHOWN)
