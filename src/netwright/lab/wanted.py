"""How sure an ablation is to be, what it may cost, and where it is computed."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from netwright.core.errors import NetwrightError, unknown

Equal = Literal["epochs", "steps", "time"]
Test = Literal["auto", "sign_flip", "t"]
SPLITS = ("test", "val")
MOST_SEEDS = 24  # that --until-resolved, or a budget, may come to


@dataclass(frozen=True)
class Wanted:
    """How sure an ablation is to be, and what it may cost.

    Attributes:
        seeds: runs of each arm; None for what the budget allows, or else 8.
        budget: seconds that the runs may take together.
        equal: what is the same for all arms: epochs, updates, or the expected time.
        margin: a difference that would not matter, as a share: 0.01 is one point; of PSNR, one dB.
        alpha: how often, at most, one of several tricks without an effect may be said to have one.
        test: "sign_flip", "t", or "auto".
        split: where runs are measured.
        until_resolved: begin with `seeds` and add seeds where they are worth most, until every effect is resolved.
        most_seeds: that this, or a budget, may come to.
    """

    seeds: int | None = None
    budget: float | None = None
    equal: Equal = "epochs"
    margin: float = 0.01
    alpha: float = 0.05
    test: Test = "auto"
    split: str = "test"
    until_resolved: bool = False
    most_seeds: int = MOST_SEEDS


@dataclass(frozen=True)
class Where:
    """Where runs are computed, and where they are kept.

    Attributes:
        on: "local", "ray", or "ray://HOST:PORT".
        processes: beside each other; None for as many as cores and memory allow.
        gpus: of each run, with Ray.
        store: address of the run store; None for `runs.db` in the output folder.
    """

    on: str = "local"
    processes: int | None = None
    gpus: float = 0.0
    store: str | None = None

    @property
    def remote(self) -> bool:
        """Whether other machines compute, whose cores and accelerators this one does not know."""
        return self.on.startswith("ray://")


def check(wanted: Wanted) -> None:
    """Refuse what means nothing.

    Raises:
        NetwrightError: says what is allowed.
    """
    if wanted.equal not in get_args(Equal):
        raise unknown("way to be equal", wanted.equal, get_args(Equal))
    if wanted.split not in SPLITS:
        raise unknown("split to measure on", wanted.split, SPLITS)
    if wanted.test not in get_args(Test):
        raise unknown("test", wanted.test, get_args(Test))
    if wanted.seeds is not None and wanted.seeds < 1:
        raise NetwrightError(f"{wanted.seeds} seeds are none", "give at least 2: --seeds 8")
    if wanted.until_resolved and (wanted.seeds or 2) > wanted.most_seeds:
        fix = f"give --most-seeds {wanted.seeds} or more"
        raise NetwrightError(f"{wanted.seeds} seeds at first are more than the most, {wanted.most_seeds}", fix)
    if not 0 < wanted.margin < 1:
        raise NetwrightError(f"margin cannot be {wanted.margin:g}", "give a share: 0.01 is one point of accuracy")
    if not 0 < wanted.alpha < 0.5:
        raise NetwrightError(f"alpha cannot be {wanted.alpha:g}", "give a share below 0.5, as 0.05")
    if wanted.budget is not None and not 0 < wanted.budget < math.inf:
        raise NetwrightError(f"budget cannot be {wanted.budget:g} seconds", "give a time, as 45m or 2h")
