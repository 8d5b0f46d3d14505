"""The page of a study of transfer: what its words claim is what its numbers allow."""

import struct
from pathlib import Path
from typing import Any

import pytest

from netwright.core.errors import NetwrightError
from netwright.records.intervals import Interval
from netwright.report import transfer_study as page_
from netwright.report.transfer_curves import APART, COLOURS, picture
from netwright.report.transfer_study import (
    best_words,
    case_rows,
    case_words,
    crossing_words,
    difference_rows,
    interval_words,
    markdown,
    page,
    rows_of,
)

ARMS = ("scratch", "features", "finetune")


def interval(value: float, reach: float = 0.05) -> dict[str, Any]:
    return Interval(value, value - reach, value + reach, 200, "two_way").to_json()


def row(arm: str, size: str, per_class: float, value: float, sd: float | None = 0.012) -> dict[str, Any]:
    spent = {"seconds": 75.0, "images_per_second": 1234.5, "epochs": 20, "updates": 560, "batch_size": 16}
    given = {"arm": arm, "size": size, "pictures": 10 * per_class, "per_class": per_class, "by_seed": [value]}
    return given | {"accuracy": interval(value), "seed_sd": sd} | spent


def ahead(arm: str, over: str, value: float, resolved: bool) -> dict[str, Any]:
    return {"arm": arm, "over": over, "difference": interval(value, 0.01 if resolved else 0.2), "resolved": resolved}


def crossed(value: float | str, low: float | str, high: float | str, kind: str = "crossing") -> dict[str, Any]:
    found = {"kind": kind, "value": value, "low": low, "high": high, "smallest": 5, "largest": 45.0}
    return {"arm": "finetune", "over": "features"} | found


@pytest.fixture
def found() -> dict[str, Any]:
    sizes = [{"asked": "5", "pictures": 50, "per_class": 5.0}, {"asked": "all", "pictures": 450, "per_class": 45.0}]
    rows = [
        row(arm, size["asked"], size["per_class"], 0.3 + 0.1 * place + size["per_class"] / 200)
        for place, arm in enumerate(ARMS)
        for size in sizes
    ]
    differences = [{"size": "5"} | ahead("finetune", "features", 0.1, False)]
    differences += [{"size": "5"} | ahead("finetune", "scratch", 0.2, True)]
    differences += [{"size": "all"} | ahead("finetune", "features", 0.1, True)]
    study = {
        "data": "clothing", "split": "test", "n": 214, "seeds": 5, "sizes": sizes, "rows": rows, "left_out": [],
        "differences": differences, "crossings": [crossed(12.34, 7.0, 21.0)],
    }  # fmt: skip
    case = {"task": "near", "arm": "features", "data": "<b>", "n": 120, "chance": 0.2, "seconds": 3.0}
    cases = {
        "seeds": 5, "per_class": 20, "notes": ["far task: left out"],
        "rows": [case | {"accuracy": interval(0.6), "seed_sd": 0.01, "images_per_second": 5.0}],
        "differences": [{"task": "near"} | ahead("features", "scratch", 0.1, False)],
    }  # fmt: skip
    recipes = {arm: {"optimizer": "adamw", "tricks": ["flip"], "epochs": 20, "batch_size": "auto"} for arm in ARMS}
    protocol = {"updates": 200, "longest": 10, "recipes": recipes}
    top = {"format": 1, "data": "clothing", "model": "squeezenet1_0", "weights": "w.pth", "image_size": 160, "seeds": 5}
    return top | {"device": "a CPU", "protocol": protocol, "study": study, "cases": cases}


def test_the_table_goes_by_size(found: dict[str, Any]) -> None:
    rows = rows_of(found["study"])
    assert [line[:2] for line in rows[1:]] == [
        *([size, arm] for size in ("5", "all (45)") for arm in ARMS),
    ]
    assert rows[1][2:] == ["32.5 % [27.5, 37.5]", "sd 1.2", "560", "1 min 15 s", "1,234"]


