"""`netwright ablate`, from the command line to the page: on the digits, with few epochs."""

import json
from contextlib import redirect_stdout
from io import StringIO

import pytest

from netwright.cli.ablate import seconds_of
from netwright.cli.main import code_of
from netwright.core.errors import NetwrightError
from netwright.records.outcomes import OutcomeStore
from tests.lab.one_cache import own_cache

__all__ = ["own_cache"]  # a fixture

QUICK = ["--epochs", "1", "--set", "threads=1", "--processes", "1"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """An ablation of two tricks with three seeds."""
    output = tmp_path_factory.mktemp("ablate") / "out"
    assert code_of(["ablate", *QUICK, "--seeds", "3", "--tricks", "ema, rotate(degrees=10)", "-o", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What is said of an ablation with one seed, and its folder; the command that it shows has a password."""
    output = tmp_path_factory.mktemp("alone") / "out"
    flags = ["--arms", "lr=0.01", "--seeds", "1", "-o", str(output)]
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(StringIO()) as said:
        patched.setattr("sys.argv", ["netwright", "ablate", "--store", "postgresql://bob:S3cret@host/lab"])
        assert code_of(["ablate", *QUICK, *flags]) == 0
    return said.getvalue(), output


def test_every_effect_has_the_contract_of_json(found):
    held = json.loads((found / "ablation.json").read_text())
    assert [arm["name"] for arm in held["arms"]] == ["ema", "rotate"]
    for arm in held["arms"]:
        assert {"name", "verdict", "effect", "interval", "p", "n"} <= set(arm)
        low, high = arm["interval"]
        assert low <= arm["effect"] <= high
        assert arm["n"] == 3
        assert 0 <= arm["p"] <= 1
    assert (held["runs"], held["seeds"], held["split"]) == (9, [0, 1, 2], "test")


def test_an_effect_is_the_mean_of_paired_differences(found):
    held = json.loads((found / "ablation.json").read_text())
    by_name = {row["name"]: row for row in held["rows"]}
    for arm in held["arms"]:
        paired = [
            sum(weight * by_name[name]["by_seed"][at] for name, weight in arm["weights"].items()) for at in range(3)
        ]
        assert arm["by_seed"] == pytest.approx(paired)
        assert arm["effect"] == pytest.approx(sum(paired) / 3)


def test_page_pictures_and_tables_are_written(found):
    names = {path.name for path in found.iterdir()}
    assert {"ablation.html", "ablation.md", "ablation.json", "forest.png", "pareto.png", "runs.db"} <= names
    assert "rotate" in (found / "ablation.html").read_text()


def test_the_same_command_computes_nothing_again(found, capsys):
    before = {row.key: row.attempts for row in OutcomeStore.beside(found).list(100)}
    again = ["ablate", *QUICK, "--seeds", "3", "--tricks", "ema, rotate(degrees=10)", "-o", str(found), "--json"]
    then = json.loads((found / "ablation.json").read_text())
    assert code_of(again) == 0
    now = json.loads(capsys.readouterr().out)
    assert now["found"] == 9
    assert {row.key: row.attempts for row in OutcomeStore.beside(found).list(100)} == before
    assert now["arms"] == then["arms"]
    assert now["rows"] == then["rows"]


def test_another_plan_finds_the_runs_they_share(found, capsys):
    arms = ["ablate", *QUICK, "--seeds", "3", "--arms", "without ema", "-o", str(found), "--json"]
    assert code_of(arms) == 0
    held = json.loads(capsys.readouterr().out)
    assert (held["runs"], held["found"]) == (6, 6)
    then = json.loads((found / "ablation.json").read_text())["arms"][0]
    assert held["arms"][0]["effect"] == then["effect"]


def test_a_plan_alone_trains_nothing(tmp_path, capsys):
    assert code_of(["ablate", "--plan", "--leave-one-out", "--epochs", "3", "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "without ema" in said
    assert "runs with seeds 0 to " in said
    assert "resolves effects from about" in said
    assert not (tmp_path / "out" / "runs.db").exists()


def test_a_plan_as_json(tmp_path, capsys):
    assert code_of(["ablate", "--plan", "--json", "--epochs", "3", "--seeds", "4", "-o", str(tmp_path / "out")]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["seeds"] == [0, 1, 2, 3]
    assert held["runs"] == 4 * len(held["arms"])
    assert held["smallest_effect"] > 0


def test_one_seed_resolves_nothing_and_says_so(alone):
    said, output = alone
    assert "resolves nothing: these are too few seeds" in said
    assert "seed 0, one after the other" in said
    held = json.loads((output / "ablation.json").read_text(), parse_constant=pytest.fail)
    assert held["arms"][0]["verdict"] == "not resolved"
    assert held["preflight"]["smallest_effect"] is None


def test_an_arm_that_diverges_is_a_result_and_the_others_are_trained(tmp_path):
    flags = ["--arms", "nan: lr=1e9; slow: lr=0.01", "--seeds", "2", "-o", str(tmp_path / "out")]
    assert code_of(["ablate", *QUICK, *flags]) == 0
    held = json.loads((tmp_path / "out" / "ablation.json").read_text(), parse_constant=pytest.fail)
    assert [row["n"] for row in held["rows"]] == [2, 2, 2]
    assert any("nan: 2 of 2 runs ended early (diverged" in note for note in held["notes"])
    assert held["arms"][0]["effect"] < -0.3


def test_until_resolved_looks_and_stops(tmp_path, capsys):
    arms = "null: mixup(alpha=0); nan: lr=1e9"
    flags = ["--arms", arms, "--until-resolved", "--most-seeds", "6", "-o", str(tmp_path / "out"), "--json"]
    assert code_of(["ablate", *QUICK, *flags]) == 0
    held = json.loads(capsys.readouterr().out)
    by_name = {arm["name"]: arm for arm in held["arms"]}
    assert by_name["nan"]["verdict"] == "harms"
    assert [row["look"] for row in held["looks"]["rows"]] == list(range(1, len(held["looks"]["rows"]) + 1))
    assert held["looks"]["spent"] <= 0.05
    assert {row["common"]["n"] for row in held["rows"]} == {min(row["n"] for row in held["rows"])}


def test_a_password_in_the_address_of_the_store_is_written_nowhere(alone):
    _, output = alone
    for path in output.glob("ablation.*"):
        assert "bob" in path.read_text()
        assert "S3cret" not in path.read_text()


def test_factorial(tmp_path, capsys):
    flags = ["--factorial", "full", "--tricks", "ema, no_decay", "--seeds", "2", "-o", str(tmp_path / "out"), "--json"]
    assert code_of(["ablate", *QUICK, *flags]) == 0
    held = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in held["arms"]] == ["ema", "no_decay", "ema × no_decay"]
    by_name = {row["name"]: sum(row["by_seed"]) / 2 for row in held["rows"]}
    (table,) = held["factorial"]["two_way"]
    assert table["means"][1][0] == pytest.approx(by_name["ema"])
    main = held["arms"][0]["effect"]
    assert main == pytest.approx((table["means"][1][0] + table["means"][1][1] - sum(table["means"][0])) / 2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--leave-one-out", "--one-at-a-time"], "different plans"),
        (["--tricks", "emma"], "ema"),
        (["--tricks", "ema", "--arms", "without ema"], "both say what is compared"),
        (["--arms", "mixup(alpha=8"], "mixup"),
        (["--budget", "3 parsecs"], "unit of time"),
        (["--budget", "soon"], "cannot read the time"),
        (["--budget", "1s"], "2 seeds take about"),
        (["--equal", "money"], "epochs"),
        (["--test", "u"], "sign_flip"),
        (["--split", "tset"], "test"),
        (["--split", "train"], "val"),
        (["--until-resolved", "--seeds", "30"], "more than the most"),
        (["--until-resolved", "--budget", "1s"], "4 seeds take about"),
        (["--store", "mysql://u@h/d"], "postgresql"),
        (["--margin", "2"], "one point of accuracy"),
        (["--on", "moon"], "local"),
        (["--factorial", "2^(4-3)", "--tricks", "ema, rotate, no_decay, crop"], "2^"),
        (["--recipe", "modern", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told_in_words(flags, words, tmp_path, capsys):
    assert code_of(["ablate", *flags, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "fix:" in error
    assert not list(tmp_path.glob("netwright-error*"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("45m", 2700), ("2h", 7200), ("1h30m", 5400), ("1.5 h", 5400)]
)
def test_times(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "-3m", "2h!"])
def test_times_that_are_none(text):
    with pytest.raises(NetwrightError):
        seconds_of(text)
