"""A user's dataset read by worker processes: whatever their number, the same pictures; and how they end."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.reliability.crash import Life, faults, live, uninterrupted
from tests.reliability.deaths import Death
from tests.reliability.problems import Fatal, shaken

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="deaths are looked for in /proc")
PATIENCE = 20  # seconds


@pytest.mark.fault(
    11, "A sample's random transforms, your own too, depend on seed, epoch and sample, not on the number of workers."
)
@pytest.mark.parametrize("workers", [(0, 2, 1), (2, 0, 2), (1, 1, 0)])
def test_workers_may_change(server: ProcessPoolExecutor, tmp_path: Path, workers: tuple[int, int, int]) -> None:
    deaths = (Death(11, "fwd"), Death(20, "bwd"), None)
    lives = [Life("dataset", death, changes={"workers": n}) for death, n in zip(deaths, workers, strict=True)]
    story = server.submit(live, tmp_path, lives).result()
    assert [len(row["workers"]) for row in (story.updates[0], story.updates[-1])] == [workers[0], workers[-1]]
    assert faults(story, server.submit(uninterrupted, "dataset").result(), kills=2) == []


def lives_on(process: int) -> bool:
    """Whether a process is there and has not ended; one that ended may still wait for a parent to take note of it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.fault(27, "Worker processes end within seconds of a run that was killed; none is left behind.")
@pytest.mark.parametrize("size", [8, 96])  # pictures that fit into a pipe, and pictures that wait for it to be emptied
def test_no_worker_outlives_its_run(server: ProcessPoolExecutor, tmp_path: Path, size: int) -> None:
    life = Life("dataset", Death(2, "fwd"), changes={"data": shaken(size), "workers": 2})
    story = server.submit(live, tmp_path, [life]).result()
    assert story.exits == [-9]
    workers = story.updates[-1]["workers"]
    assert len(workers) == 2
    until = time.monotonic() + PATIENCE
    while any(map(lives_on, workers)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not any(map(lives_on, workers))


@pytest.mark.fault(
    28,
    "A worker process that is killed or crashes ends the run with the sample it was reading; the run can be resumed.",
)
def test_a_worker_that_dies(server: ProcessPoolExecutor, tmp_path: Path) -> None:
    whole = server.submit(uninterrupted, "dataset").result()
    train, val = shaken()
    data = Fatal(train, deadly=whole.seen("ids")[6][0]), val  # by then some updates are done, whatever is lost with it
    lives = [Life("dataset", changes={"data": data, "workers": n}) for n in (2, 0)]
    story = server.submit(live, tmp_path, lives).result()
    assert story.exits == [1, 0], story.error
    died = f"a worker process that reads your dataset died while it read sample {data[0].deadly}\n"
    assert story.error.startswith(f"NetwrightError: {died}")
    assert "fewer workers than 2" in story.error
    assert story.begun[1] > 0
    assert story.digest == whole.digest
