"""`netwright show --plot`: schedules in the terminal, in files and for pages."""

import io
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netwright.cli._plot import HEIGHT, WIDTH, bounds, panel
from netwright.cli.main import code_of
from netwright.optim import SCHEDULES
from netwright.report.schedules import curves_of, schedule_figure


def drawn(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert code_of(["show", *arguments]) == 0
    return capsys.readouterr().out


def test_a_line_is_a_line_of_stars() -> None:
    lines = panel([1 - i / 40 for i in range(41)], dots=False, width=10, height=5)
    assert lines[:5] == [
        "     1 |**",
        "       | ***",
        "       |   ****",
        "       |      ***",
        "     0 |        **",
    ]


def test_a_drop_is_drawn_without_a_gap() -> None:
    lines = panel([1.0] * 20 + [0.0] * 21, dots=False, width=10, height=5)
    column = [line[8:].ljust(10) for line in lines[:5]]
    assert [line.count("*") for line in column] == [5, 1, 1, 1, 6]
    assert len({line.index("*") for line in column[1:4]}) == 1


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_every_schedule_is_drawn(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = drawn(capsys, "--plot", name).splitlines()
    assert lines[:3] == [f"schedule {name}", "", "factor"]
    assert len(lines) == 3 + HEIGHT + 2
    assert lines[-1].split() == ["0", "progress", "1"]
    assert max(map(len, lines)) <= WIDTH + 9
    assert lines[3].split()[0] == "1"


def test_momentum_has_a_panel_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = drawn(capsys, "one_cycle(momentum=(0.85, 0.95))", "--plot")
    after = text[text.index("momentum\n") :].splitlines()
    assert [after[i].split()[0] for i in (1, HEIGHT)] == ["0.95", "0.85"]


def test_axes() -> None:
    assert bounds([0.1, 1.0]) == (0.0, 1.0)
    assert bounds([0.85, 0.95]) == (0.85, 0.95)
    assert bounds([0.9, 0.9]) == (0.0, 0.9)
    assert bounds([0.0, 0.0]) == (0.0, 1.0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_unicode(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert code_of(["show", "--plot", "cosine"]) == 0
    stream.flush()
    assert b"***" in stream.buffer.getvalue()


@pytest.mark.parametrize("suffix", ["svg", "png", "SVG"])
def test_files(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"schedule.{suffix}"
    drawn(capsys, "one_cycle(momentum=(0.85, 0.95))", "--save", str(path))
    if suffix == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert "momentum" in path.read_text("utf-8")
        assert "var(" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--plot", "sgd"], "only schedules"),
        (["--plot", "cosinee"], "only schedules"),
        (["--plot", "cosine(flor=1)"], "flor"),
        (["cosine", "--save", "cosine.gif"], "cosine.gif"),
        (["cosine", "--save", "no/such/folder/cosine.png"], "cannot write"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of(["show", *arguments]) == 2
    errors = capsys.readouterr().err
    assert problem in errors
    assert "fix: " in errors


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(drawn(capsys, "--plot", "--json", "linear"))
    assert told["factor"] == pytest.approx([1 - p for p in told["progress"]])
    assert "momentum" not in told


def test_figures_for_pages_are_the_same_every_time_and_carry_their_own_colours() -> None:
    schedule = SCHEDULES.build("triangular(momentum=(0.8, 0.9))")
    figure = schedule_figure(schedule, "triangular")
    assert figure == schedule_figure(schedule, "triangular")
    assert "var(" not in figure
    assert 'aria-label="factor and momentum over progress"' in figure
    ElementTree.fromstring(figure.replace("xlink:", ""))
    assert 'id="triangular-' in figure


def test_curves() -> None:
    curves = curves_of(SCHEDULES.build("cosine"), 3)
    assert curves.progress == [0, 0.5, 1]
    assert curves.series["factor"] == pytest.approx([1, 0.5, 0])
