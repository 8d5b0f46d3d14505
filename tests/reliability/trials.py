"""Trials: a run is killed at updates and in phases drawn by number, and compared with one that was left alone."""

import random
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.crash import Life, Story, faults, live, uninterrupted
from tests.reliability.deaths import PHASES, TWICE, Death
from tests.reliability.mutants import MUTANTS
from tests.reliability.problems import RECIPES

INTERVALS = (2, 3, 5)  # updates between checkpoints


@dataclass(frozen=True)
class Trial:
    """What was done to a run, and everything in which it then differed from the one that nothing was done to."""

    number: int
    problem: str
    every: int
    deaths: list[Death]
    story: Story
    faults: list[str]


def trial(number: int, folder: Path, *, kills: int = 3) -> Trial:
    """The trial of this number: it is the same one each time."""
    draw = random.Random(number)
    problem = list(RECIPES)[number % len(RECIPES)]
    whole = uninterrupted(problem)
    every = draw.choice(INTERVALS)
    deaths = drawn(draw, every, len(whole.updates), phases_of(number, kills))
    story = live(folder, [Life(problem, death, every) for death in (*deaths, None)])
    return Trial(number, problem, every, deaths, story, faults(story, whole, kills))


def mutant_trial(mutant: str, folder: Path) -> bool:
    """Whether a run with this gap in its memory, killed twice amid an epoch, shows it where it must.

    Raises:
        AssertionError: it was not killed and resumed as planned, so that there was nothing to see.
    """
    deaths = (Death(17, "fwd"), Death(29, "bwd"), None)
    story = live(folder, [Life("ema", death, 5, mutant) for death in deaths])
    assert (story.exits, story.begun) == ([-9, -9, 0], [0, 15, 25]), story
    part = MUTANTS[mutant].part
    return story.digest[part] != uninterrupted("ema", mutant).digest[part]


def phases_of(number: int, kills: int) -> list[str]:
    """They take turns, so that a few trials see each of them; what follows the training comes last."""
    names = list(PHASES)
    turn = [names[(number * kills + kill) % len(names)] for kill in range(kills)]
    return sorted(turn, key=lambda phase: phase == "finish")


def drawn(draw: random.Random, every: int, steps: int, phases: list[str]) -> list[Death]:
    """Deaths that cost something: each some time after a checkpoint, and more than `every` updates after the last."""
    others = every * (len(phases) - 1)
    first = [step for step in range(every + 1, steps - 1 - others) if step % every]
    at = [step + every * place for place, step in enumerate(sorted(draw.sample(first, len(phases))))]
    visits = [draw.choice((1, 2)) if phase in TWICE else 1 for phase in phases]
    return [Death(*death) for death in zip(at, phases, visits, strict=True)]
