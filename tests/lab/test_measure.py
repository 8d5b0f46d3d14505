"""`measure`: a job is trained as `fit` trains it, and what it gives is the same however often it was broken off."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.data import Data, from_arrays
from netwright.engine.evaluate import evaluate
from netwright.engine.run import Run
from netwright.lab import _kept
from netwright.lab import measure as lab
from netwright.lab.job import Job
from netwright.lab.measure import measure, network_like
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import PRUNED, Pruning
from netwright.lab.trial import data_of, measured
from netwright.models import create_model
from netwright.recipes._recipe import Recipe, recipe
from netwright.tasks import TASKS
from netwright.tasks.classification import Classification

WIDE = "lenet5(modern=True)"


def digits(**values: Any) -> Recipe:
    return recipe("digits", **{"epochs": 1, "threads": 1, "device": "cpu", "precision": "fp32"} | values)


@pytest.fixture(scope="module")
def data() -> Data:
    return data_of(digits())


def job_of(data: Data, **values: Any) -> Job:
    return Job(digits(**values), data.fingerprint, "test")


def same(one: Outcome, other: Outcome) -> bool:
    """Bit for bit, but for the time it took."""
    timed = ("seconds", "images_per_second")
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in found.history] for found in (one, other)]
    values = [found.values[name].tobytes() for found in (one, other) for name in found.values]
    half = len(values) // 2
    assert one.confidence is not None and other.confidence is not None
    return rows[0] == rows[1] and values[:half] == values[half:] and np.array_equal(one.confidence, other.confidence)


class StepError(RuntimeError):
    """What ends a run in the middle, in place of a kill."""


def breaking(after: int) -> Callable[[Run], Any]:
    """A context in which a run breaks off in the middle of an update."""

    @contextmanager
    def context(run: Run) -> Generator[None]:
        step = run.optimizer.step

        def counted(*args: Any, **given: Any) -> None:
            if run.step == after:
                raise StepError
            step(*args, **given)

        run.optimizer.step = counted
        yield

    return context


def test_it_reaches_what_a_trial_reaches(data: Data) -> None:
    found, (trial, parts) = measure(job_of(data), data), measured(digits(), data)
    assert found.headline == "accuracy" and set(found.values) == {"accuracy", "loss"}
    assert found.values["accuracy"].tolist() == trial.correct.tolist()
    assert found.labels.tolist() == trial.labels.tolist()
    assert (found.epochs, found.steps) == (1, parts.run.step)
    assert found.seconds > 0 and found.images_per_second > 0 and found.memory > 1e7 and found.stopped == ""


def test_confidence_is_the_largest_probability_and_curves_are_of_val(data: Data) -> None:
    found, (_, parts) = measure(job_of(data), data), measured(digits(), data)
    run, source = parts.run, parts.inputs.source("test", parts.run.profile, 0)
    seen = evaluate(run.predictor(), source, run.task, run.normalise, run.profile, keep=True)
    expected = torch.from_numpy(seen.output).double().softmax(1).max(1).values.numpy()
    np.testing.assert_allclose(found.confidence, expected, rtol=1e-5)
    assert {"val_accuracy", "val_loss", "train_loss"} <= set(found.history[0])


def test_it_says_how_it_was_computed_and_puts_threads_back(data: Data) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        machine = measure(job_of(data), data).machine
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (machine["device"], machine["precision"], machine["threads"]) == ("cpu", "fp32", 1)
    assert machine["torch"] == torch.__version__.split("+")[0] and machine["netwright"]
    assert "shared_tensors" not in machine


def test_other_data_than_the_job_is_for_is_refused(data: Data) -> None:
    for given in (data, None):
        with pytest.raises(NetwrightError, match="is not what it was when the runs were planned"):
            measure(replace(job_of(data), fingerprint="other"), given)


def test_the_data_stays_open_for_the_next_job(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "_opened", {})
    opened: list[Recipe] = []
    monkeypatch.setattr(lab, "data_of", lambda recipe: opened.append(recipe) or data)
    for seed in (0, 1):
        lab.data_for(job_of(data, seed=seed))
    assert len(opened) == 1
    lab.data_for(job_of(data, image_size=28))
    lab.data_for(job_of(data))
    assert len(opened) == 3, "other preprocessing; and one is kept, not all"


def test_a_job_sent_to_another_process_is_the_same_job(data: Data) -> None:
    job = replace(job_of(data, lr=0.02), like="resnet20", pruning=Pruning("sqlite://", "s", 3, "val_accuracy"))
    again = Job.from_json(job.to_json())
    assert again.key == job.key and again.pruning == job.pruning and again.recipe.optimizer == job.recipe.optimizer


class TestLike:
    def test_tensors_that_agree_begin_alike_and_the_rest_as_its_own(self) -> None:
        like, own = "resnet20(width=4)", "resnet32(width=4)"  # from its second block on it draws others
        network, shared = network_like(like, digits(model=own, seed=3), 10, 1)
        torch.manual_seed(lab.key(3, "init"))
        other = create_model(like, classes=10, in_channels=1).state_dict()
        held = network.state_dict()
        agreeing = [name for name in held if name in other and other[name].shape == held[name].shape]
        assert shared == [len(agreeing), len(held)] and 0 < shared[0] <= shared[1]
        assert all(torch.equal(held[name], other[name]) for name in agreeing)

    def test_shapes_that_differ_are_left_alone(self) -> None:
        own = "resnet20(width=8)"
        network, (shared, every) = network_like("resnet20(width=4)", digits(model=own), 10, 1)
        torch.manual_seed(lab.key(0, "init"))
        alone = create_model(own, classes=10, in_channels=1).state_dict()
        assert shared < every
        assert torch.equal(network.state_dict()["conv1.weight"], alone["conv1.weight"])

    def test_a_network_like_itself_gives_the_same_outcome(self, data: Data) -> None:
        one = measure(job_of(data, tricks=()), data)
        spelt = "lenet5(modern=True, dropout=0.0)"
        other = measure(replace(job_of(data, tricks=()), like=spelt), data)
        assert other.machine["shared_tensors"][0] == other.machine["shared_tensors"][1]
        assert same(one, other)

    def test_weights_that_were_learnt_pair_runs_already(self, data: Data, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        save_file(create_model(WIDE, classes=10, in_channels=1).state_dict(), tmp_path / "w.safetensors")
        job = job_of(data, weights=str(tmp_path / "w.safetensors"))
        found = measure(replace(job, like="lenet5"), data)
        assert "shared_tensors" not in found.machine and same(found, measure(job, data))


class TestPruning:
    def test_a_run_ends_when_the_search_has_seen_enough(self, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        heard: list[tuple[Any, int]] = []

        def reporter(pruning: Pruning) -> Callable[[dict[str, Any]], str]:
            return lambda row: heard.append((pruning, row["epoch"])) or (PRUNED if row["epoch"] == 2 else "")

        monkeypatch.setattr(lab, "reporter", reporter)
        pruning = Pruning("sqlite://", "study", 7, "val_accuracy")
        found = measure(replace(job_of(data, epochs=5), pruning=pruning), data)
        assert heard == [(pruning, 1), (pruning, 2)]
        assert (found.stopped, found.epochs, len(found.history)) == (PRUNED, 2, 2)


class TestKilled:
    def test_it_goes_on_from_its_checkpoint_and_ends_the_same(
        self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = job_of(data, epochs=2)
        whole = measure(job, data)
        monkeypatch.setattr(_kept, "SECONDS", 0.0)
        with pytest.raises(StepError):
            measure(job, data, checkpoints=tmp_path, stopping=breaking(after=whole.steps - 5))
        kept = sorted((tmp_path / job.key).glob("step-*.json"))
        assert kept[-1].stem == f"step-{whole.steps - 5:08d}"
        begun: list[int] = []

        @contextmanager
        def looking(run: Run) -> Generator[None]:
            begun.append(run.step)
            yield

        again = measure(job, data, checkpoints=tmp_path, stopping=looking)
        assert begun == [whole.steps - 5]
        assert same(again, whole)
        assert again.seconds > 0 and not (tmp_path / job.key).exists()

    def test_seconds_and_memory_add_up(self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job = job_of(data)
        monkeypatch.setattr(_kept, "SECONDS", 0.0)
        monkeypatch.setattr(_kept, "peak", lambda: 10**12)
        with pytest.raises(StepError):
            measure(job, data, checkpoints=tmp_path, stopping=breaking(after=3))
        known = _kept.read_checkpoint(tmp_path / job.key)[0]["conditions"]
        monkeypatch.setattr(_kept, "read_checkpoint", lambda *_, **__: (with_seconds(tmp_path / job.key), []))
        assert known["memory"] == 10**12 and known["seconds"] > 0
        found = measure(job, data, checkpoints=tmp_path)
        assert found.memory == 10**12 and 1000 < found.seconds < 2000

    def test_a_short_run_writes_nothing(self, data: Data, tmp_path: Path) -> None:
        written: list[str] = []

        @contextmanager
        def looking(run: Run) -> Generator[None]:
            yield
            written.extend(path.name for path in tmp_path.rglob("*"))

        measure(job_of(data), data, checkpoints=tmp_path, stopping=looking)
        assert not written

    def test_numbers_that_would_round_otherwise_begin_again(
        self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = job_of(data)
        monkeypatch.setattr(_kept, "SECONDS", 0.0)
        with pytest.raises(StepError):
            measure(job, data, checkpoints=tmp_path, stopping=breaking(after=3))
        monkeypatch.setattr(_kept, "versions", lambda: {"torch": "1.0"})
        begun: list[int] = []

        @contextmanager
        def looking(run: Run) -> Generator[None]:
            begun.append(run.step)
            yield

        assert same(measure(job, data, checkpoints=tmp_path, stopping=looking), measure(job, data))
        assert begun == [0]

    def test_a_disk_that_takes_no_checkpoint_stops_no_run(
        self, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_kept, "SECONDS", 0.0)
        (tmp_path / "file").write_text("")
        assert same(measure(job_of(data), data, checkpoints=tmp_path / "file"), measure(job_of(data), data))


def with_seconds(folder: Path) -> dict[str, Any]:
    """A run's checkpoint, as if a thousand seconds had gone into it."""
    from netwright.engine.checkpoint import read_checkpoint

    memory = read_checkpoint(folder)[0]
    return memory | {"conditions": memory["conditions"] | {"seconds": 1000.0}}


