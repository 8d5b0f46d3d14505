"""Runs killed over and over, resumed, and compared with runs that were left alone.

python -m bench.crash --trials 20
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from bench._measure import machine
from tests.reliability.crash import fork_server
from tests.reliability.deaths import PHASES
from tests.reliability.mutants import MUTANTS
from tests.reliability.trials import Trial, mutant_trial, trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3, help="in each trial")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial; equal numbers, equal trials")
    given = parser.parse_args()
    print(f"{machine()}; torch {torch.__version__}, one thread")
    with fork_server() as pool, TemporaryDirectory() as place:

        def done(function: Callable[..., Any], what: object) -> Any:
            return pool.submit(function, what, Path(place) / str(what)).result()

        begun = time.perf_counter()
        numbers = range(given.first, given.first + given.trials)
        trials = [done(partial(trial, kills=given.kills), number) for number in numbers]
        print(table(trials))
        print(f"{len(trials)} trials in {time.perf_counter() - begun:.0f} s")
        caught = [name for name in MUTANTS if done(mutant_trial, name)]
    print(f"gaps in memory that were seen: {len(caught)} of {len(MUTANTS)} ({', '.join(caught)})")


def table(trials: list[Trial]) -> str:
    """Kills by phase, and how many of them were in runs that came to the same; then the trials that did not."""
    kills = Counter(death.phase for trial in trials for death in trial.deaths)
    same = Counter(death.phase for trial in trials if not trial.faults for death in trial.deaths)
    rows = [f"{phase:<14}{kills[phase]:>6}{same[phase]:>11}" for phase in PHASES]
    total = f"{'all':<14}{kills.total():>6}{same.total():>11}"
    failed = [f"trial {trial.number}: {'; '.join(trial.faults)}" for trial in trials if trial.faults]
    return "\n".join([f"{'killed in':<14}{'kills':>6}{'identical':>11}", *rows, total, *failed])


if __name__ == "__main__":
    main()