def test_one_seed_shows_no_spread_and_says_so(found: dict[str, Any]) -> None:
    assert "between seeds" in rows_of(found["study"])[0]
    assert "between seeds" not in rows_of(found["study"] | {"seeds": 1})[0]
    assert "between seeds" not in case_rows(found["cases"] | {"seeds": 1})[0]
    assert "one seed does not tell" in interval_words(found | {"seeds": 1})
    assert "2 seeds hardly tell" in interval_words(found | {"seeds": 2})
    assert "hardly" not in interval_words(found)


def test_what_is_not_resolved_is_never_called_better(found: dict[str, Any]) -> None:
    first, second = best_words(found["study"])
    assert first == "With 5 pictures a class, finetune was right most often; not told apart from it: features."
    assert second == "With all (45) pictures a class, finetune was right most often."
    assert [line[-1] for line in difference_rows(found["study"])[1:]] == ["no", "yes", "yes"]
    assert case_words(found["cases"]) == [
        "Near task: features over scratch is not resolved: 10.0 [-10.0, 30.0] percentage points."
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (crossed(12.34, 7.0, 21.0), "finetune overtakes features at 12.3 pictures a class [7, 21]."),
        (crossed(12.34, "before", 21.0), "finetune overtakes features at 12.3 pictures a class [below 5, 21]."),
        (crossed(40.0, 20.0, "beyond"), "finetune overtakes features at 40 pictures a class [20, beyond 45]."),
        (crossed("before", "before", 12.0), "finetune was ahead of features at every size, but may be so from 12"),
        (crossed("beyond", 30.0, "beyond"), "finetune did not overtake features up to 45 pictures a class, but may do"),
        (crossed("before", "before", "before", "ahead"), "finetune is ahead of features from the smallest size on, 5"),
        (crossed("beyond", "beyond", "beyond", "behind"), "finetune does not overtake features up to 45 pictures"),
        (crossed(12.0, "before", "beyond", "open"), "finetune over features: not resolved between 5 and 45"),
    ],
)
def test_every_kind_of_crossing_has_its_sentence(found: dict[str, Any], given: dict[str, Any], words: str) -> None:
    assert crossing_words(found["study"] | {"crossings": [given]})[0].startswith(words)


def test_the_page_holds_everything_and_escapes_names(found: dict[str, Any]) -> None:
    html = page(found)
    for words in ("figure-title", "crossings-title", "table-title", "differences-title", "cases-title", "Protocol"):
        assert words in html
    assert "<b>" not in html and "&lt;b&gt;" in html
    assert "at least" not in html and "fewer than 200 updates" in html
    assert html.count("<script") == 0


def test_either_part_may_be_missing(found: dict[str, Any], tmp_path: Path) -> None:
    import json

    for missing in ("study", "cases"):
        (tmp_path / "transfer_study.json").write_text(json.dumps(found | {missing: None}))
        assert page_.write(tmp_path).is_file()
        assert (tmp_path / "transfer_study.md").read_text()
    one = found["study"] | {"crossings": [], "differences": []}
    assert "crossings-title" not in page(found | {"study": one})


def test_markdown_has_tables_of_equal_width(found: dict[str, Any]) -> None:
    tables = [line for line in markdown(found).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables[:8]}) == 1
    assert "- finetune overtakes features at 12.3 pictures a class [7, 21]." in markdown(found)


@pytest.mark.parametrize("sizes", [("5",), ("5", "all")])
def test_the_picture_is_drawn(found: dict[str, Any], sizes: tuple[str, ...]) -> None:
    image = picture([each for each in found["study"]["rows"] if each["size"] in sizes])
    assert image[:4] == b"\x89PNG"
    assert struct.unpack(">II", image[16:24]) == (1280, 760)


def test_colours_are_all_different() -> None:
    assert len(set(COLOURS)) == len(COLOURS) >= 4
    assert 0 < APART < 0.2


def test_a_disk_that_refuses_is_told(found: dict[str, Any], tmp_path: Path) -> None:
    import json

    (tmp_path / "transfer_study.json").write_text(json.dumps(found))
    (tmp_path / "transfer_study.md").mkdir()
    with pytest.raises(NetwrightError):
        page_.write(tmp_path)
