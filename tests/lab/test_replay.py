"""`verify RUN --resume`: steps that are made again are the same, what differs is found, and nothing is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from netwright import NetwrightError, fit
from netwright.cli.main import code_of
from netwright.core.errors import Interrupted
from netwright.engine.checkpoint import read_checkpoint, write_checkpoint
from netwright.engine.loop import Watcher
from netwright.engine.run import NonFiniteError, Run
from netwright.engine.saver import Saver
from netwright.lab.replay import STEPS, replay
from netwright.recipes import _fit
from netwright.records.folder import RunFolder
from tests.lab.test_verify import SMALL, data
from tests.recipes.test_fit import Net, StopAfter, small, small_data, tensors

__all__ = ["data"]  # a fixture
TRICKS = ("ema", "mixup", "early_stopping", "grad_clip")


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def trained(output: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0, **values: Any) -> Path:
    """A run with a checkpoint after each step, of which the last two are kept."""
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", seconds)
    return fit(small(threads=1, **values).with_(*TRICKS), data=small_data(), output=output).path


def cut(output: Path, steps: int, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.0) -> Path:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", seconds)
    with pytest.raises(Interrupted):
        fit(small(threads=1).with_(*TRICKS), data=small_data(), output=output, watcher=StopAfter(steps))
    return RunFolder.newest(output).path


@pytest.fixture(scope="module")
def cut_at_seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied by tests that change it."""
    with pytest.MonkeyPatch.context() as patched:
        return cut(tmp_path_factory.mktemp("cut"), 7, patched)


