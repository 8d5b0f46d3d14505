"""Going on with a run: what is the same bit for bit, what is refused, and what is said of the rest."""

import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from netwright import NetwrightError, fit
from netwright.cli.main import code_of
from netwright.core.errors import Interrupted
from netwright.engine.loop import Watcher
from netwright.engine.run import Run
from netwright.recipes import _fit, _record
from netwright.recipes._recipe import Recipe
from netwright.recipes._resume import FIELDS, conditions, otherwise, resumed_recipe
from netwright.recipes._room import for_a_run
from netwright.records.folder import RunFolder
from netwright.tasks.classification import Classification
from tests.conftest import COLOURS, photo
from tests.recipes.test_fit import Doubled, Net, pictures, same_history, same_weights, small, small_data, tensors

pytestmark = pytest.mark.usefixtures("no_reports")


class Told(Watcher):
    """Keeps what a user is told; stops a run after some steps, if asked."""

    def __init__(self, stop: int | None = None) -> None:
        self.words: list[str] = []
        self.stop = stop

    def told(self, words: str) -> None:
        self.words.append(words)

    def stepped(self, run: Run) -> None:
        if run.step == self.stop:
            run.interrupted = 130


def stopped(output: Path, chosen: Any, steps: int = 2, **objects: Any) -> Path:
    """A run folder whose run was interrupted."""
    with pytest.raises(Interrupted):
        fit(chosen, output=output, watcher=Told(steps), **({"data": small_data()} | objects))
    return RunFolder.newest(output).path


