"""Runs that are killed over and over come to what they would have come to; and the harness sees it when they do not."""

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.crash import Life, Story, faults, live, uninterrupted
from tests.reliability.deaths import PHASES, Death
from tests.reliability.mutants import MUTANTS
from tests.reliability.trials import mutant_trial, phases_of, trial

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="deaths are looked for in /proc")
TRIALS, KILLS = 20, 3


@pytest.mark.fault(
    1,
    "A run that is killed (`kill -9`) at any update, in any phase of it, and resumed, any number of times, ends with "
    "the same weights, averages, optimiser state, metrics and model as one that was left alone, bit for bit.",
)
@pytest.mark.fault(13, "The learning rate of every update is the same number, to the last bit, in a resumed run.")
@pytest.mark.fault(14, "The averages of EMA and SWA and the slow weights of Lookahead go on where they were.")
@pytest.mark.fault(17, "The running statistics of batch normalisation go on where they were.")
@pytest.mark.parametrize("number", range(TRIALS))
def test_killed_runs_come_to_the_same(server: ProcessPoolExecutor, tmp_path: Path, number: int) -> None:
    done = server.submit(trial, number, tmp_path, kills=KILLS).result()
    assert done.faults == [], done


def test_trials_visit_every_phase() -> None:
    visited = {phase for number in range(TRIALS) for phase in phases_of(number, KILLS)}
    assert visited == set(PHASES)


@pytest.mark.fault(
    12, "What layers draw, such as dropout, depends on seed and step alone; no generator has to be saved."
)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_gap_in_memory_is_seen(server: ProcessPoolExecutor, tmp_path: Path, mutant: str) -> None:
    assert server.submit(mutant_trial, mutant, tmp_path).result()


@pytest.mark.fault(16, "A run killed between the parts of an accumulated batch does that whole batch again.")
@pytest.mark.parametrize("part", [1, 2, 3, 4])
def test_killed_between_the_parts_of_a_batch(server: ProcessPoolExecutor, tmp_path: Path, part: int) -> None:
    lives = [Life("ema", Death(11, "bwd", visit=part)), Life("ema")]
    story = server.submit(live, tmp_path, lives).result()
    assert story.begun == [0, 9]
    assert faults(story, server.submit(uninterrupted, "ema").result(), kills=1) == []


@pytest.mark.fault(18, "What early stopping has seen, and its best weights, are remembered by a resumed run.")
def test_killed_between_the_best_epoch_and_the_last(server: ProcessPoolExecutor, tmp_path: Path) -> None:
    whole = server.submit(uninterrupted, "swa").result()
    assert len(whole.updates) == 24  # of 32: it was stopped, and the best epoch was not the last
    lives = [Life("swa", death) for death in (Death(10, "fwd"), Death(16, "log"), Death(24, "finish"), None)]
    story = server.submit(live, tmp_path, lives).result()
    assert faults(story, whole, kills=3) == []


def story_of(steps: list[int], begun: list[int], exits: list[int]) -> Story:
    updates = [{"step": step, "epoch": 0, "ids": [step], "pixels": "", "rate": 0.1} for step in steps]
    return Story(Path(), exits, begun, updates, {"model": "a"}, "")


def test_what_counts_as_a_fault() -> None:
    """A harness whose kills come before the first checkpoint finds every run the same, and proves nothing."""
    whole = story_of([0, 1, 2], [0], [0])
    good = story_of([0, 1, 1, 2], [0, 1], [-9, 0])
    assert faults(good, whole, kills=1) == []
    assert faults(story_of([0, 1, 0, 1, 2], [0, 0], [-9, 0]), whole, kills=1) == ["an attempt began anew: [0, 0]"]
    assert faults(story_of([0, 1, 2], [0, 1], [-9, 0]), whole, kills=1) == ["nothing was done twice"]
    assert faults(story_of([0, 1, 1, 2], [0, 1], [0, 0]), whole, kills=1) == ["attempts ended with [0, 0]: "]
    assert faults(replace(good, digest={"model": "b"}), whole, kills=1) == ["another model"]
    other = replace(good, updates=[row | {"rate": 0.2} if row["step"] == 2 else row for row in good.updates])
    assert faults(other, whole, kills=1) == ["rate differ at updates [2]"]
