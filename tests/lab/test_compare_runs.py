"""Runs compared: real ones of the digits, and ones written by hand in which everything is known."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from netwright import fit, recipe
from netwright.core.errors import NetwrightError
from netwright.lab.compare_runs import compare_runs, write
from netwright.lab.run_arms import NOT_IN_RECIPE, recipe_key
from netwright.lab.run_folders import find
from netwright.lab.two_way import two_way
from netwright.recipes._recipe import NOT_IN_KEY
from netwright.records.folder import RunFolder

CLASSES = ["cat", "dog", "emu"]


def written(
    folder: Path,
    guesses: list[int] | np.ndarray,
    *,
    labels: list[int] | np.ndarray | None = None,
    names: list[str] | None = None,
    split: str = "test",
    seed: int = 0,
    classes: list[str] | None = None,
    sure: float = 0.8,
    epochs: int = 2,
    **changes: Any,
) -> str:
    """A finished run that guessed so, each with the same confidence; by default all labels are the first class."""
    guesses = np.asarray(guesses)
    n, k = len(guesses), len(classes or CLASSES)
    probabilities = np.full((n, k), (1 - sure) / (k - 1), np.float32)
    probabilities[np.arange(n), guesses] = sure
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    recipe_ = {"name": "digits", "data": "photos", "task": "classification", "model": "lenet5", "seed": seed}
    recipe_ |= {"tricks": ["flip", "crop(pad=3)"], "optimizer": "sgd(lr=0.1)", "epochs": epochs, "device": "cpu"}
    recipe_ |= changes.pop("recipe", {})
    record = {
        "format": 1,
        "name": folder.name,
        "status": "done",
        "seconds": 4.0,
        "recipe": recipe_,
        "sources": {"optimizer": "recipe", "optimizer.lr": "user", "tricks.flip": "user", "seed": "user"},
        "command": f"netwright train photos --seed {seed}",
        "data": {"name": "photos", "fingerprint": "f00d", "classes": classes or CLASSES, "splits": {"test": {"n": n}}},
        "model": {"params": 1000},
        "versions": {"torch": "2.10.0"},
        "result": {"images_per_second": 100.0},
    }
    run.write_record(record | changes)
    for epoch in range(1, epochs + 1):
        run.append_metrics(
            {"kind": "epoch", "epoch": epoch, "train_loss": 1 / epoch, "val_accuracy": 0.5, "seconds": 2}
        )
    np.savez(
        run.evaluation_file,
        probabilities=probabilities,
        labels=np.zeros(n, np.int64) if labels is None else np.asarray(labels),
        names=np.array(names or [f"{place}.jpg" for place in range(n)]),
        split=np.array(split),
    )
    return str(folder)


@pytest.fixture(scope="session")
def digits_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two seeds of two recipes, trained for an epoch."""
    output = tmp_path_factory.mktemp("runs")
    plain = recipe("digits").changed(epochs=1, threads=1, model="mlp(widths=(16,))")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
        made = [
            fit(arm.changed(seed=seed), output=output).path
            for arm in (plain, plain.with_("mixup(alpha=8.0)").changed(lr=0.5))
            for seed in (0, 1)
        ]
        yield [str(path) for path in made]


