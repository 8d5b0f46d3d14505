"""How an ablation was measured, in words: what an effect is, what intervals cover, how verdicts come about, on what."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.report.ablation_words import (
    Found,
    Scale,
    compared,
    finite,
    margin_words,
    picture_words,
    seed_count,
    seed_words,
)  # fmt: skip
from netwright.report.words import count, duration, plural, setting, split_name

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


def measured_words(found: Found) -> list[str]:
    """How it was measured: what an effect is, what was paired, what was equal."""
    paired = (
        "Runs are paired: every seed has the same split, order of the data and first weights (where shapes allow) in "
        f"every arm, and the same {picture_words(found)} are looked at."
    )
    return [text for text in (KINDS.get(found["kind"]), EQUAL.get(str(found.get("equal"))), paired) if text]


def coverage_words(found: Found) -> list[str]:
    """What each interval covers, and what none does."""
    seeds, pictures = seed_words(found), picture_words(found)
    few = (
        " One seed does not tell what another would change; intervals are over pictures alone."
        if seed_count(found) == 1
        else ""
    )
    return [
        f"Over both (thick line): what other seeds and other test pictures would change. This one counts.{few}",
        f"Over seeds (thin line through the dots, one dot a seed): other seeds on these {pictures}.",
        f"Over pictures (dashed line): other test pictures for these {seeds}.",
        "No interval covers another pool of training pictures, another network or other data.",
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
        "would resolve an effect of the size seen in 8 of 10 tries; where test pictures limit it, seeds would not.",
    ]


def below(found: Found) -> str:
    """Under the title: data, network, seeds, runs, time."""
    pictures = ", ".join(f"{count(n)} {split_name(side)}" for side, n in (found.get("pictures") or {}).items() if n)
    runs = f"{count(found.get('runs') or 0)} runs, {duration(found.get('run_seconds'))} in all"
    parts = [
        f"{found['data']}: {pictures} pictures" if pictures else found["data"],
        setting(found.get("model")), plural(seed_count(found), "seed"), runs, found.get("device"),
    ]  # fmt: skip
    return " · ".join(str(part) for part in parts if part)


def protocol(found: Found) -> dict[str, object]:
    """The facts of how it ran."""
    before = found.get("preflight") or {}
    least = before.get("smallest_effect")
    scale = Scale.of(found)
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
        "smallest effect that it could resolve": f"{scale.number(least)} {scale.unit}" if finite(least) else None,
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


def _p_source(found: Found) -> str:
    n, k = seed_count(found), len(found["arms"])
    holm = f"It is adjusted for {compared(found)} (Holm 1979)."
    if found.get("test") == "sign_flip":
        flips = f"all {count(2**n)} ways" if n <= 16 else "many ways drawn at random"
        return (
            f"p: the signs of the {n} seeds' differences are flipped in {flips}, with the uncertainty of the test "
            f"pictures added to each flip; p is the share that lie as far from zero as what was seen, or that of "
            f"Student's t where it is larger. {holm}"
        )
    small = 2.0 ** (1 - n) * k > found.get("alpha", 0.05)
    why = (
        f" Flipping the signs of {plural(n, 'seed')} cannot give a p small enough for {plural(k, 'comparison')}."
        if small
        else ""
    )
    return (
        "p: Student's t for what few seeds leave uncertain, together with a normal part for what the test pictures do."
        f"{why} {holm}"
    )
