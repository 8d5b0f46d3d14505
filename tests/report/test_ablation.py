"""The report of an ablation: what it says is what `ablation.json` says, whatever fields could not be filled."""

import copy
import html
import json
import re
import struct
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from netwright.core.errors import NetwrightError
from netwright.records.intervals import Interval
from netwright.report import ablation_curves as curves
from netwright.report import factorial, forest, pareto
from netwright.report.ablation import markdown, page, rows_of, words, write
from netwright.report.ablation_method import coverage_words, rules
from netwright.report.ablation_terms import Scale, both
from netwright.report.ablation_words import answer, effects, p_words, whole_rows
from tests.report._ablation_sample import (
    HARMS,
    HELPS,
    SAMPLES,
    effect,
    leave_one_out,
    looked_at,
    many,
    one_arm,
    stored,
    texts,
    unknowns,
)
from tests.report._ablation_sample import factorial as factorial_sample

RAW = re.compile(r"\b(nan|None|inf|NaN|undefined)\b")


@pytest.fixture(scope="module", params=[name for name in SAMPLES if name not in ("time", "epoch")])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(stored(tmp_path_factory.mktemp(request.param), SAMPLES[request.param]())).parent


def test_all_files_are_written_and_nothing_unknown_is_shown_raw(written: Path) -> None:
    found = json.loads((written / "ablation.json").read_text("utf-8"))
    names = {"ablation.json", "ablation.html", "ablation.md", "forest.png", "pareto.png"}
    names |= {"half_normal.png", "interactions.png"} if found["factorial"] else set()
    assert {file.name for file in written.iterdir()} == names
    for file in written.glob("*.png"):
        width, height = struct.unpack(">II", file.read_bytes()[16:24])
        assert width >= 1600, "sharp in documentation"
        assert height >= 250
    text = (written / "ablation.html").read_text("utf-8")
    shown = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not RAW.search(shown)
    assert not RAW.search((written / "ablation.md").read_text("utf-8"))


def test_the_page_asks_nobody_for_anything_and_every_link_leads_somewhere(written: Path) -> None:
    text = (written / "ablation.html").read_text("utf-8")
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "<script" not in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_the_answer_comes_first_and_names_every_effect_with_its_verdict() -> None:
    first, *rest = answer(leave_one_out())
    assert first == (
        "On cifar10 with resnet8, 6 seeds: of 6 tricks 2 help, 1 harms, 1 makes no difference larger than 1 point and "
        "2 are not resolved."
    )
    assert rest[0] == "flip helps: +3.1 points [2.0, 4.3]; label_smoothing helps: +1.8 points [0.9, 2.8]."
    assert rest[1] == "ema harms: -1.4 points [-2.2, -0.5]."
    assert rest[2] == "No difference larger than 1 point: no_decay +0.1 [-0.5, 0.8]."
    assert "cutout(size=8) (+0.7 [-0.5, 2.0], about 5 more seeds)" in rest[3]
    assert "mixup(alpha=0.2) (-0.4 [-1.7, 1.0], test pictures limit it)" in rest[3]


def test_one_arm_and_none() -> None:
    found = one_arm()
    assert answer(found)[0].endswith("6 seeds: one arm was tried, and it helps.")
    nothing = found | {"arms": [], "rows": found["rows"][:1]}
    assert answer(nothing) == ["Nothing was compared: the plan had no arm beside the baseline."]
    assert "Nothing was compared" in page(nothing)
    assert "Nothing was compared" in markdown(nothing)


def test_verdicts_that_are_all_the_same_are_summed_up_as_such() -> None:
    found = leave_one_out()
    for each in found["arms"]:
        each["verdict"] = "not resolved"
    assert answer(found)[0].endswith("6 seeds: none of 6 tricks is resolved.")
    for each in found["arms"]:
        each["verdict"] = HELPS
    assert answer(found)[0].endswith("6 seeds: all 6 tricks help.")


def test_rows_are_sorted_by_effect_with_interactions_below() -> None:
    values = [both(each).value for each in effects(many())]
    assert values == sorted(values, reverse=True)
    orders = [each["order"] for each in effects(factorial_sample())]
    assert orders == sorted(orders)
    assert effects(unknowns())[-1]["name"] == "flip", "what is not known comes last"


def test_the_terminal_table_has_a_row_an_effect() -> None:
    heads, first, *rest = rows_of(leave_one_out())
    assert heads == ["trick", "accuracy, points", "p", "verdict", "seeds", "time"]
    assert first == ["flip", "+3.1 [2.0, 4.3]", "< 0.001", "helps", "6", "×1.09"]
    assert len(rest) == 5
    assert all(len(row) == len(heads) for row in rest)
    assert words(leave_one_out())[-1] == "early_stopping stays in every arm: it decides how long a run is."


