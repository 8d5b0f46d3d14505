"""The catalogue that is written for each build says all there is to say of each trick, and shows what it does."""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from netwright.core.options import options_of
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Trick
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.tricks import TRICKS
from tests.support import one_thread

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = TRICKS.names()
ON_PICTURES = ("geometry", "colour", "pixels")
MIXING = ("mixup", "cutmix", "mixup_or_cutmix")
SIZE_LIMIT = 150_000


@pytest.fixture(scope="module")
def written() -> Iterator[ModuleType]:
    """The script that writes the pages; imported by this name, it only offers them."""
    before = [*sys.path]
    sys.path.insert(0, str(DOCS))
    try:
        import gen_pages  # pyright: ignore

        yield gen_pages
    finally:
        sys.path[:] = before


@pytest.fixture(scope="module")
def page(written: ModuleType) -> str:
    with one_thread():
        return written.tricks()


@pytest.fixture(scope="module")
def pictures(written: ModuleType) -> dict[str, bytes]:
    with one_thread():
        return written.pictures()


def entry(page: str, name: str) -> str:
    """A trick's own part of the page."""
    _, begins, rest = page.partition(f"\n### {name}\n")
    assert begins, f"{name} has no entry"
    return re.split(r"^##+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def overrides(name: str, station: str) -> bool:
    return getattr(TRICKS.load(name), station) is not getattr(Trick, station)


def links(text: str) -> list[str]:
    return re.findall(r"\[`(\w+)`\]\(#\1\)", text)


def part(page: str, heading: str) -> str:
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_overview_names_each_trick_once(page: str) -> None:
    assert sorted(links(part(page, "Overview"))) == NAMES


def test_an_entry_names_what_the_trick_does_its_paper_stations_and_options(page: str) -> None:
    for name in NAMES:
        make = TRICKS.load(name)
        text = entry(page, name)
        assert TRICKS.summary(name) in text, name
        assert make.card.paper in text, name
        for station in (*ON_PICTURES, "batch", "model", "loss", "predictor"):
            assert (f"`{station}`" in text.split("**Acts at:**")[1].split("\n")[0]) == overrides(name, station), name
        for option in options_of(make).values():
            row = next(line for line in text.splitlines() if line.startswith(f"| `{option.name}`"))
            assert option.allowed.replace(" | ", " or ") in row, name


def test_tricks_that_act_together_stand_together(written: ModuleType) -> None:
    groups = written.grouped()
    assert sorted(name for names in groups.values() for name in names) == NAMES
    assert {each for wanted in written.GROUPS.values() for each in wanted} == {*written.STATIONS, "start"}
    assert {written.group(name) for name in MIXING} == {"Mixing and targets"}
    assert {written.group("flip"), written.group("randaugment"), written.group("sam")} == {
        "Geometry", "Policies", "Optimisation",
    }  # fmt: skip


def test_no_heading_takes_anothers_anchor(page: str) -> None:
    headings = [heading.lower() for heading in re.findall(r"^##+ (.+)$", page, re.MULTILINE)]
    assert len(set(headings)) == len(headings)


def test_the_table_of_symptoms_is_complete(page: str) -> None:
    cells = [line.strip("| ").split(" | ") for line in part(page, "What helps against …").splitlines()[3:] if line]
    told = {symptom: set(links(tricks)) for symptom, tricks in cells}
    cards = {name: TRICKS.load(name).card.treats for name in NAMES}
    expected = {str(symptom): {name for name, treats in cards.items() if symptom in treats} for symptom in Symptom}
    assert told == {symptom: tricks for symptom, tricks in expected.items() if tricks}


def test_every_trick_that_changes_pictures_shows_it(page: str, pictures: dict[str, bytes]) -> None:
    shown = {name for name in NAMES if f"](tricks/{name}.png)" in entry(page, name)}
    assert shown == {*MIXING, *(name for name in NAMES if any(overrides(name, station) for station in ON_PICTURES))}
    assert {f"catalogue/tricks/{name}.png" for name in shown} == set(pictures)


def test_pictures_are_small_files_that_begin_with_the_original(written: ModuleType, pictures: dict[str, bytes]) -> None:
    for place, png in pictures.items():
        strip = written.strip_of(Path(place).stem)
        image = np.asarray(Image.open(io.BytesIO(png)))
        side = len(strip.original)
        assert len(png) < SIZE_LIMIT, place
        assert np.abs(image[:, :side, :3].astype(int) - strip.original).max() <= 2, place
        assert strip.visible, place
        assert any(not np.array_equal(strip.original, each) for each in strip.seen), place


def test_the_caption_tells_the_options_and_what_becomes_of_the_target(page: str, written: ModuleType) -> None:
    assert "with `flip`.*" in entry(page, "flip")
    assert "`hue(degrees=120.0)`. At its defaults" in entry(page, "hue")
    assert "of little contrast" in entry(page, "autocontrast")
    assert f"{written.strip_of('mixup').shares[1]:.0%}" in entry(page, "mixup")


def test_pictures_show_what_tricks_do(written: ModuleType) -> None:
    original = written.strip_of("flip").original
    flipped = [np.array_equal(each, original[:, ::-1]) for each in written.strip_of("alternating_flip").seen]
    assert flipped in ([True, False] * 2 + [True], [False, True] * 2 + [False])
    sides = [len(each) for each in written.strip_of("progressive_resize").seen]
    assert sides == sorted(sides) and sides[0] == len(original) // 2 and sides[-1] == len(original)
    negative = 255 - original.astype(int)
    assert np.abs(written.strip_of("invert").seen[0] - negative).max() <= 1


def test_each_schedule_and_no_optimiser_has_a_figure(written: ModuleType) -> None:
    schedules = written.registry("Schedules", SCHEDULES, "--schedule", written.schedule)
    assert schedules.count("<svg") == len(SCHEDULES.names())
    assert "whose loss stops falling" in schedules.split("## plateau")[1].split("\n## ")[0]
    assert "<svg" not in written.registry("Optimisers", OPTIMIZERS, "--optimizer")
    assert written.Watched(SCHEDULES.build("plateau"))(1.0) < written.Watched(SCHEDULES.build("plateau"))(0.5)