def untimed_metrics(run: Path) -> bytes:
    """metrics.jsonl without what a clock wrote."""
    lines = []
    for line in (run / "metrics.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        lines.append(json.dumps({k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}))
    return "\n".join(lines).encode()


@pytest.mark.fault(19, "metrics.jsonl of a resumed run equals the uninterrupted one's byte for byte, but for times")
@pytest.mark.parametrize("stage", ["stepped", "epoch_done"])
def test_metrics_have_no_row_twice(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", 0.0)
    whole = fit(small(), data=small_data(), output=tmp_path)

    class Crash(Watcher):
        def stepped(self, run: Run) -> None:
            if run.step == 7 and stage == "stepped":
                raise KeyboardInterrupt

        def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
            if run.epoch == 2 and stage == "epoch_done":  # the row is written, the last checkpoint is from before
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small(), data=small_data(), output=tmp_path / "cut", watcher=Crash())
    cut = RunFolder.newest(tmp_path / "cut").path
    resumed = fit(resume=cut, data=small_data())
    assert untimed_metrics(resumed.path) == untimed_metrics(whole.path)
    assert same_weights(whole.path, resumed.path)
    assert resumed.record["resumed"][0]["exact"] is True


@pytest.mark.fault(41, "the same seed gives the same weights and metrics; another seed others")
def test_two_runs_of_one_seed(tmp_path: Path) -> None:
    one, two = (fit(small(seed=2**40, epochs=1), data=small_data(), output=tmp_path) for _ in range(2))
    other = fit(small(seed=2**32, epochs=1), data=small_data(), output=tmp_path)
    assert same_weights(one.path, two.path) and untimed_metrics(one.path) == untimed_metrics(two.path)
    assert not same_weights(one.path, other.path)


OTHER: dict[str, Any] = {
    "name": "another",
    "data": "elsewhere.npz",
    "task": "multi_label",
    "model": "resnet20",
    "weights": "some.safetensors",
    "optimizer": "adamw",
    "schedule": "linear",
    "tricks": ["mixup"],
    "epochs": 7,
    "batch_size": 8,
    "image_size": 64,
    "channels": 1,
    "fit": "pad",
    "normalise": "unit",
    "val_fraction": 0.3,
    "test_fraction": 0.3,
    "group": "(a)",
    "quarantine": "list.txt",
    "masks": "border",
    "legend": "legend.csv",
    "ignore": 7,
    "gate": "off",
    "seed": 9,
    "non_finite": "skip",
    "precision": "bf16",
    "device": "cuda:1",
    "threads": 2,
    "workers": 3,
}
EXPECTED = {"data", "quarantine", "legend", "gate", "non_finite", "precision", "device", "threads", "workers"}


@pytest.mark.fault(21, "every setting of a recipe is on a list that says whether a resumed run may change it")
def test_the_list_is_complete() -> None:
    assert set(FIELDS) == set(Recipe.model_fields)
    assert set(OTHER) == set(Recipe.model_fields)
    assert {name for name, verdict in FIELDS.items() if verdict in ("compared", "told", "free")} == EXPECTED


@pytest.mark.fault(21, "a setting that decides the result cannot be changed on resume: the message says what it was")
@pytest.mark.parametrize("name", Recipe.model_fields)
def test_each_setting_is_refused_or_allowed(name: str) -> None:
    then = small(tricks=["ema"])
    assert resumed_recipe(then, {name: getattr(then, name)}, None).model_dump() == then.model_dump()
    if name in EXPECTED:
        assert getattr(resumed_recipe(then, {name: OTHER[name]}, None), name) == OTHER[name]
        return
    with pytest.raises(NetwrightError, match=name) as caught:
        resumed_recipe(then, {name: OTHER[name]}, None)
    if name == "epochs":
        assert "--extend 7" in caught.value.fix
    else:
        was, asked = (getattr(r, name) for r in (then, then.changed(**{name: OTHER[name]})))
        assert f"it was {was!r}, and {asked!r} is asked for" in caught.value.problem


def test_a_shorthand_is_refused_as_what_it_means() -> None:
    then = small()
    assert resumed_recipe(then, {"lr": 0.1}, None).optimizer == then.optimizer
    with pytest.raises(NetwrightError, match=r"cannot change optimizer: it was 'sgd\(lr=0\.1\)'"):
        resumed_recipe(then, {"lr": 0.2}, None)


@pytest.mark.fault(
    24, "another number of threads, or version, goes on, and terminal and record say that it is not bitwise"
)
def test_what_rounds_otherwise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(tmp_path, small(threads=2))
    torch.set_num_threads(1)
    same, other = Told(stop=4), Told()
    with pytest.raises(Interrupted):
        fit(resume=run, data=small_data(), watcher=same)
    assert same.words == ["goes on from step 2 of 12, bit for bit as if it had not been stopped"]
    versions = _record.versions
    monkeypatch.setattr(_record, "versions", lambda: versions() | {"torch": "1.0"})
    resumed = fit(resume=run, data=small_data(), watcher=other, threads=1, workers=1)
    words = "not bit for bit as if it had not been stopped: threads was 2 and is 1, torch was"
    assert words in other.words[0]
    exact, told = resumed.record["resumed"]
    assert exact == {"step": 2, "exact": True, "differs": {}, "skipped": []}
    assert (told["step"], told["exact"]) == (4, False)
    assert told["differs"] == {"threads": [2, 1], "torch": [versions()["torch"], "1.0"]}
    assert words in (run / "log.txt").read_text()
    assert resumed.record["device"]["threads"] == 1


def test_everything_that_rounds_is_compared() -> None:
    device = {"device": "cpu", "name": "A", "precision": "fp32", "memory_format": "contiguous", "threads": 1}
    then = {"device": device | {"capability": "AVX2", "mkldnn": True, "why": ["x"]}, "versions": {"numpy": "2"}}
    for name, value in (("name", "B"), ("precision", "bf16"), ("capability", "AVX512"), ("mkldnn", False)):
        now = then | {"device": then["device"] | {name: value}}
        assert otherwise(conditions(then), conditions(now)) == {
            "processor" if name == "name" else name: [then["device"][name], value]
        }
    assert otherwise(conditions(then), conditions(then | {"device": then["device"] | {"why": []}})) == {}
    assert otherwise(conditions(then), conditions(then | {"versions": {"numpy": "3"}})) == {"numpy": ["2", "3"]}
    assert otherwise(conditions({}), conditions(then)) == {}, "an old record says nothing"


@pytest.mark.fault(8, "a resume that had to take an older checkpoint says which ones it left out, and why")
def test_damaged_checkpoints_are_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", 0.0)
    whole = fit(small(), data=small_data(), output=tmp_path / "whole")
    run = stopped(tmp_path, small(), 6)
    (tensors_file,) = (run / "checkpoints").glob("step-00000006*.safetensors")
    tensors_file.write_bytes(tensors_file.read_bytes()[:-1])
    told = Told()
    resumed = fit(resume=run, data=small_data(), watcher=told)
    assert told.words[0].startswith("checkpoint step-00000006 (damaged) is left out")
    assert resumed.record["resumed"] == [
        {"step": 5, "exact": True, "differs": {}, "skipped": ["step-00000006 (damaged)"]}
    ]
    assert same_history(whole.path, run) and same_weights(whole.path, run)


def test_other_objects_are_refused(tmp_path: Path) -> None:
    data = (tensors(64, 0), tensors(24, 1))
    run = stopped(tmp_path, small(), data=data, model=Net())
    with pytest.raises(NetwrightError, match="this run trained your own Net") as caught:
        fit(resume=run, data=data)
    assert "model=Net(" in caught.value.fix
    other = Net()
    other.head = nn.Linear(8, 3)
    with pytest.raises(NetwrightError, match="the checkpoint does not fit this network"):
        fit(resume=run, data=data, model=other)
    with pytest.raises(NetwrightError, match="has its recipe in its record"):
        fit("digits", resume=run, data=data, model=Net())
    with pytest.raises(NetwrightError, match="trained your own Net, and Other is given"):
        fit(resume=run, data=data, model=type("Other", (Net,), {})())
    with pytest.raises(NetwrightError, match="learnt from your own tuple") as caught:
        fit(resume=run, model=Net())
    assert "data=…" in caught.value.fix
    assert RunFolder.open(run).record()["status"] == "interrupted", "a refusal leaves the run as it was"
    assert fit(resume=run, data=data, model=Net()).record["status"] == "done"


@pytest.mark.fault(21, "a run that used a task of one's own, or netwright's network, is not resumed with another")
def test_another_task_is_refused(tmp_path: Path) -> None:
    run = stopped(tmp_path, small(), task=Doubled(classes=2))
    assert RunFolder.open(run).record()["own"] == {"data": "Data", "task": "Doubled"}
    with pytest.raises(NetwrightError, match="used your own Doubled") as caught:
        fit(resume=run, data=small_data())
    assert "task=Doubled(…)" in caught.value.fix
    with pytest.raises(NetwrightError, match="used your own Doubled, and Classification is given"):
        fit(resume=run, data=small_data(), task=Classification(classes=2))
    with pytest.raises(NetwrightError, match="began with a model of netwright's, and Net is given"):
        fit(resume=run, data=small_data(), task=Doubled(classes=2), model=Net())
    assert fit(resume=run, data=small_data(), task=Doubled(classes=2)).record["resumed"][0]["exact"]


class Noisy(Dataset):
    """A dataset that draws, from what is seeded or from what is not; its pictures are floats, or bytes."""

    def __init__(self, held: TensorDataset, draw: Callable[[], float], *, as_bytes: bool = False) -> None:
        self.held = held
        self.draw = draw
        self.as_bytes = as_bytes

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, place: int) -> tuple[Any, torch.Tensor]:
        picture, label = self.held[place]
        drawn = (picture * (0.5 + 0.5 * self.draw())).clamp(0, 1)
        return (drawn * 255).byte().permute(1, 2, 0).numpy() if self.as_bytes else drawn, label