def rewrite_newest(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what the newest checkpoint says, as a run would have that went another way."""
    memory, _ = read_checkpoint(run / "checkpoints")
    change(memory)
    owner = RunFolder.open(run).record()["id"]
    write_checkpoint(run / "checkpoints", memory, Path.write_bytes, owner=owner)


def test_steps_between_two_checkpoints_are_the_same_again(cut_at_seven: Path) -> None:
    before = contents(cut_at_seven)
    found = replay(cut_at_seven, data=small_data())
    assert (found.first, found.last, found.twice, found.differs, found.otherwise) == (6, 7, False, (), {})
    assert found.holds
    assert contents(cut_at_seven) == before, "nothing in the run's folder was touched"


def test_the_end_of_a_run_is_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, monkeypatch)  # its last checkpoints: before its last step, and after its last epoch
    found = replay(run, data=small_data())
    assert (found.last, found.twice, found.holds) == (12, False, True)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("model/conv1.weight", lambda memory: memory["model"]["conv1.weight"].view(-1)[0].add_(1e-6)),
        ("model/bn1.running_var", lambda memory: memory["model"]["bn1.running_var"].mul_(1.001)),
        ("optimizer/state", lambda memory: next(iter(memory["optimizer"]["state"].values()))[0].add_(1e-6)),
        ("tricks/ema", lambda memory: next(iter(memory["tricks"]["ema"]["average_"].values())).mul_(1.001)),
        ("history/0/val_loss", lambda memory: memory["history"][0].update(val_loss=0.5)),
        ("sums/loss", lambda memory: memory["sums"]["loss"].add_(1e-9)),
    ],
)
def test_the_smallest_difference_is_found(where: str, change: Any, cut_at_seven: Path, tmp_path: Path) -> None:
    run = shutil.copytree(cut_at_seven, tmp_path / cut_at_seven.name)
    rewrite_newest(run, change)
    found = replay(run, data=small_data())
    assert [place for place in found.differs if place.startswith(where)]
    assert len(found.differs) == 1


def test_a_step_that_draws_from_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = cut(tmp_path, 2, monkeypatch, seconds=1e9)
    step, noise = Run.count, torch.Generator()

    def drawn(self: Run, *arguments: Any) -> None:
        step(self, *arguments)
        with torch.no_grad():
            next(self.model.parameters()).add_(1e-4 * torch.rand((), generator=noise))

    monkeypatch.setattr(Run, "count", drawn)
    found = replay(run, data=small_data())
    assert found.twice
    assert "model/conv1.weight" in found.differs


def test_one_checkpoint_is_tried_twice_and_proves_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = cut(tmp_path, 2, monkeypatch, seconds=1e9)
    found = replay(run, data=small_data(), steps=3)
    assert (found.first, found.last, found.twice, found.holds) == (2, 5, True, True)
    to_the_end = replay(run, data=small_data())
    assert (to_the_end.last, to_the_end.holds) == (min(12, 2 + STEPS), True)


def test_a_run_that_is_at_its_end_is_tried_from_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, monkeypatch, seconds=1e9)
    found = replay(run, data=small_data(), steps=2)
    assert (found.first, found.last, found.twice, found.holds) == (0, 2, True, True)


def test_what_rounds_otherwise_is_said(cut_at_seven: Path, tmp_path: Path) -> None:
    run = shutil.copytree(cut_at_seven, tmp_path / cut_at_seven.name)
    rewrite_newest(run, lambda memory: memory["conditions"].update(numpy="1.0"))
    assert list(replay(run, data=small_data()).otherwise) == ["numpy"]


def test_objects_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", 0.0)
    own = (tensors(64, 0), tensors(24, 1))
    done = fit(small(epochs=1, threads=1), data=own, model=Net(), output=tmp_path)
    network = Net()
    first = {name: value.clone() for name, value in network.state_dict().items()}
    assert replay(done.path, data=own, model=network).holds
    assert all(torch.equal(first[name], value) for name, value in network.state_dict().items())


@pytest.mark.fault(21, "a run with a network of one's own is never replayed with another, nor without it")
def test_objects_of_ones_own_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", 0.0)
    own = (tensors(64, 0), tensors(24, 1))
    run = fit(small(epochs=1, threads=1), data=own, model=Net(), output=tmp_path).path
    with pytest.raises(NetwrightError, match="trained your own Net") as caught:
        replay(run, data=own)
    assert "replay(RUN, model=Net(…))" in caught.value.fix
    other = Net()
    other.head = nn.Linear(8, 3)
    with pytest.raises(NetwrightError, match="does not fit this network"):
        replay(run, data=own, model=other)
    assert code_of(["verify", str(run), "--resume"]) == 2
    assert "learnt from your own tuple" in capsys.readouterr().err


def test_steps_over_a_rollback_are_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = Run.count

    def poisoned(self: Run, *arguments: Any) -> None:
        count(self, *arguments)
        if self.step == 7 and not self.rollbacks:
            raise NonFiniteError(self, float("nan"), 1.0)

    class StopOnTheSecondWay(StopAfter):
        def stepped(self, run: Run) -> None:
            if run.rollbacks:
                super().stepped(run)

    monkeypatch.setattr(Run, "count", poisoned)
    monkeypatch.setattr(Saver, "if_due", lambda self, run: self(run) if (run.step, run.rollbacks) == (5, 0) else None)
    with pytest.raises(Interrupted):
        chosen = small(threads=1, non_finite="rollback")
        fit(chosen, data=small_data(), output=tmp_path, watcher=StopOnTheSecondWay(6))
    found = replay(RunFolder.newest(tmp_path).path, data=small_data())
    assert (found.first, found.last, found.twice, found.differs) == (5, 6, False, ())


def test_a_run_that_goes_on_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", 0.0)
    seen: list[bool] = []

    class Looks(Watcher):
        def stepped(self, run: Run) -> None:
            if run.step == 3:
                seen.append(replay(RunFolder.newest(tmp_path).path, data=small_data()).holds)

    fit(small(threads=1), data=small_data(), output=tmp_path, watcher=Looks())
    assert seen == [True]


def test_an_extension_that_made_no_step_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, monkeypatch)
    monkeypatch.setattr(_fit, "train", crash)
    with pytest.raises(KeyboardInterrupt):
        fit(resume=run, extend=9, data=small_data())
    assert RunFolder.open(run).record()["recipe"]["epochs"] == 9
    found = replay(run, data=small_data())
    assert (found.first, found.last, found.differs) == (11, 12, ())


def test_the_first_steps_of_an_extension_are_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, monkeypatch)
    with pytest.raises(Interrupted):
        fit(resume=run, extend=9, data=small_data(), watcher=StopAfter(13))
    found = replay(run, data=small_data())
    assert (found.first, found.last, found.twice, found.differs) == (12, 13, False, ())


def test_going_on_after_an_early_stop_is_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", 0.0)
    chosen = small(epochs=6, threads=1).with_("early_stopping(patience=1, min_delta=10.0)")
    run = fit(chosen, data=small_data(), output=tmp_path).path
    assert replay(run, data=small_data()).holds
    with pytest.raises(Interrupted):
        fit(resume=run, extend=6, data=small_data(), watcher=StopAfter(9))
    found = replay(run, data=small_data())
    assert (found.first, found.last, found.twice, found.differs) == (8, 9, False, ())


def crash(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_cannot_be_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetwrightError, match="no run"):
        replay(tmp_path / "nowhere")
    run = cut(tmp_path, 2, monkeypatch)
    with pytest.raises(NetwrightError, match="not what this run began with"):
        replay(run, data=(tensors(64, 0), tensors(24, 1)))
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(NetwrightError, match="no checkpoint"):
        replay(run, data=small_data())


def test_the_command_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_fit, "CHECKPOINT_SECONDS", 0.0)
    chosen = small(data=str(data), model=SMALL, epochs=2, batch_size=12, threads=1)
    run = str(fit(chosen, output=tmp_path / "runs", watcher=Watcher()).path)
    assert code_of(["verify", run, "--resume"]) == 0
    assert f"{run}: steps 8 to 8 were made again and equal the run's own checkpoint" in capsys.readouterr().out
    assert code_of(["verify", run, "--resume", "--steps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["holds"], told["twice"], told["last"] - told["first"]) == (True, True, 1)
    rewrite_newest(Path(run), lambda memory: memory["history"][-1].update(lr=1.0))
    assert code_of(["verify", run, "--resume"]) == 1
    assert "DIFFER from the run's own checkpoint: history/1/lr" in capsys.readouterr().out
    assert code_of(["verify", run, "--steps", "3"]) == 2
    assert "--resume --steps 3" in capsys.readouterr().err