def test_memory_that_runs_out_is_told(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(lab, "train", full)
    with pytest.raises(NetwrightError, match="memory ran out") as told:
        measure(job_of(data), data)
    assert "--processes" in told.value.fix


def test_several_labels_a_picture() -> None:
    draw, sides = np.random.default_rng(0), {}
    for side, n in (("train", 32), ("val", 16), ("test", 20)):
        sides[side] = (draw.integers(0, 255, (n, 16, 16, 3)).astype(np.uint8), np.arange(n) % 3)
    data = from_arrays(**sides, classes=("a", "b", "c"))
    several = {s: replace(held, labels=draw.integers(0, 2, (len(held), 3))) for s, held in data.splits.items()}
    data = replace(data, splits=several)
    how = digits(task="multi_label", tricks=(), model="resnet20(width=4)", batch_size=16)
    found = measure(Job(how, data.fingerprint, "test"), data)
    assert found.labels.shape == (20, 3) and found.confidence is None
    assert found.headline == "label_accuracy" and found.values["label_accuracy"].shape == (20,)
    assert np.array_equal(Outcome.from_bytes(found.to_bytes()).labels, found.labels)


def test_a_task_of_ones_own_leads_with_its_first_metric(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sure(Classification):
        name = "sure"

        def metrics(self, output: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"certainty": output.softmax(1).max(1).values}

    load = TASKS.load
    monkeypatch.setattr(TASKS, "load", lambda name: Sure if name == "classification" else load(name))
    found = measure(job_of(data, tricks=()), data)
    assert found.headline == "certainty" and found.confidence is None
    assert found.values["certainty"].dtype == np.float32