def test_columns_that_say_nothing_are_left_out() -> None:
    assert "memory" not in whole_rows(leave_one_out())[0]
    found = leave_one_out()
    found["arms"][0]["memory_ratio"] = 1.5
    assert "memory" in whole_rows(found)[0]
    for each in found["arms"]:
        each["loss"] = None
    assert "loss" not in whole_rows(found)[0]


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.0002, "p < 0.001"),
        (0.005, "p = 0.005"),
        (0.0124, "p = 0.012"),
        (0.384, "p = 0.38"),
        (1.0, "p > 0.99"),
        (None, "–"),
    ],
)
def test_p_in_words(p: float | None, said: str) -> None:
    assert p_words(p) == said


def test_numbers_carry_sign_and_interval() -> None:
    points = Scale.of({"metric": "accuracy", "margin": 0.01})
    assert points.difference(Interval(0.0182, 0.009, 0.027, 6, "")) == "+1.8 [0.9, 2.7]"
    assert points.difference(Interval(-0.0001, -0.01, 0.01, 6, "")) == "0.0 [-1.0, 1.0]"
    assert points.difference(Interval(0.02, float("nan"), float("nan"), 6, "")) == "+2.0 (no interval)"
    assert points.difference(Interval(float("nan"), 0.0, 0.0, 6, "")) == "–"
    assert Scale.of({"metric": "accuracy", "margin": 0.002}).number(0.00123, sign=True) == "+0.12"
    assert Scale.of({"metric": "mae", "margin": 0.2}).number(-0.4321, sign=True) == "-0.432"


def with_seeds(count: int) -> dict[str, Any]:
    found = leave_one_out()
    return found | {"seeds": list(range(count)), "arms": [each | {"n": count} for each in found["arms"]]}


def test_words_follow_the_test_that_was_made() -> None:
    found = leave_one_out()
    assert "flipped in all 64 ways" in rules(found)[0]
    assert "Student" in rules(found | {"test": "t"})[0]
    assert "cannot give a p small enough for 6 comparisons" in rules(found | {"test": "t"})[0]
    assert "cannot" not in rules(with_seeds(12) | {"test": "t"})[0], "12 seeds could: it was asked for"
    assert "within 0.5 points either way" in rules(found | {"margin": 0.005})[2]
    assert "One seed does not tell" in coverage_words(with_seeds(1))[0]


def test_markup_and_formulas_in_names_stay_text() -> None:
    found = leave_one_out()
    name = "<b>$x_1$</b> | `a`\n# title"  # a formula that matplotlib would draw
    broken = r"$\q$"  # and one that it would refuse
    found["arms"][1]["name"] = broken
    found["arms"][0]["name"] = found["rows"][1]["name"] = found["title"] = name
    text = page(found)
    assert "<b>$x" not in text
    assert "&lt;b&gt;$x_1$" in text
    lines = markdown(found).split("\n")
    assert "# title" not in lines
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 9 for line in lines if line.startswith("|"))
    assert forest.picture(found).startswith(b"\x89PNG")


def test_markdown_has_pictures_table_machine_and_commands() -> None:
    text = markdown(factorial_sample())
    places = [text.index(part) for part in (
        "# Which trick", "On cifar10 with resnet8", "(forest.png)", "| effect |", "(pareto.png)", "(half_normal.png)",
        "(interactions.png)", "How it was measured", "AMD EPYC", "$ netwright ablate",
    )]  # fmt: skip
    assert places == sorted(places)


def test_looks_are_told_with_their_source() -> None:
    for text in (page(looked_at()), markdown(looked_at())):
        text = html.unescape(text)
        assert "alpha spending, O'Brien-Fleming type, summed over looks planned ahead" in text
        assert "(Lan & DeMets, Biometrika 70, 1983)" in text
        assert "Spent so far: 0.031 of 0.05." in text
    assert "| look | seeds | spent | resolved | seeds added |" in markdown(looked_at())
    assert "| 1 | 4 | 0.003 | flip | ema +2 |" in markdown(looked_at())


def test_every_run_can_be_copied_and_the_json_is_named() -> None:
    text = page(leave_one_out())
    assert text.count("netwright train cifar10.npz") == 7
    assert "user-select: all" in text
    assert "<code>ablation.json</code>" in text


def test_files_that_are_no_ablation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match=r"no ablation\.json"):
        write(tmp_path)
    (tmp_path / "ablation.json").write_text("{", "utf-8")
    with pytest.raises(NetwrightError, match="not JSON"):
        write(tmp_path)
    (tmp_path / "ablation.json").write_text('{"format": 2}', "utf-8")
    with pytest.raises(NetwrightError, match="format"):
        write(tmp_path)


