"""What the lab costs beside its runs, and whether two processes on two cores end before the same runs in turn.

    python bench/lab.py --data cifar10.npz --epochs 2 --runs 6 --rounds 5

Overhead is (wall − runs) / runs: what opening the store, claiming, writing and processes take beyond the sum of
the seconds that runs say they took. For processes beside each other it is of the time that a process had: runs are
divided by their number, and the time to start them counts. Everything is done in turn in each round, in an order drawn
anew, with a store of its own.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

from _measure import in_turn, machine, ratio

from netwright.engine.device import available_threads
from netwright.lab.executors import executor_for
from netwright.lab.job import Job
from netwright.lab.run import run_jobs
from netwright.lab.trial import data_of, network_for
from netwright.recipes._recipe import Recipe, recipe
from netwright.records.outcomes import OutcomeStore


def jobs_of(given: argparse.Namespace, how: Recipe, threads: int) -> list[Job]:
    data = data_of(how)
    if how.model == "auto":
        how = how.changed(model=network_for(None, data), batch_size=64)
    how = how.changed(epochs=given.epochs, threads=threads)
    return [Job(how.changed(seed=seed), data.fingerprint, "test") for seed in range(given.runs)]


def once(jobs: list[Job], on: str, processes: int, overheads: list[float]) -> None:
    """All jobs, with a store that is empty."""
    with tempfile.TemporaryDirectory() as folder:
        begun = perf_counter()
        store = OutcomeStore.beside(Path(folder))
        with executor_for(on, processes, store=store.url) as executor:
            found = run_jobs(jobs, store, executor)
        wall = perf_counter() - begun
    runs = sum(outcome.seconds for outcome in found.values()) / processes
    overheads.append((wall - runs) / runs)


def told(overheads: list[float]) -> str:
    low, high = min(overheads), max(overheads)
    return f"{statistics.median(overheads):.1%} ({low:.1%} – {high:.1%}, n = {len(overheads)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ray", action="store_true", help="by Ray too, whose cluster is started in each round")
    given = parser.parse_args()
    how = recipe("digits") if given.data == "digits" else recipe("modern", data=given.data)
    cores = available_threads()
    ways = {"in turn": ("local", 1, 1), f"in turn, {cores} threads": ("local", 1, cores)}
    ways["two processes"] = ("local", 2, max(1, cores // 2))
    ways |= {"Ray": ("ray", 2, max(1, cores // 2))} if given.ray else {}
    overheads: dict[str, list[float]] = {name: [] for name in ways}
    things = {
        name: partial(once, jobs_of(given, how, threads), on, processes, overheads[name])
        for name, (on, processes, threads) in ways.items()
    }
    seconds = in_turn(things, given.rounds, warmup=1)
    print(f"{machine()}\n{given.runs} runs of {given.epochs} epochs on {how.data}, {given.rounds} rounds\n")
    for name in ways:
        print(f"{name}: {statistics.median(seconds[name]):.1f} s, overhead {told(overheads[name][-given.rounds :])}")
    for name in list(ways)[:2]:
        print(f"two processes / {name}: {ratio(seconds['two processes'], seconds[name])}")


if __name__ == "__main__":
    main()
