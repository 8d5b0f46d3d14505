"""The grid of depths: what its networks are and cost, what is paired, what is said, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from netwright.cli.main import code_of
from netwright.core.errors import NetwrightError
from netwright.lab.anova import analyse
from netwright.lab.studies._depth_found import _ticks
from netwright.lab.studies._depth_grid import Cell, Grid
from netwright.lab.studies._depth_words import cautions, cost_words, counted, factor_words, p_words, together_words
from netwright.lab.studies._networks import Networks
from netwright.lab.studies._study import Setting, opened, study
from netwright.lab.studies.depth import Depth, base_of
from netwright.lab.trial import Trial, Trials
from netwright.recipes._recipe import Recipe, recipe
from netwright.records.intervals import Interval
from netwright.report.study import _count_label, cell_text, markdown, page, picture

PICTURES = 200


@pytest.fixture
def course(stripes: Path) -> Recipe:
    """The study's own protocol, on pictures of 16 pixels."""
    return recipe("depth", data=str(stripes), epochs=1, batch_size=16, device="cpu", threads=1)


def narrow(course: Recipe) -> Recipe:
    return course.changed(model="vgg(width=4, hidden=(8,))")


def setting(protocol: Recipe, folder: Path) -> Setting:
    return Setting(protocol, opened(protocol), Trials(folder), Networks(folder), lambda words: None)


def grid(
    accuracy: np.ndarray, *, skip: tuple[bool, ...] = (False,), blocks: tuple[int, ...] = (1, 2, 3), noise: float = 0.0
) -> list[Cell]:
    """Cells with runs of these accuracies. Arms, blocks, layers, seeds."""
    labels = np.arange(PICTURES) % 10
    cells: list[Cell] = []
    for arm, row in zip(skip, accuracy, strict=True):
        for number, of_blocks in zip(blocks, row, strict=True):
            for layers, seeds in enumerate(of_blocks, 1):
                trials: list[Trial] = []
                for share in seeds:
                    correct = (np.arange(PICTURES) < round(share * PICTURES)).astype(float)
                    trials.append(Trial(correct, labels, labels, 2.0, 100.0))
                params = 1_000_000 // number * (1 + layers)
                cells.append(Cell("none", arm, number, layers, "vgg", params, 1000 * number, 3, tuple(trials)))
    return cells


def runs(effect: np.ndarray, seed: int = 0, seeds: int = 3, spread: float = 0.01) -> np.ndarray:
    """Accuracies around 60 %. Effect: arms, blocks, layers."""
    draw = np.random.default_rng(seed)
    return 0.6 + effect[..., None] + spread * draw.standard_normal((*effect.shape, seeds))


def test_the_course_is_the_default(course: Recipe) -> None:
    assert course.optimizer == "adam(lr=0.001)" and course.schedule == "constant" and course.tricks == ()
    plain = recipe("depth")
    assert (plain.epochs, plain.batch_size) == (3, 64)
    default = Depth()
    assert (default.blocks, default.layers, default.seeds, default.init) == ((1, 2, 3), (1, 2, 3), 3, "he")
    assert base_of(plain).options == {"dropout": 0.0, "head": "dense", "hidden": (128,), "width": 32}


def field(blocks: int, layers: int) -> int:
    """The closed form: each convolution of a block adds 2 pixels of its resolution, each pooling one."""
    return 1 + sum((2 * layers + 1) * 2**block for block in range(blocks))


def test_costs_are_those_of_the_formulas(course: Recipe, tmp_path: Path) -> None:
    cells = list(Depth(layers=(1, 3), skip=(False, True)).cells(base_of(course), setting(course, tmp_path)))
    assert len(cells) == 12
    for cell in cells:
        assert cell.receptive_field == field(cell.blocks, cell.layers)
        params, macs, before, side = 0, 0, 1, 16
        for block in range(cell.blocks):
            channels = 32 * 2**block
            weights = 9 * before * channels + 9 * (cell.layers - 1) * channels**2
            params += weights + cell.layers * channels
            macs += weights * side**2
            before, side = channels, side // 2
        dense = before * side**2 * 128
        assert cell.params == params + dense + 128 + 128 * 6 + 6
        assert cell.macs == macs + dense + 128 * 6
    assert field(3, 3) == 50 and field(1, 1) == 4