@pytest.mark.fault(22, "a run on datasets of one's own is not resumed with other pictures or labels")
def test_other_datasets_are_refused(tmp_path: Path) -> None:
    train, val = tensors(64, 0), tensors(24, 1)
    run = stopped(tmp_path, small(), data=(train, val), model=Net())
    images, labels = train.tensors
    flipped = labels.clone()
    flipped[33] = 1 - flipped[33]
    for other in (TensorDataset(images.flip(0), labels), TensorDataset(images, flipped)):
        with pytest.raises(NetwrightError, match="not what this run began with"):
            fit(resume=run, data=(other, val), model=Net())
    assert fit(resume=run, data=(train, val), model=Net()).record["resumed"][0]["exact"]


def every_fifth() -> Callable[[], float]:
    """Draws that differ seldom, so that two looks at a picture may well agree and a third not."""
    return itertools.cycle([0.0, 0.0, 0.0, 0.0, 1.0]).__next__


@pytest.mark.parametrize("as_bytes", [False, True], ids=["floats", "bytes"])
@pytest.mark.parametrize(
    ("draw", "repeats"),
    [(lambda: torch.rand(()).item(), True), (random.SystemRandom().random, False), (every_fifth(), False)],
    ids=["seeded", "unseeded", "seldom"],
)
def test_datasets_that_draw_can_be_resumed(
    draw: Callable[[], float], repeats: bool, as_bytes: bool, tmp_path: Path
) -> None:
    data = Noisy(tensors(64, 0), draw, as_bytes=as_bytes), Noisy(tensors(24, 1), lambda: 1.0, as_bytes=as_bytes)
    run = stopped(tmp_path, small(epochs=1), data=data, model=Net())
    began = RunFolder.open(run).record()["data"]
    assert any("differ although every seed is the same" in note for note in began["notes"]) is not repeats
    ended = fit(resume=run, data=data, model=Net()).record
    assert ended["status"] == "done"
    assert ended["data"]["mean"] == began["mean"], "the network sees pictures as it did before"
    assert ended["resumed"][0]["exact"] is repeats
    assert ("dataset" in ended["resumed"][0]["differs"]) is not repeats


