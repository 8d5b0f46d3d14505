"""How an ablation was measured, in words: what an effect is, what intervals cover, how verdicts come about, on what."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.report.ablation_terms import (
    Found,
    Scale,
    adjusted,
    compared,
    finite,
    margin_words,
    on_shared_seeds,
    picture_words,
    seed_range,
    seed_words,
)
from netwright.report.words import UNKNOWN, count, duration, setting, split_name

KINDS = {
    "leave_one_out": "Each trick was taken out of the recipe in turn. Its effect: the whole recipe less the recipe "
    "without it, so that above zero the trick earns its place.",
    "one_at_a_time": "Each trick was added alone to the recipe without any of them. Its effect: with it less without.",
    "factorial": "Tricks were switched on and off together by a factorial design. An effect: the mean of the runs with "
    "the trick less the mean of those without it. An interaction: half of what one trick's effect gains by the other, "
    "above zero where two give more together than their own effects add up to.",
    "arms": "Each arm was compared with the baseline. Its effect: the arm less the baseline.",
}
EQUAL = {
    "epochs": "Every run had the same epochs.",
    "steps": "Every arm has so many epochs that its updates come as near to the baseline's as epochs allow.",
    "time": "Every arm has so many epochs that its time comes as near to the baseline's as epochs allow.",
}
OFF = 0.2  # of the baseline's time: from here on times that should be equal are said not to be
ENUMERATED = 16  # seeds up to which all signs are tried


def measured_words(found: Found) -> list[str]:
    """How it was measured: what an effect is, what was paired, what was equal."""
    paired = (
        "Runs are paired: every seed has the same split, order of the data and first weights (where shapes allow) in "
        f"every arm, and the same {picture_words(found)} are looked at."
    )
    return [text for text in (KINDS.get(found["kind"]), *_equal_words(found), paired) if text]


def epochs_of(row: Found) -> Any:
    """Epochs that a row was to have, or has."""
    return (row.get("spec") or {}).get("epochs") or row.get("epochs")


def epochs_differ(found: Found) -> bool:
    """Whether rows were to have different epochs."""
    return len({epochs_of(row) for row in found["rows"] if not row.get("failed")}) > 1


def _equal_words(found: Found) -> list[str]:
    """What all rows had in common, and how near that came."""
    equal = str(found.get("equal"))
    differ = epochs_differ(found)
    said = [EQUAL.get(equal, "")] if equal != "epochs" or not differ else []
    said += [_epochs_words(found)] if differ else []
    return [*said, *(_time_words(found) if equal == "time" else [])]


def _epochs_words(found: Found) -> str:
    first, *rest = [row for row in found["rows"] if not row.get("failed")]
    others = [row for row in rest if epochs_of(row) != epochs_of(first)]
    named = ", ".join(f"{row['name']} {setting(epochs_of(row))}" for row in (first, *others))
    return f"Epochs: {named}{f'; all others {epochs_of(first)}' if len(others) < len(rest) else ''}."


def _time_words(found: Found) -> list[str]:
    """Which times came out farther from the baseline's than they should."""
    rows = [(row["name"], own.get("seconds")) for row, own in on_shared_seeds(found)]
    base = dict(rows).get((found.get("baseline") or {}).get("name"))
    if not finite(base) or not base:
        return []
    ratios = [(name, seconds / base) for name, seconds in rows if finite(seconds)]
    off = [f"{name} took {ratio:.2f} times as long" for name, ratio in ratios if abs(ratio - 1) > OFF]
    return [f"Times did not come out equal to the baseline's: {'; '.join(off)}."] if off else []


def coverage_words(found: Found) -> list[str]:
    """What each interval covers, and what none does."""
    seeds, pictures = seed_words(found), picture_words(found)
    few = (
        " One seed does not tell what another would change; intervals are over pictures alone."
        if seed_range(found)[1] == 1
        else ""
    )
    look = " and for one look" if found.get("looks") else ""
    alone = f"Each interval is for its effect alone{look}: one may leave out zero where the verdict is open."
    return [
        f"Over both (thick line): what other seeds and other test pictures would change. This one counts.{few}",
        f"Over seeds (thin line through the dots, one dot a seed): other seeds on these {pictures}.",
        f"Over pictures (dashed line): other test pictures for these {seeds}.",
        "No interval covers another pool of training pictures, another network or other data.",
        *([alone] if len(found["arms"]) > 1 or found.get("looks") else []),
    ]


def rules(found: Found) -> list[str]:
    """How p and the verdicts come about."""
    alpha, margin = found.get("alpha", 0.05), margin_words(found)
    return [
        _p_source(found),
        f"Helps, harms: the adjusted p is at most {alpha:g}; the sign of the effect says which.",
        f"No difference larger than {margin}: two one-sided tests, adjusted in the same way, place the effect "
        f"within {margin} either way (the shaded band).",
        "Not resolved: neither. This is no evidence that there is no effect. The number of further seeds is what "
        "would resolve an effect of the size seen in 8 of 10 tries. Where test pictures limit it, more seeds alone "
        "would hardly do, if the effect is what it seems.",
    ]