def test_a_study_is_trained_shown_and_not_repeated(course: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    spec = "depth(blocks=(2, 1), layers=(1, 2), norm=('none', 'batch'), seeds=2)"
    first = study(spec, narrow(course), output=tmp_path / "out", told=told.append)
    assert len(told) == 2 * 2 * 2 * 2
    assert told[0].startswith("1 of 16: blocks × layers 1 × 1, plain, seed 0:")
    assert told[8].startswith("9 of 16: blocks × layers 1 × 1, plain, seed 1:"), "all cells of a seed, then the next"
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trials").iterdir()}
    assert study(spec, narrow(course), output=tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trials").iterdir()} == files
    assert len(files) == 16
    found = json.loads((tmp_path / "out" / "study.json").read_text("utf-8"))
    measured = found["measured"]
    assert [row["df"] for row in measured["anova"]["plain"]] == [1, 1, 1, 1, 3]
    assert [row["name"] for row in measured["anova"]["all arms"]][:3] == ["blocks", "layers", "norm"]
    values = np.array([cell["by_seed"] for cell in measured["cells"]]).reshape(2, 2, 2, 2)
    alone = analyse(values[1], ("blocks", "layers")).of("layers")
    shown = next(row for row in measured["anova"]["batch norm"] if row["name"] == "layers")
    assert shown["squares"] == pytest.approx(alone.squares)
    assert found["protocol"]["model"].startswith("vgg(dropout=0.0") and "side" not in found["protocol"]["model"]
    said = (tmp_path / "out" / "study.md").read_text("utf-8")
    for caption in ("What each network reaches and costs", "Analysis of variance, all arms", "What arms change"):
        assert caption in said
    assert all(len(table["heads"]) == len(row) for table in found["tables"] for row in table["rows"])


def test_first_weights_are_he_et_als_unless_told_otherwise(course: Recipe, tmp_path: Path) -> None:
    seen: list[tuple[str, ...]] = []

    class Watched(Trials):
        def run(self, recipe: Recipe, *given: object, **named: object) -> Trial:
            seen.append(recipe.tricks)
            return super().run(recipe, *given, **named)

    one = setting(narrow(course), tmp_path)
    one.trials = Watched(tmp_path)
    for init, wanted in (("he", ("init(kind='he')",)), ("keep", ())):
        Depth(blocks=(1,), layers=(1, 2), seeds=2, init=init)(one)
        assert set(seen) == {wanted}
        seen.clear()


def test_levels_are_put_where_they_belong() -> None:
    """An effect of 10 points of the second arm, of 4 of blocks, and of 2 of layers."""
    effect = np.zeros((2, 3, 2))
    effect[1] += 0.1
    effect += np.array([0.0, 0.04, 0.08])[None, :, None] + np.array([0.0, 0.02])
    found = Grid.of(grid(runs(effect, spread=0.0), skip=(False, True)))
    assert found.factors == ("blocks", "layers", "skip")
    assert found.correct.shape == (3, 2, 2, 3, PICTURES)
    for factor, wanted in (("blocks", 0.08), ("layers", 0.02), ("skip", 0.1)):
        assert found.effect(factor).mean() == pytest.approx(wanted)
        assert np.ptp(found.analysis.means(factor)) == pytest.approx(wanted)
    assert found.effect("blocks", 1, 0).mean() == pytest.approx(0.04)


def test_a_factor_of_one_level_is_no_factor() -> None:
    cells = [cell for cell in grid(runs(np.zeros((1, 3, 3)))) if cell.blocks == 2]
    found = Grid.of(cells)
    assert found.factors == ("layers",) and found.correct.shape == (3, 3, PICTURES)
    assert found.analysis.of("layers").df == 2


def test_what_is_said_is_what_is_resolved() -> None:
    from netwright.lab.anova import compare

    effect = np.array([0.0, 0.05, 0.10])[None, :, None] + np.zeros((1, 3, 3))
    found = Grid.of(grid(runs(effect)))
    sure, open_ = (factor_words(found, name, compare(found.analysis, name)) for name in ("blocks", "layers"))
    assert "with other seeds, [" in sure and "with other pictures as well" in sure
    assert (
        sure.startswith("On these pictures accuracy depends on blocks (F(2, 16) = ")
        and "3 blocks against 1 block: +10." in sure
    )
    assert open_.startswith("An effect of layers is not resolved (F(2, 16) = ")
    same = Grid.of(grid(runs(np.zeros((1, 3, 3)), spread=0.0)))
    assert "no error to measure" in factor_words(same, "blocks", compare(same.analysis, "blocks"))


def test_interactions_are_said_of_the_arms_too() -> None:
    plain = runs(np.zeros((1, 3, 3)))
    helped = plain + np.array([0.0, 0.05, 0.1])[:, None]  # layers help with shortcuts alone; chance is the same in both
    values = np.concatenate([plain, helped])
    found = together_words(Grid.of(grid(values, skip=(False, True))).analysis, of=("norm", "skip"))
    assert found[0].startswith("That the effect of blocks depends on skip is not resolved (F(2, 34) = ")
    assert found[1].startswith("The effect of layers depends on skip (F(2, 34) = ") and len(found) == 2


def test_dead_runs_are_named_and_make_errors_uneven() -> None:
    values = runs(np.zeros((1, 3, 3)))
    values[0, 2, 2, 1] = 0.1
    found = Grid.of(grid(values))
    dead, odd = cautions(found, first_seed=5)
    assert dead == "Not clearly better than guessing: 3 × 3 with seed 6."
    assert "of unequal size" in odd and "seeds differ most at 3 × 3" in odd and "p by permutation" in odd
    assert cautions(Grid.of(grid(runs(np.zeros((1, 3, 3))))), 0) == []


def test_parameters_that_fall_with_depth_are_warned_of(course: Recipe, tmp_path: Path) -> None:
    one, grid_ = setting(course, tmp_path), Depth(layers=(1,))
    (said,) = cost_words(list(grid_.cells(base_of(course), one)))
    assert "2 × 1 (blocks × layers) has 151 k parameters and 1 × 1 has 263 k" in said and "smaller map" in said
    pooled = base_of(course.changed(model="vgg(head='pool')"))
    assert cost_words(list(grid_.cells(pooled, one))) == []


def test_numbers_in_words() -> None:
    share = {"interval": Interval(0.5, 0.25, 0.75, 27, "noncentral_f").to_json(), "unit": "share"}
    assert cell_text(share) == "0.50 [0.25, 0.75]"
    assert [_count_label(n, None) for n in (500, 2e3, 5e6, 1e9)] == ["500", "2 k", "5 M", "1 G"]
    assert _ticks([300_000, 60_000_000]) == [1_000_000, 10_000_000]
    assert _ticks([700_000, 900_000]) == [1_000_000]
    assert [counted(n) for n in (12, 1234, 1_050_890, 2.5e9)] == ["12", "1.23 k", "1.05 M", "2.50 G"]
    assert [p_words(p) for p in (None, 1e-9, 0.00123, 0.05)] == ["–", "< 0.0001", "0.0012", "0.050"]


@pytest.mark.parametrize(
    ("options", "problem", "fix"),
    [
        ({"blocks": ()}, "blocks cannot be", "one or more"),
        ({"layers": (1, 1)}, "layers cannot be", "each once"),
        ({"blocks": (2,), "layers": (1,)}, "are one network", "--blocks 1,2,3"),
        ({"init": "hee"}, "init: kind cannot be 'hee'", "did you mean 'he'"),
    ],
)
def test_nonsense_is_refused(options: dict[str, object], problem: str, fix: str) -> None:
    with pytest.raises(NetwrightError, match=problem) as error:
        Depth(**options)
    assert fix in error.value.fix


@pytest.mark.parametrize(
    ("model", "problem", "fix"),
    [
        ("resnet20", "builds VGG networks, not resnet20", "vgg(width=16"),
        ("vgg(norm='batch')", "norm of vgg", "--norm instead"),
        ("vgg(side=4)", "side of vgg", "leave it out"),
    ],
)
def test_other_networks_are_refused(course: Recipe, model: str, problem: str, fix: str) -> None:
    with pytest.raises(NetwrightError, match=problem) as error:
        base_of(course.changed(model=model))
    assert fix in error.value.fix


def test_another_recipes_network_is_not_the_users_wish() -> None:
    assert base_of(recipe("history")).options["width"] == 32


def test_flags_are_options(stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = [
        "study",
        "depth",
        str(stripes),
        "--blocks",
        "1,2",
        "--layers",
        "1",
        "--skip",
        "--seeds",
        "2",
        "-o",
        str(out),
    ]
    words += [
        "--model",
        "vgg(width=4, hidden=(8,))",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--set",
        "threads=1",
        "--json",
    ]
    assert code_of(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["study"] == "depth(blocks=(1, 2), layers=(1,), seeds=2, skip=(False, True))"
    assert len(found["measured"]["cells"]) == 4 and len(found["panels"]) == 4
    assert found["measured"]["arms"][1]["arm"] == "shortcuts"
    assert "<svg" in page(found) and picture(found)[:4] == b"\x89PNG" and "| blocks |" in markdown(found)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--blocks", "5"], "5 blocks leave nothing of pictures of 16x16 pixels"),
        (["--blocks", "one"], "depth: blocks cannot be ('one',)"),
        (["--norm", "bach"], "depth: norm cannot be ('bach',)"),
        (["--model", "lenet5"], "builds VGG networks, not lenet5"),
        (["--seeds", "1"], "depth: seeds cannot be 1"),
        (["--base", "2"], "unknown option of depth 'base'"),
    ],
)
def test_mistakes_are_told_before_training(
    stripes: Path, tmp_path: Path, flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", "depth", str(stripes), "--device", "cpu", "-o", str(tmp_path / "out"), *flags]
    assert code_of(words) == 2
    said = capsys.readouterr()
    assert problem in said.err and "fix:" in said.err
    assert said.out == "" and not (tmp_path / "out").exists()
