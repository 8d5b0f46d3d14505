"""The same seed gives the same run, for each number of threads."""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.reliability.crash import Life, live
from tests.reliability.problems import shaken

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="deaths are looked for in /proc")


@pytest.mark.fault(41, "On a CPU, the same recipe with the same number of threads gives the same run, bit for bit.")
@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_same_run(server: ProcessPoolExecutor, tmp_path: Path, threads: int) -> None:
    life = Life("dataset", changes={"data": shaken(32), "threads": threads, "epochs": 2})
    first, again = (server.submit(live, tmp_path / name, [life]).result() for name in ("first", "again"))
    assert first.exits == [0], first.error
    assert first.digest == again.digest