@pytest.mark.fault(30, "a run that another process has is refused at once, before its record is read")
def test_a_run_that_another_process_has_is_refused_before_it_is_read(tmp_path: Path) -> None:
    run = stopped(tmp_path, small())
    folder = RunFolder.open(run)
    with folder:
        folder.lock()
        folder.record_file.write_text("half a reco")
        with pytest.raises(NetwrightError, match="is in use by process"):
            fit(resume=run, data=small_data())
    with pytest.raises(NetwrightError, match="cannot read"):
        fit(resume=run, data=small_data())
    with folder:
        folder.lock()  # a refusal gives it back


@pytest.mark.fault(1, "a run folder with nothing to go on from, or with half a record, is refused in words")
def test_what_is_no_run_yet(tmp_path: Path) -> None:
    run = stopped(tmp_path, small())
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed/lock").touch()
    with pytest.raises(NetwrightError, match="nothing to go on from"):
        fit(resume=tmp_path / "killed")
    record = RunFolder.open(run).record()
    RunFolder.open(run).write_record({name: value for name, value in record.items() if name != "model"})
    with pytest.raises(NetwrightError, match="no model in it"):
        fit(resume=run, data=small_data())


def test_what_a_resumed_run_cannot_do_is_not_proposed() -> None:
    with pytest.raises(NetwrightError, match="cannot change epochs: it was 3") as caught:
        resumed_recipe(small(), {"epochs": 2}, None)
    assert "--extend" not in caught.value.fix
    assert for_a_run("--batch-size 2", resumed=False) == "--batch-size 2"
    assert "a new run" in for_a_run("--batch-size 2", resumed=True)


