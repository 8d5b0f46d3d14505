"""Which samples a resumed run sees and what it writes: what the uninterrupted one would have seen and written."""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.reliability.crash import Life, faults, live, uninterrupted
from tests.reliability.deaths import Death
from tests.reliability.problems import EPOCHS, STEPS, TRAIN, shaken
from tests.support import TIMING

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="deaths are looked for in /proc")


@pytest.mark.fault(9, "A run resumed in the middle of a shuffled epoch sees the rest of that epoch, in its order.")
@pytest.mark.parametrize("problem", ["ema", "dataset"])
@pytest.mark.parametrize("at", [STEPS + 3, 2 * STEPS + 6])
def test_resumed_within_an_epoch(server: ProcessPoolExecutor, tmp_path: Path, problem: str, at: int) -> None:
    straight = server.submit(uninterrupted, problem).result()
    story = server.submit(live, tmp_path, [Life(problem, Death(at, "fwd"), every=5), Life(problem)]).result()
    begun = story.begun[1]
    assert STEPS < begun < at
    assert begun % STEPS
    before, after = story.updates[:begun], story.updates[begun - EPOCHS * STEPS :]
    assert [row["ids"] for row in before + after] == [row["ids"] for row in straight.updates]


@pytest.mark.parametrize("problem", ["ema", "dataset"])
def test_epochs_are_shuffled_each_in_its_own_way(server: ProcessPoolExecutor, problem: str) -> None:
    """Or the order of samples would prove nothing."""
    rows = server.submit(uninterrupted, problem).result().updates
    orders = {tuple(i for row in rows if row["epoch"] == epoch for i in row["ids"]) for epoch in range(EPOCHS)}
    assert len(orders) == EPOCHS
    assert all(len(set(order)) == TRAIN and list(order) != sorted(order) for order in orders)


@pytest.mark.fault(10, "The order of an epoch depends on seed and epoch alone, wherever a run was resumed.")
@pytest.mark.parametrize("epoch", range(1, EPOCHS))
@pytest.mark.parametrize("phase", ["val", "data"])
def test_resumed_between_epochs(server: ProcessPoolExecutor, tmp_path: Path, epoch: int, phase: str) -> None:
    straight = server.submit(uninterrupted, "ema").result()
    lives = [Life("ema", Death(epoch * STEPS, phase), every=STEPS), Life("ema", every=STEPS)]
    story = server.submit(live, tmp_path, lives).result()
    assert story.begun == [0, epoch * STEPS]
    assert story.digest == straight.digest
    assert [row["ids"] for row in story.updates] == [row["ids"] for row in straight.updates]


def untimed_lines(run: Path) -> list[str]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [json.dumps({name: value for name, value in row.items() if name not in TIMING}) for row in rows]


@pytest.mark.fault(
    19, "Metrics of a resumed run are those of an uninterrupted one, but for times: no row twice, none torn."
)
def test_killed_while_rows_are_written(server: ProcessPoolExecutor, tmp_path: Path) -> None:
    straight = server.submit(uninterrupted, "ema").result()
    deaths = [Death(STEPS, "log"), Death(2 * STEPS + 1, "fwd"), Death(3 * STEPS, "log"), None]
    story = server.submit(live, tmp_path, [Life("ema", death, every=5) for death in deaths]).result()
    assert story.exits == [-9, -9, -9, 0]
    assert untimed_lines(story.run) == untimed_lines(straight.run)


@pytest.mark.fault(20, "Validating changes nothing in training, and a run killed amid a validation validates again.")
def test_validation_leaves_training_alone(server: ProcessPoolExecutor, tmp_path: Path) -> None:
    straight = server.submit(uninterrupted, "dataset").result()
    unseen = Life("dataset", changes={"data": shaken()[:1]})
    without = server.submit(live, tmp_path / "without", [unseen]).result()
    assert {part: without.digest[part] for part in ("model", "optimizer", "tricks")} == {
        part: straight.digest[part] for part in ("model", "optimizer", "tricks")
    }
    lives = [Life("dataset", Death(STEPS, "val")), Life("dataset", Death(3 * STEPS, "val")), Life("dataset")]
    assert faults(server.submit(live, tmp_path / "killed", lives).result(), straight, kills=2) == []
