"""A driver of the lab in a process of its own, for tests that kill it: trains the digits with some seeds."""

import sys
from pathlib import Path

from netwright.core.errors import Interrupted
from netwright.lab.executors import executor_for
from netwright.lab.job import Job
from netwright.lab.run import run_jobs
from netwright.lab.trial import data_of
from netwright.recipes._recipe import recipe
from netwright.records.outcomes import OutcomeStore


def jobs(count: int, epochs: int) -> list[Job]:
    """The same digits with so many seeds."""
    how = recipe("digits", epochs=epochs, threads=1, device="cpu", precision="fp32")
    fingerprint = data_of(how).fingerprint
    return [Job(how.changed("auto", seed=seed), fingerprint, "test") for seed in range(count)]


def main(folder: str, on: str, processes: str, count: str, epochs: str) -> None:
    """Train what is not there, and say so."""
    store = OutcomeStore.beside(Path(folder))
    try:
        with executor_for(on, int(processes), threads=1, store=store.url) as executor:
            run_jobs(jobs(int(count), int(epochs)), store, executor, told=lambda words: print(words, flush=True))
    except Interrupted as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
    print("over", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
