"""What the report of an ablation promises in words: no more than seeds, looks, epochs and times allow."""

import html
import re
from typing import Any

import pytest

from netwright.report import ablation_curves as curves
from netwright.report import forest, pareto
from netwright.report.ablation import markdown, page, rows_of, words
from netwright.report.ablation_method import coverage_words, rules
from netwright.report.ablation_terms import Scale
from netwright.report.ablation_words import answer, whole_rows
from tests.report._ablation_sample import (
    HELPS,
    equal_time,
    leave_one_out,
    looked_at,
    one_arm,
    one_epoch,
    texts,
    unknowns,
    with_failed,
)


def heads_of(found: dict[str, Any]) -> list[str]:
    """The heads of the table of rows."""
    table = page(found).split('id="rows"')[1].split("</thead>")[0]
    return re.findall(r"<th[^>]*>([^<]*)</th>", table)


def test_effects_with_different_seeds_are_not_said_to_have_the_same() -> None:
    found = looked_at()
    assert "resnet8, 4 to 10 seeds:" in answer(found)[0]
    assert any("over 4 to 10 seeds and" in line for line in words(found))
    assert any("for these 4 to 10 seeds" in sentence for sentence in coverage_words(found))
    assert "the differences of 4 to 10 seeds are" in rules(found)[0]
    assert "10 seeds" not in page(found).replace("4 to 10 seeds", "")
    assert "seeds" in heads_of(found)


def test_time_and_accuracy_are_weighed_over_seeds_that_all_rows_share() -> None:
    found = looked_at()
    of_row = {row["name"]: row["common"] for row in found["rows"]}
    for point in pareto.points(found):
        assert point.value == of_row[point.name]["accuracy"]["value"]
        assert point.seconds == of_row[point.name]["seconds"]
    assert pareto.front_words(found).endswith(" Over the 4 seeds that all share.")
    assert "share" not in pareto.front_words(leave_one_out())
    found["rows"][3].pop("common")
    assert pareto.points(found)[0].value == found["rows"][0]["accuracy"]["value"], "never one row so and another so"
    assert "different seeds" in pareto.front_words(found)


def test_after_looks_p_is_said_to_be_adjusted_for_them_too() -> None:
    found = looked_at()
    both_ways = "6 comparisons (Holm 1979) and for looking repeatedly (alpha spending, Lan & DeMets 1983)"
    assert both_ways in rules(found)[0]
    assert any(both_ways in line for line in words(found))
    assert both_ways in html.unescape(page(found).split('id="table"')[1].split("</section>")[0])
    assert "p (Holm)" not in [text for text, _ in texts(forest._drawn(found, str))]
    assert "p (Holm)" in [text for text, _ in texts(forest._drawn(leave_one_out(), str))]
    assert not any("looking repeatedly" in line for line in words(leave_one_out()))


def test_the_pages_table_fits_by_being_two() -> None:
    tables = page(looked_at()).split('id="table"')[1].split("</section>")[0].split("<table")[1:]
    heads = [re.findall(r"<th[^>]*>([^<]+)</th>", each.split("</thead>")[0]) for each in tables]
    assert heads[0] == ["trick", "accuracy, points", "p", "verdict", "seeds", "could tell from"]
    assert heads[1] == ["trick", "time", "loss", "calibration"]


def test_where_one_thing_is_compared_nothing_is_adjusted() -> None:
    found = one_arm()
    assert not any("Holm" in line for line in [*words(found), *rules(found)])
    assert "p (Holm)" not in [text for text, _ in texts(forest._drawn(found, str))]
    assert "nothing to adjust for" in markdown(found)


def test_each_test_is_said_of_the_effects_it_was_made_for() -> None:
    found = looked_at()
    for each in found["arms"][:2]:
        each["test"] = "t"
    said = rules(found)[0]
    assert "For label_smoothing and flip: Student's t" in said
    assert "For ema, no_decay" in said
    assert "the differences of 4 to 10 seeds are flipped in all ways" in said


def test_more_seeds_come_with_a_warning_and_pictures_do_not_forbid_them() -> None:
    found = leave_one_out()
    for text in (page(found), markdown(found), " ".join(words(found))):
        assert text.count("breaks the 5 %") == 1
        assert "until-resolved" in text
    assert "more seeds alone would hardly do" in rules(found)[-1]
    assert "seeds would not" not in rules(found)[-1]
    for each in found["arms"]:
        each |= {"verdict": HELPS, "more_seeds": None}
    assert "breaks" not in markdown(found)