def below(found: Found) -> str:
    """Under the title: data, network, seeds, runs, time."""
    pictures = ", ".join(f"{count(n)} {split_name(side)}" for side, n in (found.get("pictures") or {}).items() if n)
    runs = f"{count(found.get('runs') or 0)} runs, {duration(found.get('run_seconds'))} in all"
    parts = [
        f"{found['data']}: {pictures} pictures" if pictures else found["data"],
        setting(found.get("model")), seed_words(found), runs, found.get("device"),
    ]  # fmt: skip
    return " · ".join(str(part) for part in parts if part)


def protocol(found: Found) -> dict[str, object]:
    """The facts of how it ran."""
    size = found.get("image_size")
    sides = list(size) if isinstance(size, Sequence) and not isinstance(size, str) else [size, size]
    return {
        "model": setting(found.get("model")),
        "image size": " × ".join(str(side) for side in sides) if sides[0] else None,
        "epochs": found.get("epochs"),
        "seeds": ", ".join(str(seed) for seed in found.get("seeds") or []),
        "runs": found.get("runs"),
        "found in the store": found.get("found"),
        "sum of runs": duration(found.get("run_seconds")),
        "from start to end": duration(found.get("wall_seconds")),
        "processes": found.get("processes"),
        "smallest effect foreseen": _foreseen(found),
    }


def machine(found: Found) -> dict[str, object]:
    """The facts of where it ran."""
    fields: Mapping[str, Any] = found.get("machine") or {}
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= value if isinstance(value, Mapping) else {name: value}
    kept = {name.replace("_", " "): setting(value) for name, value in flat.items() if value not in (None, "", [])}
    said: dict[str, object] = {"device": found.get("device")}
    return said | kept


def looks_words(found: Found) -> str:
    """Why seeds could be added until effects were resolved."""
    looks = found["looks"]
    source = f" ({looks['source']})" if looks.get("source") else ""
    said = f"Seeds were added until effects were resolved. What allows to look repeatedly: {looks['method']}{source}."
    spent = looks.get("spent")
    return f"{said} Spent so far: {spent:.3g} of {found.get('alpha', 0.05):g}." if finite(spent) else said


def looks_rows(found: Found) -> list[list[str]]:
    """Every look, heads first; [] where none was kept."""
    rows: Sequence[Mapping[str, Any]] = found["looks"].get("rows") or []
    heads = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in heads] for row in rows]
    return [[head.replace("_", " ") for head in heads], *cells] if rows else []


def _cell(value: Any) -> str:
    """A cell of a table whose columns are not known beforehand."""
    if value is None or (isinstance(value, float) and not finite(value)):
        return UNKNOWN
    return f"{value:.3g}" if isinstance(value, float) else setting(value)


def _foreseen(found: Found) -> str | None:
    """The smallest effect that so many seeds were expected to resolve, before any was trained."""
    before = found.get("preflight") or {}
    if "smallest_effect" not in before:
        return None
    scale, least = Scale.of(found), before["smallest_effect"]
    if not finite(least) or (scale.unit and least >= 1):
        return "none, with so few seeds"
    return f"{scale.number(least)} {scale.unit}".strip()


def _p_source(found: Found) -> str:
    """How p came about, test by test where effects had different ones."""
    by_test: dict[str, list[Found]] = {}
    for effect in found["arms"]:
        by_test.setdefault(str(effect.get("test") or found.get("test")), []).append(effect)
    named = adjusted(found)
    end = f"It is {named}." if named.startswith("adjusted") else f"There is {named}."
    if len(by_test) < 2:
        return f"p: {_test_words(found, found['arms'], next(iter(by_test), ''))} {end}"
    parts = [
        f"For {_and(effects)}: {_test_words(found, effects, test, mixed=True)}" for test, effects in by_test.items()
    ]
    return f"p. {' '.join(parts)} {end}"


def _test_words(found: Found, effects: Sequence[Found], test: str, *, mixed: bool = False) -> str:
    own = {**found, "arms": effects}
    fewest, most = seed_range(own)
    if test == "sign_flip":
        return (
            f"the signs of the differences of {seed_words(own)} are flipped in {_ways(fewest, most)}, with the "
            f"uncertainty of the test pictures added to each flip; p is the share that lie as far from zero as what "
            f"was seen, or that of Student's t where it is larger."
        )
    small = mixed or 2.0 ** (1 - fewest) * len(found["arms"]) > found.get("alpha", 0.05)
    look = " and what a look may spend" if found.get("looks") else ""
    why = f" Flipping the signs of {seed_words(own)} cannot give a p small enough for {compared(found)}{look}."
    said = "Student's t for what few seeds leave uncertain, together with a normal part for what the test pictures do."
    return f"{said}{why if small else ''}"


def _ways(fewest: int, most: int) -> str:
    """In how many ways signs are flipped."""
    if fewest > ENUMERATED:
        return "many ways drawn at random"
    if fewest == most:
        return f"all {count(2**most)} ways"
    drawn = f" (of more than {ENUMERATED} seeds in many drawn at random)" if most > ENUMERATED else ""
    return f"all ways{drawn}"


def _and(effects: Sequence[Found]) -> str:
    *most, last = [str(effect["name"]) for effect in effects]
    return f"{', '.join(most)} and {last}" if most else last
