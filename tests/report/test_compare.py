"""The page of runs compared: what it says, hostile names, and nothing that is not there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netwright.lab.compare_runs import compare_runs, write
from netwright.report.compare import difference_rows, markdown, p_words, page, points_of, sentences
from netwright.report.compare_curves import picture
from tests.lab.test_compare_runs import written
from tests.report.synthetic import HOSTILE


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Any]:
    base = written(tmp_path / "base", [1] * 20 + [0] * 80)
    good = written(tmp_path / "good", [0] * 98 + [2] * 2, recipe={"optimizer": "sgd(lr=0.2)"})
    same = written(tmp_path / "same", [1] * 19 + [0] * 81, seed=1)
    return compare_runs([base, good, same])


def test_sentences(found: dict[str, Any]) -> None:
    better, open_ = sentences(found)
    assert better.startswith("B is better than A by 18.0 [")
    assert "over 100 test pictures (p = " in better or "(p < " in better
    assert open_.startswith("C against A is not resolved over 100 test pictures: +1.0 [-")
    assert "pictures are needed" in open_
    turned = [each | {"verdict": "worse", "effect": -each["effect"]} for each in found["comparisons"]]
    turned[0]["interval"] = [-bound for bound in reversed(turned[0]["interval"])]
    assert sentences(found | {"comparisons": turned})[0].replace("worse", "better") == better


def test_equivalence_in_words(tmp_path: Path) -> None:
    paths = [written(tmp_path / name, [0] * 400, seed=seed) for seed, name in enumerate(("one", "two"))]
    (sentence,) = sentences(compare_runs(paths, margin=0.02))
    assert sentence.startswith("B and A: no difference larger than 2 points over 400 test pictures: +0.0 [-")


def test_page_and_markdown(found: dict[str, Any], tmp_path: Path) -> None:
    shown, text = page(found), markdown(found)
    for said in (*sentences(found), *found["notes"]):
        assert said in text
        assert said.replace("&", "&amp;") in shown.replace("&lt;", "<").replace("&#x27;", "'")
    assert "sgd(lr=0.2) (recipe; lr: user)" in text and "| optimizer |" in text
    assert shown.count("<svg") == 1 and "http" not in shown.split("</style>")[1].replace("http://www.w3.org", "")
    assert "netwright train photos --seed 1" in shown
    for row in text.split("\n"):
        assert not row.startswith("|") or row.count("|") >= 4


def test_runs_that_are_the_same_in_all_things(tmp_path: Path) -> None:
    found = compare_runs([written(tmp_path / name, [0, 1, 0]) for name in ("one", "two")])
    assert len(difference_rows(found)) == 1
    assert "Nothing: recipe, seed" in page(found) and "Nothing: recipe, seed" in markdown(found)
    assert "B against A: none." in page(found)


def test_hostile_names(tmp_path: Path) -> None:
    names = [f"{place}{name}" for place, name in enumerate(HOSTILE)]
    kept = [name.encode("utf-8", "replace").decode() for name in names]
    one = written(tmp_path / "one", [0, 1, 2], labels=[0, 0, 0], classes=kept, names=["<script>", "a|b\nc", "d"])
    two = written(tmp_path / "two", [1, 0, 0], labels=[0, 0, 0], classes=kept, names=["<script>", "a|b\nc", "d"])
    found = compare_runs([one, two])
    shown, text = page(found), markdown(found)
    assert "<script>" not in shown and "<img src=x" not in shown and "\u202e" not in shown
    assert "a\\|b c" in text


def test_thumbnails_that_runs_kept(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one", [0, 1]), written(tmp_path / "two", [0, 0])
    (tmp_path / "one" / "samples" / "mistakes").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "one" / "samples" / "mistakes" / "00.png")
    entry = '[{"file": "mistakes/00.png", "name": "1.jpg", "truth": "cat", "guess": "dog", "confidence": 0.8}]'
    (tmp_path / "one" / "samples" / "mistakes.json").write_text(entry)
    assert page(compare_runs([one, two])).count("data:image/png") == 1


@pytest.mark.parametrize("epochs", [0, 1, 30])
def test_curves_of_any_length(tmp_path: Path, epochs: int) -> None:
    paths = [written(tmp_path / f"{seed}", [0, 1], seed=seed, epochs=max(1, epochs)) for seed in range(2)]
    paths.append(written(tmp_path / "other", [0, 0], epochs=epochs, recipe={"optimizer": "sgd(lr=9.0)"}))
    for by_recipe in (False, True):
        found = compare_runs(paths, by_recipe=by_recipe)
        assert picture(found["runs"]).startswith(b"\x89PNG")
        assert write(found, tmp_path / "out").is_file()


def test_p_in_words() -> None:
    assert [p_words(p) for p in (1, 0.04999, 0.000123, 3e-9)] == ["1", "0.05", "0.00012", "< 0.0001"]
    assert [points_of(share) for share in (0.01, 0.005, 0.02)] == ["1 point", "0.5 points", "2 points"]