def test_what_could_be_resolved_is_told_before_and_after() -> None:
    found = looked_at()
    heads, *rows = whole_rows(found)
    assert [row[heads.index("could tell from")] for row in rows][:2] == ["0.8", "1.0"]
    assert "could tell from" not in whole_rows(leave_one_out())[0]
    assert "smallest effect foreseen: 1.2 points" in markdown(found)
    found["preflight"]["smallest_effect"] = None
    assert "smallest effect foreseen: none, with so few seeds" in markdown(found)
    found["preflight"]["smallest_effect"] = 3.3
    assert "smallest effect foreseen: none, with so few seeds" in markdown(found), "no accuracy differs by 330 points"
    assert "smallest effect foreseen" not in markdown(unknowns())
    found["arms"][0]["resolvable"] = None
    assert "no size of effect" in markdown(found)


def test_ratios_of_times_have_intervals_where_there_is_room() -> None:
    found = looked_at()
    assert "×1.04 [0.98, 1.11]" in markdown(found)
    assert "×1.04 [0.98, 1.11]" in page(found)
    assert {row[-1] for row in rows_of(found)[1:]}.isdisjoint({"×1.04 [0.98, 1.11]"})
    assert "disturb one another" in markdown(found)
    assert "disturb one another" not in markdown(found | {"processes": 1})


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["not resolved"], "one trick was tried, and it is not resolved."),
        (["no difference larger than 1 point"], "one trick was tried, and it makes no difference larger than 1 point."),
        (["helps", "helps"], "both tricks help."),
        (["not resolved"] * 2, "neither of the two tricks is resolved."),
        (["helps", "harms"], "of 2 tricks 1 helps and 1 harms."),
    ],
)
def test_few_effects_are_summed_up_as_one_would_say_it(kinds: list[str], said: str) -> None:
    found = leave_one_out()
    found["arms"] = [each | {"verdict": kind} for each, kind in zip(found["arms"], kinds, strict=False)]
    assert answer(found)[0].endswith(f"6 seeds: {said}")


def test_curves_of_one_epoch_are_not_drawn() -> None:
    found = one_epoch()
    assert 'id="curves"' not in page(found)
    found["rows"][2]["curves"]["val_accuracy"] = [0.3, 0.4]
    assert page(found).count("<figcaption>") == 6
    drawn = curves.figure([0.4], [0.3, 0.5], (0.2, 0.6), Scale.of(found), str)
    assert [line.get_marker() for line in drawn.axes[0].get_lines()] == ["None", "o"]


def test_curves_are_of_the_metric_that_was_measured() -> None:
    found: dict[str, Any] = leave_one_out() | {"metric": "mean_iou"}
    assert 'id="curves"' not in page(found)
    for each in found["rows"]:
        each["curves"] = {"val_mean_iou": each["curves"]["val_accuracy"]}
    assert "Validation mean IoU by epoch" in page(found)


def test_epochs_that_differ_are_told_and_times_that_should_not_too() -> None:
    found = equal_time()
    for text in (page(found), markdown(found)):
        assert "Epochs: modern 16, without label_smoothing 12, without flip 15; all others 16." in text.replace(
            "\\", ""
        )
        assert "without label_smoothing took 1.48 times as long" in text.replace("\\", "")
        assert "without flip took" not in text
    head = heads_of(found)
    assert "epochs" in head[: head.index("updates")]
    assert "seeds" not in head
    same = leave_one_out()
    assert "Epochs: " not in markdown(same)
    assert "times as long" not in markdown(same)
    same["rows"][1]["spec"] = same["rows"][1]["spec"] | {"epochs": 3}
    same["rows"][1]["epochs"] = 3
    assert "Every run had the same epochs" not in markdown(same)


def test_what_was_not_trained_is_listed_with_the_reason() -> None:
    found = with_failed()
    said = "Not trained: without cutout(size=8) (The loss is not a number after 12 updates; lower lr)."
    assert answer(found)[-1] == said
    assert said in markdown(found)
    section = page(found).split('id="rows"')[1]
    assert "Not trained" in section
    assert "lower lr." in section
    assert "cutout" not in section.split("<table")[1].split("</table>")[0]
    assert "without cutout(size=8)" not in [point.name for point in pareto.points(found)]
    nothing = found | {"arms": [], "rows": [found["rows"][0], found["rows"][5]]}
    assert answer(nothing)[0] == "Nothing can be compared: no arm beside the baseline was trained."
    assert answer(nothing)[-1] == said
    assert "Not trained" in page(nothing)