class TestRealRuns:
    def test_two_runs(self, digits_runs: list[str]) -> None:
        found = compare_runs([digits_runs[0], digits_runs[2]])
        with (
            np.load(Path(digits_runs[0]) / "evaluation.npz") as one,
            np.load(Path(digits_runs[2]) / "evaluation.npz") as two,
        ):
            assert one["names"].tolist() == two["names"].tolist()
            right = [held["probabilities"].argmax(1) == held["labels"] for held in (one, two)]
        only = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
        (each,) = found["comparisons"]
        assert [each["b"], each["c"]] == only and each["n"] == 385
        assert each["p"] == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
        assert each["effect"] == pytest.approx(float(right[1].mean() - right[0].mean()))
        changed = {(row["kind"], row["field"]) for row in found["differences"]}
        assert changed == {("recipe", "optimizer"), ("trick", "mixup")}
        assert [row["accuracy"]["value"] for row in found["runs"]] == pytest.approx([float(r.mean()) for r in right])

    def test_seeds_of_an_arm(self, digits_runs: list[str]) -> None:
        found = compare_runs(digits_runs, by_recipe=True)
        (each,) = found["comparisons"]
        assert [row["seeds"] for row in found["runs"]] == [[0, 1], [0, 1]] and each["seeds"] == 2
        right: list[np.ndarray] = []
        for path in digits_runs:
            with np.load(Path(path) / "evaluation.npz") as held:
                right.append((held["probabilities"].argmax(1) == held["labels"]).astype(float))
        expected = two_way(np.stack([right[2] - right[0], right[3] - right[1]]), difference=True)
        assert each["interval"] == pytest.approx([expected.low, expected.high])
        assert each["covers"] == "seeds and pictures" and any("hardly tell" in words for words in found["notes"])

    def test_a_bundle_is_its_run(self, digits_runs: list[str]) -> None:
        assert find(f"{digits_runs[0]}/bundle").path == Path(digits_runs[0]).resolve()

    def test_no_torch(self, digits_runs: list[str], tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from netwright.cli.compare import compare\n"
            f"compare({digits_runs!r}, by_recipe=True, output=Path({str(tmp_path / 'out')!r}))\n"
            "assert not {'torch', 'sqlalchemy', 'timm'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "B" in done.stdout and (tmp_path / "out" / "compare.html").is_file()


class TestWritten:
    def test_counts_and_verdicts(self, tmp_path: Path) -> None:
        base = written(tmp_path / "base", [1] * 20 + [0] * 80)
        good = written(tmp_path / "good", [0] * 20 + [0] * 78 + [2] * 2)
        same = written(tmp_path / "same", [1] * 19 + [0] * 81)
        found = compare_runs([base, good, same])
        one, other = found["comparisons"]
        assert (one["b"], one["c"], one["effect"], one["verdict"]) == (2, 20, 0.18, "better")
        assert one["p_holm"] == pytest.approx(2 * one["p"])
        assert (other["b"], other["c"], other["verdict"]) == (0, 1, "not resolved") and other["pictures_needed"] > 100
        assert (
            compare_runs([base, same], margin=0.1)["comparisons"][0]["verdict"] == "no difference larger than 10 points"
        )
        turned = compare_runs([base, good], against="good")["comparisons"][0]
        assert turned["verdict"] == "worse" and turned["effect"] == -0.18 and turned["against"] == "good"
        assert any("One seed each" in words and "netwright ablate" in words for words in found["notes"])

    def test_losses_and_calibration_have_closed_forms(self, tmp_path: Path) -> None:
        one = written(tmp_path / "one", [0] * 50, sure=0.8)
        two = written(tmp_path / "two", [0] * 50, sure=0.6)
        (each,) = compare_runs([one, two])["comparisons"]
        assert each["loss"]["value"] == pytest.approx(np.log(0.8 / 0.6), rel=1e-5)
        assert each["calibration"]["value"] == pytest.approx(0.4 - 0.2, abs=1e-6)
        assert each["loss"]["low"] == pytest.approx(each["loss"]["high"])  # each picture's is the same

    def test_classes_are_tested_together(self, tmp_path: Path) -> None:
        labels = [0] * 30 + [1] * 30
        one = written(tmp_path / "one", [0] * 30 + [0] * 30, labels=labels)
        two = written(tmp_path / "two", [0] * 30 + [1] * 30, labels=labels)
        cat, dog = compare_runs([one, two])["comparisons"][0]["classes"]  # no emu was tested
        assert (cat["class"], cat["effect"], dog["class"], dog["effect"]) == ("cat", 0, "dog", 1)
        assert dog["p_holm"] == pytest.approx(2 * dog["p"]) and cat["p_holm"] == 1

    def test_pictures_apart_are_named(self, tmp_path: Path) -> None:
        one = written(tmp_path / "one", [0, 1, 0] + [0] * 40)
        two = written(tmp_path / "two", [0, 0, 2] + [1] * 40)
        seen = compare_runs([one, two])["comparisons"][0]["pictures"]
        assert len(seen) == 30
        by_name = {each["name"]: each for each in seen}
        assert by_name["1.jpg"]["only"] == "B" and by_name["1.jpg"]["A"]["guesses"] == ["dog"]
        assert by_name["2.jpg"]["truth"] == "cat" and by_name["2.jpg"]["B"]["guesses"] == ["emu"]

    def test_pictures_in_common(self, tmp_path: Path) -> None:
        one = written(tmp_path / "one", [0, 1, 0, 1], names=["a", "b", "c", "d"])
        two = written(tmp_path / "two", [1, 0, 0], names=["d", "b", "x"])  # in another order
        found = compare_runs([one, two])
        (each,) = found["comparisons"]
        assert found["n"] == 2 and (each["b"], each["c"]) == (0, 1) and each["pictures"][0]["name"] == "b"
        assert any("Compared on the 2 pictures that all runs share: one has 4, two has 3" in n for n in found["notes"])

    def test_other_data_of_the_same_names_are_told(self, tmp_path: Path) -> None:
        one = written(tmp_path / "one", [0, 1])
        two = written(tmp_path / "two", [0, 0], data={"classes": CLASSES, "fingerprint": "beef", "name": "photos"})
        found = compare_runs([one, two])
        assert any("data are not the same" in words for words in found["notes"])
        assert ("data", "fingerprint") in {(row["kind"], row["field"]) for row in found["differences"]}

    def test_what_is_different(self, tmp_path: Path) -> None:
        one = written(tmp_path / "one", [0, 1])
        changes = {"tricks": ["crop(pad=4)", "flip"], "optimizer": "sgd(lr=0.2)"}
        two = written(tmp_path / "two", [0, 0], recipe=changes, versions={"torch": "2.11.0"})
        rows = {(row["kind"], row["field"]): row for row in compare_runs([one, two])["differences"]}
        assert set(rows) == {("recipe", "optimizer"), ("trick", "crop"), ("version", "torch")}
        assert rows["recipe", "optimizer"]["values"] == {"A": "sgd(lr=0.1)", "B": "sgd(lr=0.2)"}
        assert rows["recipe", "optimizer"]["sources"]["A"] == "recipe; lr: user"
        assert rows["trick", "crop"]["values"] == {"A": "crop(pad=3)", "B": "crop(pad=4)"}

    def test_a_repeated_run_is_no_other_seed(self, tmp_path: Path) -> None:
        paths = [written(tmp_path / name, [0, 1, 0], seed=0) for name in ("one", "again")]
        paths += [written(tmp_path / "other", [0, 0, 0], seed=0, epochs=3)]
        found = compare_runs(paths, by_recipe=True)
        assert [row["names"] for row in found["runs"]] == [["one"], ["other"]]
        assert "left out, since recipe and seed are another's: again" in found["notes"]

    @pytest.mark.parametrize(
        ("seeds", "count", "said"), [((1, 2), 2, ""), ((2, 3), 1, "both have: 2"), ((7, 8), 2, "no seed in common")]
    )
    def test_seeds_are_paired(self, tmp_path: Path, seeds: tuple[int, int], count: int, said: str) -> None:
        draw = np.random.default_rng(0)
        paths = [written(tmp_path / f"a{s}", (draw.random(40) < 0.4).astype(int), seed=s) for s in (1, 2)]
        paths += [written(tmp_path / f"b{s}", (draw.random(40) < 0.2).astype(int), seed=s, epochs=1) for s in seeds]
        found = compare_runs(paths, by_recipe=True)
        assert found["comparisons"][0]["seeds"] == count
        assert not said or any(said in words for words in found["notes"])

    def test_seeds_in_another_order_are_still_paired(self, tmp_path: Path) -> None:
        draw = np.random.default_rng(0)
        guesses = {seed: (draw.random(40) < 0.4).astype(int) for seed in (1, 2)}
        paths = [written(tmp_path / f"a{seed}", guesses[seed], seed=seed) for seed in (1, 2)]
        paths += [written(tmp_path / f"b{seed}", guesses[seed], seed=seed, epochs=1) for seed in (2, 1)]
        (each,) = compare_runs(paths, by_recipe=True)["comparisons"]
        assert (each["b"], each["c"], each["effect"], each["pictures"]) == (0, 0, 0, [])

    def test_it_is_written(self, tmp_path: Path) -> None:
        found = compare_runs([written(tmp_path / "one", [0, 1]), written(tmp_path / "two", [0, 0])])
        page = write(found, tmp_path / "out")
        assert json.loads((tmp_path / "out" / "compare.json").read_text()) == found
        assert page == tmp_path / "out" / "compare.html"
        assert {path.name for path in page.parent.iterdir()} == {
            f"compare.{end}" for end in ("html", "json", "md", "png")
        }


def test_a_recipe_without_its_seed(tmp_path: Path) -> None:
    assert NOT_IN_KEY | {"seed", "data"} == NOT_IN_RECIPE
    record = {"recipe": {"seed": 0, "device": "cpu", "epochs": 1}, "data": {"fingerprint": "a"}}
    assert recipe_key(record) == recipe_key(record | {"recipe": {"seed": 1, "device": "cuda", "epochs": 1}})
    assert recipe_key(record) != recipe_key(record | {"recipe": {"seed": 0, "device": "cpu", "epochs": 2}})
    assert recipe_key(record) != recipe_key(record | {"data": {"fingerprint": "b"}})


class TestMistakes:
    def test_names_in_runs(self, tmp_path: Path) -> None:
        runs = tmp_path / "runs"
        for name in ("20260101-lenet5", "20260101-lenet5-2", "20260102-resnet"):
            written(runs / name, [0, 1])
        assert find("resnet", runs).name == "20260102-resnet"
        assert find("20260101-lenet5", runs).name == "20260101-lenet5"
        with pytest.raises(NetwrightError, match=r"2 runs in .* fit 'lenet5'"):
            find("lenet5", runs)
        with pytest.raises(NetwrightError) as told:
            find("20260102-resnt", runs)
        assert "did you mean '20260102-resnet'" in told.value.fix

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"status": "interrupted"}, "not finished: it is interrupted"),
            ({"status": "running"}, "not finished: it is running"),
            ({"status": "failed", "problem": "no disk"}, "no result, it failed: no disk"),
            ({"recipe": {"task": "multi_label"}}, "different tasks: classification and multi_label"),
            ({"own": {"task": "Mine"}}, "different tasks: classification and your own Mine"),
            ({"classes": ["cat", "dog", "fox"]}, "different classes: only one has emu; only two has fox"),
            ({"classes": ["dog", "cat", "emu"]}, "in another order"),
            ({"split": "val"}, "different splits: test and validation"),
            ({"names": ["x", "y", "z"]}, "share no test picture: one has 3, two has 3"),
            ({"names": ["1.jpg", "1.jpg", "z"]}, "cannot be told apart by name"),
            ({"labels": [0, 1, 0]}, "1 picture of one name have other labels, as 1.jpg: cat in one and dog in two"),
        ],
    )
    def test_runs_that_cannot_be_compared(self, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
        one, two = written(tmp_path / "one", [0, 1, 0]), written(tmp_path / "two", [0, 0, 0], **changes)
        with pytest.raises(NetwrightError) as told:
            compare_runs([one, two])
        assert said in told.value.problem and told.value.fix

    def test_answers_that_are_not_there(self, tmp_path: Path) -> None:
        one, two = written(tmp_path / "one", [0, 1]), written(tmp_path / "two", [0, 0])
        (tmp_path / "two" / "evaluation.npz").write_bytes(b"PK")
        with pytest.raises(NetwrightError, match="cannot be read"):
            compare_runs([one, two])
        (tmp_path / "two" / "evaluation.npz").unlink()
        with pytest.raises(NetwrightError, match=r"evaluation\.npz is missing"):
            compare_runs([one, two])
        many = written(tmp_path / "many", [0, 0], recipe={"task": "multi_label"})
        (tmp_path / "many" / "evaluation.npz").unlink()
        with pytest.raises(NetwrightError, match="its task is multi_label"):
            compare_runs([one, many])

    def test_too_few(self, tmp_path: Path) -> None:
        one, two = written(tmp_path / "one", [0, 1]), written(tmp_path / "two", [0, 1], seed=1)
        for names, said in [([one], "one alone"), ([one, f"{one}/../one"], "named twice")]:
            with pytest.raises(NetwrightError, match=said):
                compare_runs(names)
        with pytest.raises(NetwrightError, match="nothing but their seeds"):
            compare_runs([one, two], by_recipe=True)
        with pytest.raises(NetwrightError, match="unknown run to compare against 'tow'"):
            compare_runs([one, two], against="tow")
        with pytest.raises(NetwrightError, match="there is no run"):
            compare_runs([one, str(tmp_path / "three")])

    def test_a_folder_without_a_run_and_a_bundle_without_one(self, tmp_path: Path) -> None:
        (tmp_path / "bundle.json").write_text("{}")
        with pytest.raises(NetwrightError, match="bundle away from its run"):
            find(str(tmp_path))
        with pytest.raises(NetwrightError, match="not a run folder"):
            find(str(tmp_path.parent))

    def test_a_record_that_was_changed(self, tmp_path: Path) -> None:
        one = written(tmp_path / "one", [0, 1])
        (tmp_path / "one" / "record.json").write_text('{"status": "done", "recipe": 3}')
        with pytest.raises(NetwrightError, match="is not the record of a run"):
            compare_runs([one, one])