CHANGES: dict[str, tuple[Callable[[Path], Any], str | None]] = {
    "nothing": (lambda root: None, None),
    "touched": (lambda root: (root / "train/red/0.jpg").touch(), None),
    "added": (
        lambda root: photo(root / "train/red/new.jpg", COLOURS["red"], seed=5),
        "train/red had 12 pictures and has 13",
    ),
    "removed": (lambda root: (root / "val/blue/1.jpg").unlink(), "val/blue had 4 pictures and has 3"),
    "renamed": (lambda root: (root / "train/red/0.jpg").rename(root / "train/red/zero.jpg"), "other names"),
    "changed": (lambda root: photo(root / "train/red/0.jpg", COLOURS["red"], seed=77), "other names, contents"),
    "moved": (
        lambda root: (root / "train/red/0.jpg").rename(root / "train/blue/moved.jpg"),
        "train/blue had 12 pictures and has 13",
    ),
    "class renamed": (
        lambda root: [(side / "red").rename(side / "rose") for side in root.iterdir()],
        "classes gone: red, new classes: rose",
    ),
}


@pytest.mark.fault(
    22, "a run is not resumed with other data: added, removed, renamed, moved or changed files are refused"
)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_are_refused(change: str, photos: Path, tmp_path: Path) -> None:
    chosen = small(model="lenet5", image_size=32, data=str(photos), epochs=2)
    run = stopped(tmp_path / "runs", chosen, 1, data=None)
    act, words = CHANGES[change]
    act(photos)
    if words is None:
        assert fit(resume=run).record["status"] == "done"
        return
    with pytest.raises(NetwrightError, match="not what this run began with") as caught:
        fit(resume=run)
    assert words in caught.value.problem


def test_data_that_moved_as_a_whole_are_the_same(photos: Path, tmp_path: Path) -> None:
    chosen = small(model="lenet5", image_size=32, data=str(photos), epochs=1)
    run = stopped(tmp_path / "runs", chosen, 1, data=None)
    shutil.move(photos, tmp_path / "elsewhere")
    with pytest.raises(NetwrightError):
        fit(resume=run)
    record = fit(resume=run, data=tmp_path / "elsewhere").record
    assert record["resumed"][0]["exact"]
    assert record["recipe"]["data"] == str(tmp_path / "elsewhere")
    assert code_of(["train", str(tmp_path / "elsewhere"), "--resume", str(run), "--json"]) == 0


# ---- extending


def test_extending_goes_on_with_the_schedule_of_the_longer_run(tmp_path: Path) -> None:
    short = fit(small(epochs=2, schedule="cosine"), data=small_data(), output=tmp_path)
    told = Told()
    longer = fit(resume=short.path, extend=5, data=small_data(), watcher=told)
    other = fit(small(epochs=5, schedule="cosine"), data=small_data(), output=tmp_path)
    rows, usual = (RunFolder.open(result.path).metrics() for result in (longer, other))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["lr"] for row in rows[2:]] == [row["lr"] for row in usual[2:]]
    assert rows[1]["lr"] != usual[1]["lr"]
    (entry,) = longer.record["resumed"]
    assert entry == {"step": 8, "exact": False, "differs": {"epochs": [2, 5]}, "skipped": []}
    assert "5 epochs instead of 2: schedule and tricks go on as at this step of a run of 5 epochs" in told.words[1]
    assert f"the learning rate goes from {rows[1]['lr']:.3g} to {usual[1]['lr']:.3g}" in told.words[1]
    assert longer.record["recipe"]["epochs"] == 5
    assert told.words[1] in (longer.path / "log.txt").read_text()
    assert fit(resume=short.path, data=small_data(), watcher=(last := Told())).record["recipe"]["epochs"] == 5
    assert "trained to its end" in last.words[-1]


def test_extending_a_run_that_was_stopped_overrules_what_stopped_it(tmp_path: Path) -> None:
    chosen = small(epochs=6).with_("early_stopping(patience=1, min_delta=10.0)")
    early = fit(chosen, data=small_data(), output=tmp_path)
    assert (early.record["result"]["epochs"], early.record["result"]["stopped"] != "") == (2, True)
    assert fit(resume=early.path, data=small_data()).record["result"]["epochs"] == 2
    longer = fit(resume=early.path, extend=7, data=small_data())
    assert longer.record["result"]["epochs"] == 3, "it waits for as long again, and stops since nothing became better"
    (*_, entry) = longer.record["resumed"]
    assert (entry["exact"], entry["differs"]["stopped"][1]) == (False, "")


