"""The terms of an ablation's report: how numbers are written, and what seeds, pictures and comparisons are called."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netwright.records.intervals import Interval
from netwright.report.words import SHARES, UNKNOWN, count, duration, plural, split_name

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Scale:
    """How differences of the metric are written: shares in percentage points, anything else as it is."""

    factor: float
    digits: int
    unit: str

    @classmethod
    def of(cls, found: Found) -> "Scale":
        """The scale of what was measured; a margin below half a point asks for one more digit."""
        if found.get("metric") == "psnr":  # the lab keeps it as a share of 100 dB
            return cls(100.0, 2, "dB")
        if found.get("metric", "accuracy") not in SHARES:
            return cls(1.0, 3, "")
        return cls(100.0, 1 if not finite(found.get("margin")) or found["margin"] >= 0.005 else 2, "points")

    @property
    def sign(self) -> str:
        """What follows a level: ` %`, ` dB` or nothing."""
        return {"points": " %", "dB": " dB"}.get(self.unit, "")

    def number(self, value: Any, *, sign: bool = False) -> str:
        """A number in this unit, or a dash; nothing is ever `-0.0`."""
        if not finite(value):
            return UNKNOWN
        rounded = round(self.factor * value, self.digits) + 0.0
        return f"{rounded:{'+' if sign and rounded else ''}.{self.digits}f}"

    def difference(self, seen: Interval, *, unit: bool = False) -> str:
        """`+1.8 [0.9, 2.7]`, or with the unit `+1.8 points [0.9, 2.7]`."""
        if not finite(seen.value):
            return UNKNOWN
        named = f" {self.unit}" if unit and self.unit else ""
        return f"{self.number(seen.value, sign=True)}{named}{self._bounds(seen)}"

    def level(self, seen: Interval) -> str:
        """`93.1 % [92.0, 94.2]` for a share."""
        if not finite(seen.value):
            return UNKNOWN
        return f"{self.number(seen.value)}{self.sign}{self._bounds(seen)}"

    def _bounds(self, seen: Interval) -> str:
        if not (finite(seen.low) and finite(seen.high)):
            return " (no interval)"
        return f" [{self.number(seen.low)}, {self.number(seen.high)}]"


LOSS = Scale(1.0, 3, "")


def finite(value: Any) -> bool:
    """Whether a value of the JSON is a number that can be shown."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def numbers(values: Any) -> list[float]:
    """Those of a list that can be shown; nothing of None."""
    return [float(value) for value in values or [] if finite(value)]


def interval_of(fields: Any) -> Interval:
    """The interval of the JSON; NaN throughout where there is none."""
    return Interval.from_json(fields if isinstance(fields, Mapping) else {})


def both(effect: Found) -> Interval:
    """The headline interval of an effect, over seeds and pictures; from the contract's short form where need be."""
    full = interval_of((effect.get("intervals") or {}).get("both"))
    if finite(full.value):
        return full
    low, high = effect.get("interval") or (None, None)
    fields = {"value": effect.get("effect"), "low": low, "high": high, "n": effect.get("n")}
    return Interval.from_json(fields)


def run_time(seconds: Any) -> str:
    """The time of a run so that neighbours compare: in seconds up to ten minutes."""
    if not finite(seconds) or seconds >= 600:
        return duration(seconds)
    return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"


def in_bytes(value: Any) -> str:
    """`812 MiB`, or a dash where nobody told."""
    if not finite(value) or value <= 0:
        return UNKNOWN
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def ratio(value: Any) -> str:
    """A ratio as `×1.25`."""
    return f"×{value:.2f}" if finite(value) else UNKNOWN


def compared(found: Found) -> str:
    """How many effects are compared at once."""
    return plural(len(found["arms"]), "comparison")


def adjusted(found: Found) -> str:
    """For what p is adjusted: how many effects were looked at, and how often."""
    parts = [f"{compared(found)} (Holm 1979)"] if len(found["arms"]) > 1 else []
    parts += ["looking repeatedly (alpha spending, Lan & DeMets 1983)"] if found.get("looks") else []
    return f"adjusted for {' and for '.join(parts)}" if parts else "one comparison, so there is nothing to adjust for"


def margin_words(found: Found) -> str:
    """The margin as its verdict has it: `1 point`, `0.5 points`."""
    scale, margin = Scale.of(found), found.get("margin", 0.01)
    value = f"{scale.factor * margin:g}"
    unit = "point" if (value, scale.unit) == ("1", "points") else scale.unit
    return f"{value} {unit}".strip()


def seed_range(found: Found) -> tuple[int, int]:
    """With how many seeds: the fewest and the most of an effect."""
    counts = [each["n"] for each in found["arms"] if each.get("n")] or [len(found.get("seeds") or [])]
    return min(counts), max(counts)


def seed_words(found: Found) -> str:
    """`6 seeds`, or `4 to 10 seeds` where they were added as they were needed."""
    fewest, most = seed_range(found)
    return plural(most, "seed") if fewest == most else f"{fewest} to {most} seeds"


def picture_words(found: Found) -> str:
    """`2 000 test pictures`."""
    return f"{count(found.get('n') or 0)} {split_name(found.get('split') or 'test')} pictures"


def failures(found: Found) -> list[tuple[str, str]]:
    """Rows that could not be trained, each with the reason."""
    return [(row["name"], " ".join(str(row["failed"]).split())) for row in found["rows"] if row.get("failed")]


def on_shared_seeds(found: Found) -> list[tuple[Found, Found]]:
    """Rows with their accuracy and seconds, over the seeds that all rows share if these are known, else over all.

    Rows of other seeds are not comparable: a difference between them may be one between seeds.
    """
    rows = [row for row in found["rows"] if finite(interval_of(row.get("accuracy")).value)]
    known = all(finite(interval_of((row.get("common") or {}).get("accuracy")).value) for row in rows)
    return [(row, row["common"] if known else row) for row in rows]
