"""Ratios rather than seconds: things measured in turn, round by round, so that a noisy machine is noisy for all."""

import math
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ratio:
    """The median over rounds of one thing's time over another's in the same round, and the middle half's spread."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.median:.3f} (middle half {self.low:.3f} – {self.high:.3f}, n = {self.n})"


def in_turn(
    things: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1, rest: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each thing in each round, in an order drawn anew for each round.

    Between two things it waits `rest` seconds, so that what one left working behind it does not slow the next.
    """
    names, draw = list(things), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + warmup):
        for name in draw.sample(names, len(names)):
            time.sleep(rest)
            begun = time.perf_counter()
            things[name]()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio(first: list[float], second: list[float]) -> Ratio:
    """first / second, paired by round."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    quarter = math.floor(len(ratios) / 4)
    return Ratio(statistics.median(ratios), ratios[quarter], ratios[-1 - quarter], len(ratios))


def machine() -> str:
    """The processor and its cores, for the record."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line for line in lines if line.startswith("flags")), "")
    bf16 = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags.split()]
    return f"{name}, {os.cpu_count()} cores, {', '.join(bf16) or 'no bf16 in hardware'}, load {os.getloadavg()[0]:.1f}"