def test_the_front_is_what_nobody_beats_in_both() -> None:
    rows = [(1.0, 0.5), (2.0, 0.7), (2.0, 0.6), (3.0, 0.7), (4.0, 0.9), (5.0, 0.8)]
    assert pareto.front(rows) == [True, True, False, False, True, False]
    assert pareto.front([(1.0, 0.5), (1.0, 0.5)]) == [True, True], "equals do not beat each other"


@pytest.mark.parametrize("name", ["six", "many", "factorial", "unknowns"])
def test_no_two_names_of_the_pareto_plot_lie_on_each_other(name: str) -> None:
    drawn = pareto._drawn(SAMPLES[name](), str)
    boxes = texts(drawn)
    assert len(boxes) >= 2
    assert not [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


@pytest.mark.parametrize("name", ["six", "many", "factorial", "unknowns"])
def test_the_words_of_the_forest_plot_fit_and_do_not_overlap(name: str) -> None:
    drawn = forest._drawn(SAMPLES[name](), str)
    boxes = texts(drawn) + [
        (label.get_text(), label.get_window_extent()) for label in drawn.axes[0].get_yticklabels() if label.get_text()
    ]
    assert not [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    assert all(box.x0 >= 0 and box.x1 <= drawn.bbox.x1 for _, box in boxes)


def test_an_effect_far_from_all_others_leaves_the_axis() -> None:
    found = many()
    low, high = forest.reach(found)
    others = [each for each in found["arms"] if each["effect"] > -0.1]
    assert low > -0.1
    assert all(low <= both(each).low and both(each).high <= high for each in others)
    assert low < -found["margin"] < found["margin"] < high
    assert forest.reach(found | {"arms": [effect("a", -0.24, 0.01, HARMS, 0.01, None)]})[0] < -0.25, "alone it stays"


def test_verdicts_differ_by_mark_and_not_by_colour_alone() -> None:
    marks = [mark for _, mark, _ in [*forest.LOOKS.values(), forest.LOOK_OPEN]]
    assert len(set(marks)) == len(marks) == 4


def test_an_interaction_is_what_two_do_beyond_their_sum() -> None:
    assert factorial.interaction({"means": [[0.5, 0.6], [0.7, 0.8]]}) == pytest.approx(0.0, abs=1e-12)
    assert factorial.interaction({"means": [[0.5, 0.6], [0.7, 0.9]]}) == pytest.approx(0.05)
    found = factorial_sample()
    sizes = [abs(factorial.interaction(pair)) for pair in factorial.pairs(found)]
    assert sizes == sorted(sizes, reverse=True)
    heads, *rows = factorial.two_way_rows(found)
    assert heads[1:5] == ["neither", "first alone", "second alone", "both"]
    assert rows[-1][:5] == ["flip and ema", "67.2 %", "70.4 %", "68.1 %", "70.0 %"]


def test_a_fraction_says_what_it_cannot_tell_apart() -> None:
    assert "resolution IV" in factorial.design_words(factorial_sample())
    assert factorial.alias_rows(factorial_sample())[1:] == [["flip:ema", "label_smoothing:cutout"]]


def test_a_margin_of_error_that_is_not_known_does_not_stop_the_plot() -> None:
    found = copy.deepcopy(factorial_sample())
    found["factorial"]["margin_of_error"] = float("nan")
    found["factorial"]["half_normal"][0]["effect"] = None
    assert factorial.half_normal_picture(found).startswith(b"\x89PNG")


def test_learning_curves_leave_out_rows_without_one() -> None:
    text = page(unknowns())
    assert text.count("<figcaption>") == 5
    assert curves.CURVES >= 30


def test_a_curve_that_ends_far_away_does_not_flatten_the_others() -> None:
    near = [[0.1 * epoch, 0.5 + 0.01 * place] for place, epoch in enumerate(range(5))]
    assert curves._alike([*near, [0.1, 0.95]]) == near
    assert curves._alike([[0.1, 0.5], [0.1, 0.9]]) == [[0.1, 0.5], [0.1, 0.9]]
    assert curves._span([[0.1, 0.2, 0.3, 0.5, 0.5, 0.6]]) == pytest.approx((0.3 - 0.018, 0.6 + 0.018))


def test_a_metric_that_is_no_share_is_not_shown_in_points() -> None:
    found = leave_one_out() | {"metric": "mae"}
    assert rows_of(found)[0][1] == "mae"
    assert "points" not in " ".join(answer(found)).replace("1 point", "")
    assert HELPS in answer(found)[1]
