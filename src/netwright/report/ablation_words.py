"""What an ablation says in words and rows: the answer, and the table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.records.intervals import Interval
from netwright.report.words import SHARES, UNKNOWN, count, duration, metric_name, plural, setting, split_name

Found = Mapping[str, Any]
HELPS, HARMS, NO_DIFFERENCE, NOT_RESOLVED = "helps", "harms", "no difference larger than", "not resolved"
HEADS = ("effect", "p", "verdict", "seeds", "time")
MORE_HEADS = ("memory", "loss", "calibration")
NOUNS = {"leave_one_out": "trick", "one_at_a_time": "trick", "factorial": "effect", "arms": "arm"}


@dataclass(frozen=True)
class Scale:
    """How differences of the metric are written: shares in percentage points, anything else as it is."""

    factor: float
    digits: int
    unit: str

    @classmethod
    def of(cls, found: Found) -> "Scale":
        """The scale of what was measured; a margin below half a point asks for one more digit."""
        if found.get("metric", "accuracy") not in SHARES:
            return cls(1.0, 3, "")
        return cls(100.0, 1 if not finite(found.get("margin")) or found["margin"] >= 0.005 else 2, "points")

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
        return f"{self.number(seen.value)}{' %' if self.unit else ''}{self._bounds(seen)}"

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


def effects(found: Found) -> list[Found]:
    """Effects as they are listed: single ones before interactions, the largest first, what is not known last."""

    def place(effect: Found) -> tuple[int, bool, float]:
        value = both(effect).value
        return effect.get("order") or 1, not finite(value), -value if finite(value) else 0.0

    return sorted(found["arms"], key=place)


def p_words(p: Any, *, named: bool = True) -> str:
    """`p < 0.001`, `p = 0.012`; without its name for a table."""
    if not finite(p):
        return UNKNOWN
    sign, number = (
        ("<", "0.001") if p < 0.001 else (">", "0.99") if p > 0.99 else ("=", f"{p:.{2 if p >= 0.1 else 3}f}")
    )
    if named:
        return f"p {sign} {number}"
    return number if sign == "=" else f"{sign} {number}"


def verdict_words(effect: Found) -> str:
    """The verdict, and what would resolve one that is open."""
    verdict = effect.get("verdict") or NOT_RESOLVED
    needs = _needs(effect)
    return f"{verdict} ({needs})" if verdict == NOT_RESOLVED and needs else verdict


def kind_of(effect: Found) -> str:
    """One of the four kinds of verdict, its margin left out."""
    verdict = str(effect.get("verdict") or NOT_RESOLVED)
    return NO_DIFFERENCE if verdict.startswith(NO_DIFFERENCE) else verdict


def answer(found: Found) -> list[str]:
    """What was found: one sentence to sum it up, then one a verdict."""
    scale, listed = Scale.of(found), effects(found)
    if not listed:
        return ["Nothing was compared: the plan had no arm beside the baseline."]
    said = [_summed_up(found, listed)]
    for kind in (HELPS, HARMS):
        of_kind = [each for each in listed if kind_of(each) == kind]
        of_kind = of_kind if kind == HELPS else of_kind[::-1]
        parts = [f"{each['name']} {kind}: {_size(each, scale, unit=True)}" for each in of_kind]
        said += [f"{'; '.join(parts)}."] if parts else []
    same = [each for each in listed if kind_of(each) == NO_DIFFERENCE]
    for verdict in dict.fromkeys(each["verdict"] for each in same):
        named = [f"{each['name']} {scale.difference(both(each))}" for each in same if each["verdict"] == verdict]
        said.append(f"{_capital(verdict)}: {'; '.join(named)}.")
    open_ = [each for each in listed if kind_of(each) == NOT_RESOLVED]
    parts = [f"{each['name']} ({', '.join(filter(None, _open(each, scale)))})" for each in open_]
    return [*said, f"Not resolved: {'; '.join(parts)}."] if parts else said


def rows_of(found: Found) -> list[list[str]]:
    """The table in words for a terminal, its heads first."""
    scale = Scale.of(found)
    heads = [NOUNS.get(found["kind"], "arm"), _effect_head(found, scale), *HEADS[1:]]
    return [heads, *(_cells(effect, scale) for effect in effects(found))]


def whole_rows(found: Found) -> list[list[str]]:
    """The same with memory, loss and calibration error, for pages; columns that say nothing are left out."""
    heads, *rows = rows_of(found)
    table = [[*heads, *MORE_HEADS]]
    table += [[*row, *_more_cells(effect)] for row, effect in zip(rows, effects(found), strict=True)]
    known = [{row[place] for row in table[1:]} for place in range(len(table[0]))]
    nothing = ({UNKNOWN}, {"×1.00"}, {UNKNOWN, "×1.00"})
    kept = [place for place in range(len(table[0])) if known[place] not in nothing or place < len(heads)]
    return [[row[place] for place in kept] for row in table]


def words(found: Found) -> list[str]:
    """What is printed beside the table at the end: the answer, then what its numbers cover and what was noted."""
    short = f"Intervals: 95 %, over {seed_words(found)} and {picture_words(found)}; p: Holm over {compared(found)}."
    return [*answer(found), short, *found.get("notes", [])]


def legend(found: Found) -> str:
    """What the columns of the table mean."""
    unit = "in percentage points" if Scale.of(found).unit else f"in {metric_name(found['metric'])}"
    heads = whole_rows(found)[0]
    said = [
        f"Effect: {unit} on {picture_words(found)}, with its 95 % interval over seeds and pictures.",
        f"p: adjusted for {compared(found)} (Holm).",
        f"{'Time, memory' if 'memory' in heads else 'Time'}: of a run with it over one without.",
    ]
    if set(MORE_HEADS[1:]) & set(heads):
        said.append("Loss, and calibration error in percentage points: with it less without it; below zero is better.")
    return " ".join(said)


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


def _summed_up(found: Found, listed: Sequence[Found]) -> str:
    """`On CIFAR-10 with resnet20: of 6 tricks 2 help, 1 harms and 3 are not resolved.`"""
    kinds = [kind_of(effect) for effect in listed]
    margin = margin_words(found)
    forms = {
        HELPS: ("helps", "help"),
        HARMS: ("harms", "harm"),
        NO_DIFFERENCE: (f"makes no difference larger than {margin}", f"make no difference larger than {margin}"),
        NOT_RESOLVED: ("is not resolved", "are not resolved"),
    }
    parts = [
        f"{kinds.count(kind)} {one if kinds.count(kind) == 1 else many}"
        for kind, (one, many) in forms.items()
        if kind in kinds
    ]
    said = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    where = f"On {found['data']} with {setting(found.get('model'))}, {seed_words(found)}"
    noun = NOUNS.get(found["kind"], "arm")
    if len(parts) > 1 or len(kinds) == 1:
        return f"{where}: of {plural(len(kinds), noun)} {said}."
    if kinds[0] == NOT_RESOLVED:
        return f"{where}: none of {plural(len(kinds), noun)} is resolved."
    return f"{where}: all {plural(len(kinds), noun)} {forms[kinds[0]][1]}."


def _open(effect: Found, scale: Scale) -> tuple[str, str]:
    return _size(effect, scale), _needs(effect)


def _size(effect: Found, scale: Scale, *, unit: bool = False) -> str:
    seen = both(effect)
    return scale.difference(seen, unit=unit) if finite(seen.value) else "size not known"


def _needs(effect: Found) -> str:
    if finite(effect.get("more_seeds")):
        return f"about {plural(max(1, round(effect['more_seeds'])), 'more seed')}"
    return "test pictures limit it" if effect.get("limited_by") == "pictures" else ""


def _cells(effect: Found, scale: Scale) -> list[str]:
    name, effect_, p = effect["name"], scale.difference(both(effect)), p_words(effect.get("p"), named=False)
    return [name, effect_, p, verdict_words(effect), str(effect.get("n") or UNKNOWN), ratio(effect.get("time_ratio"))]


def _more_cells(effect: Found) -> list[str]:
    loss, calibration = interval_of(effect.get("loss")), interval_of(effect.get("calibration"))
    share = Scale(100.0, 1, "points")
    return [ratio(effect.get("memory_ratio")), LOSS.difference(loss), share.difference(calibration)]


def ratio(value: Any) -> str:
    """A ratio as `×1.25`."""
    return f"×{value:.2f}" if finite(value) else UNKNOWN


def _effect_head(found: Found, scale: Scale) -> str:
    return f"{metric_name(found.get('metric', 'accuracy'))}{', points' if scale.unit else ''}"


def compared(found: Found) -> str:
    """How many effects are compared at once."""
    return plural(len(found["arms"]), "comparison")


def margin_words(found: Found) -> str:
    """The margin as its verdict has it: `1 point`, `0.5 points`."""
    scale, margin = Scale.of(found), found.get("margin", 0.01)
    value = f"{scale.factor * margin:g}"
    return f"{value} {'point' if value == '1' else 'points'}" if scale.unit else value


def seed_count(found: Found) -> int:
    """With how many seeds."""
    return len(found.get("seeds") or [])


def seed_words(found: Found) -> str:
    """`6 seeds`."""
    return plural(seed_count(found), "seed")


def picture_words(found: Found) -> str:
    """`2 000 test pictures`."""
    return f"{count(found.get('n') or 0)} {split_name(found.get('split') or 'test')} pictures"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
