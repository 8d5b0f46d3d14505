"""What an ablation says in words and rows: the answer, and the table."""

from collections.abc import Sequence
from typing import Any

from netwright.report.ablation_terms import (
    LOSS,
    Found,
    Scale,
    adjusted,
    both,
    failures,
    finite,
    interval_of,
    margin_words,
    picture_words,
    ratio,
    seed_words,
)
from netwright.report.words import UNKNOWN, metric_name, plural, setting

HELPS, HARMS, NO_DIFFERENCE, NOT_RESOLVED = "helps", "harms", "no difference larger than", "not resolved"
TELL = "could tell from"
HEADS = ("effect", "p", "verdict", "seeds", "time")
MORE_HEADS = ("memory", "loss", "calibration", TELL)
NOTHING = ["Nothing was compared: the plan had no arm beside the baseline."]
NOUNS = {"leave_one_out": "trick", "one_at_a_time": "trick", "factorial": "effect", "arms": "arm"}


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
    scale, listed, failed = Scale.of(found), effects(found), _not_trained(found)
    if not listed:
        return ["Nothing can be compared: no arm beside the baseline was trained.", *failed] if failed else NOTHING
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
    return [*said, *([f"Not resolved: {'; '.join(parts)}."] if parts else []), *failed]


def rows_of(found: Found) -> list[list[str]]:
    """The table in words for a terminal, its heads first."""
    scale = Scale.of(found)
    heads = [NOUNS.get(found["kind"], "arm"), _effect_head(found, scale), *HEADS[1:]]
    return [heads, *(_cells(effect, scale) for effect in effects(found))]


def whole_rows(found: Found) -> list[list[str]]:
    """The same with the interval of times, and what more is known, for pages; columns that say nothing are left out."""
    heads, *rows = rows_of(found)
    scale, table = Scale.of(found), [[*heads, *MORE_HEADS]]
    for row, effect in zip(rows, effects(found), strict=True):
        table.append([*row[:-1], _time(effect), *_more_cells(effect, scale)])
    known = [{row[place] for row in table[1:]} for place in range(len(table[0]))]
    nothing = ({UNKNOWN}, {"×1.00"}, {UNKNOWN, "×1.00"})
    kept = [place for place in range(len(table[0])) if known[place] not in nothing or place < len(heads)]
    return [[row[place] for place in kept] for row in table]


def words(found: Found) -> list[str]:
    """What is printed beside the table at the end: the answer, then what its numbers cover and what was noted."""
    short = f"Intervals: 95 %, over {seed_words(found)} and {picture_words(found)}; p: {adjusted(found)}."
    return [*answer(found), short, *_warning(found), *found.get("notes", [])]


def legend(found: Found) -> str:
    """What the columns of the table mean."""
    named = {"points": "in percentage points", "dB": "in dB of PSNR"}
    unit = named.get(Scale.of(found).unit, f"in {metric_name(found['metric'])}")
    heads = whole_rows(found)[0]
    said = [
        f"Effect: {unit} on {picture_words(found)}, with its 95 % interval over seeds and pictures.",
        f"p: {adjusted(found)}.",
        f"{'Time, memory' if 'memory' in heads else 'Time'}: of a run with it over one without.",
    ]
    if found.get("processes") != 1:
        said.append("Runs beside each other disturb one another's times.")
    if {"loss", "calibration"} & set(heads):
        said.append("Loss, and calibration error in percentage points: with it less without it; below zero is better.")
    if TELL in heads:
        said.append(_tell_words(found))
    return " ".join([*said, *_warning(found)])


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
    where = f"On {found['data']} with {setting(found.get('model'))}, {seed_words(found)}"
    return f"{where}: {_together(parts, forms[kinds[0]], len(kinds), NOUNS.get(found['kind'], 'arm'))}."


def _together(parts: Sequence[str], forms: tuple[str, str], count: int, noun: str) -> str:
    """All effects in a clause; `forms` are the verb of the first, for one and for several."""
    one, many = forms
    if count == 1:
        return f"one {noun} was tried, and it {one}"
    if len(parts) > 1:
        return f"of {plural(count, noun)} {', '.join(parts[:-1])} and {parts[-1]}"
    if many == "are not resolved":
        return f"neither of the two {noun}s is resolved" if count == 2 else f"none of {plural(count, noun)} is resolved"
    return f"{'both' if count == 2 else f'all {count}'} {noun}s {many}"


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


def _more_cells(effect: Found, scale: Scale) -> list[str]:
    loss, calibration = interval_of(effect.get("loss")), interval_of(effect.get("calibration"))
    share = Scale(100.0, 1, "points")
    cells = [ratio(effect.get("memory_ratio")), LOSS.difference(loss), share.difference(calibration)]
    return [*cells, scale.number(effect.get("resolvable"))]


def _time(effect: Found) -> str:
    """`×1.04 [0.98, 1.10]`, or without the interval where there is none."""
    seen = interval_of(effect.get("time"))
    if not all(map(finite, (seen.value, seen.low, seen.high))):
        return ratio(effect.get("time_ratio"))
    return f"{ratio(seen.value)} [{seen.low:.2f}, {seen.high:.2f}]"


def _tell_words(found: Found) -> str:
    unit = Scale.of(found).unit
    size = f"the size of effect, in {unit}," if unit else "the size of effect"
    said = f"Could tell from: {size} that these runs show four times of five, by the deviations measured"
    nothing = any(not finite(each.get("resolvable")) for each in found["arms"])
    return f"{said}; {UNKNOWN}: no size of effect, with so few seeds." if nothing else f"{said}."


def _warning(found: Found) -> list[str]:
    """Against adding the seeds that the table asks for and then looking again."""
    if not any(kind_of(each) == NOT_RESOLVED and finite(each.get("more_seeds")) for each in found["arms"]):
        return []
    said = "Choose the number of seeds beforehand, or use --until-resolved: adding seeds until something is resolved"
    said = "Adding seeds beyond the looks that were planned" if found.get("looks") else said
    return [f"{said} breaks the {100 * found.get('alpha', 0.05):g} %."]


def _not_trained(found: Found) -> list[str]:
    named = [f"{name} ({reason.removesuffix('.')})" for name, reason in failures(found)]
    return [f"Not trained: {'; '.join(named)}."] if named else []


def _effect_head(found: Found, scale: Scale) -> str:
    return f"{metric_name(found.get('metric', 'accuracy'))}{f', {scale.unit}' if scale.unit else ''}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