@pytest.mark.fault(18, "patience begins anew when a run that stopped early is extended; the best epoch stays the best")
def test_patience_begins_anew(tmp_path: Path) -> None:
    chosen = small(epochs=9).with_("early_stopping(patience=2, min_delta=10.0)")
    early = fit(chosen, data=small_data(), output=tmp_path)
    assert early.record["result"]["epochs"] == 3
    longer = fit(resume=early.path, extend=9, data=small_data())  # as many as it was to have from the start
    assert longer.record["result"]["epochs"] == 5
    assert "best at epoch 1" in longer.record["result"]["stopped"]
    assert longer.record["resumed"][0]["exact"] is False


@pytest.mark.fault(
    24, "what a session changed that died before its first checkpoint is told when the run goes on again"
)
@pytest.mark.parametrize("extend", [None, 6, 9])
def test_a_session_without_a_checkpoint_counts(
    extend: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = small(epochs=6, threads=2).with_("early_stopping(patience=1, min_delta=10.0)")
    run = fit(chosen, data=small_data(), output=tmp_path).path
    with monkeypatch.context() as dies:
        dies.setattr(_fit, "train", crash)
        with pytest.raises(KeyboardInterrupt):
            fit(resume=run, extend=extend, threads=1, data=small_data())
    record = fit(resume=run, data=small_data()).record
    first, second = record["resumed"]
    assert first == second
    assert second["differs"]["threads"] == [2, 1]
    assert ("stopped" in second["differs"], record["result"]["epochs"]) == ((False, 2) if extend is None else (True, 3))
    assert second["differs"].get("epochs") == ([6, 9] if extend == 9 else None)


def crash(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("extend", "words"), [(1, "done 2 epochs already"), (2, "done 2 epochs already"), (0, "epochs")]
)
def test_extending_to_less_is_refused(extend: int, words: str, tmp_path: Path) -> None:
    run = stopped(tmp_path, small(), 9)
    with pytest.raises(NetwrightError, match=words):
        fit(resume=run, extend=extend, data=small_data())
    with pytest.raises(NetwrightError, match="only a run that exists"):
        fit(small(), extend=9, data=small_data())


NO_FIELDS = ("output", "command", "watcher", "recipe", "extend", "resume", "classes")


def test_the_command_line_says_how_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {
        f"{kind}_{split}": part
        for split, n in (("train", 48), ("test", 12))
        for kind, part in zip("xy", pictures(n, n), strict=True)
    }
    np.savez(tmp_path / "squares.npz", **arrays)
    quick = ["--epochs", "1", "--model", "lenet5", "--batch-size", "12", "--device", "cpu", "--set", "image_size=32"]
    runs = ["--output", str(tmp_path / "runs")]
    assert code_of(["train", str(tmp_path / "squares.npz"), *quick, *runs]) == 0
    run = str(RunFolder.newest(tmp_path / "runs").path)
    capsys.readouterr()
    assert code_of(["train", "--resume", run, "--extend", "2", *runs]) == 0
    assert "2 epochs instead of 1" in capsys.readouterr().out.replace("\n", " ")
    for arguments, words in (
        (["--resume", run, "--epochs", "5"], "--extend 5"),
        (["--resume", run, "--extend", "2"], "give at least 3"),
        (["--resume", run, "--seed", "5"], "cannot change seed: it was 0"),
        (["--extend", "5"], "--resume RUN --extend EPOCHS"),
        (["--resume", run, "--with", "mixup"], "leave out --recipe"),
        *((["--resume", run, "--set", f"{name}=1"], f"unknown recipe field '{name}'") for name in NO_FIELDS),
    ):
        assert code_of(["train", *arguments, *runs]) == 2
        errors = capsys.readouterr().err
        assert words in errors
        assert "Traceback" not in errors
