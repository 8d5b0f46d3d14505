"""A study of transfer as a page, a table and a picture: accuracy against pictures a class, and who overtakes whom."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netwright.records.atomic import write_atomic
from netwright.records.intervals import Interval
from netwright.report.html import Html, note, section, tag
from netwright.report.page import document
from netwright.report.tables import facts, table
from netwright.report.transfer_curves import figure, picture
from netwright.report.words import UNKNOWN, count, duration, plural, setting, split_name

HEADS = ("pictures a class", "way", "accuracy", "between seeds", "updates", "run", "images/s")
CASE_HEADS = ("task", "way", "data", "accuracy", "by chance", "between seeds", "test pictures", "run")
DIFFERENCE_HEADS = ("pictures a class", "ahead", "of", "percentage points", "told apart")
SEEDS = "between seeds"
FEW_SEEDS = 4  # Student's t with fewer degrees of freedom than 3 doubles intervals
Found = Mapping[str, Any]


def write(folder: Path) -> Path:
    """Write `transfer_study.html`, `.md` and, where there are curves, `.png` beside `transfer_study.json`."""
    found = json.loads((folder / "transfer_study.json").read_text("utf-8"))
    write_atomic(folder / "transfer_study.md", markdown(found))
    if found["study"] is not None:
        write_atomic(folder / "transfer_study.png", picture(found["study"]["rows"]))
    write_atomic(folder / "transfer_study.html", page(found))
    return folder / "transfer_study.html"


def page(found: Found) -> str:
    """The whole page."""
    study, cases = found["study"], found["cases"]
    title = f"How much to reuse of {found['model']} for {found['data']}"
    parts = [*(_study(study) if study else []), *(_cases(cases) if cases else []), *_protocol(found)]
    return document(title, tag("header", tag("h1", title)), tag("main", *parts))


def markdown(found: Found) -> str:
    """Tables and what they say in Markdown."""
    study, cases = found["study"], found["cases"]
    lines: list[str] = []
    if study:
        lines += [*_markdown(rows_of(study)), "", f"{legend(study)}.", ""]
        lines += [f"- {sentence}" for sentence in [*best_words(study), *crossing_words(study)]]
        lines += [f"- {words}" for words in study["left_out"]] + [""]
        lines += [*_markdown(difference_rows(study)), ""]
    if cases:
        lines += [*_markdown(case_rows(cases)), "", f"{case_legend(cases)}.", ""]
        lines += [f"- {sentence}" for sentence in [*case_words(cases), *cases["notes"]]] + [""]
    return "\n".join([*lines, f"{rule_words(found)} {interval_words(found)}", ""])


def rows_of(study: Found) -> list[Sequence[str]]:
    """The table in words, its heads first; one seed has no spread to show."""
    order = {size["asked"]: place for place, size in enumerate(study["sizes"])}
    rows = sorted(study["rows"], key=lambda row: order[row["size"]])
    return _without_spread([HEADS, *(_cells(row) for row in rows)], study["seeds"])


def case_rows(cases: Found) -> list[Sequence[str]]:
    """The five cases and their controls in words, heads first."""
    return _without_spread([CASE_HEADS, *(_case_cells(row) for row in cases["rows"])], cases["seeds"])


def difference_rows(study: Found) -> list[Sequence[str]]:
    """Paired differences at each size in words, heads first."""
    rows = [
        (
            _size_words(study, each["size"]),
            each["arm"],
            each["over"],
            _points(each),
            "yes" if each["resolved"] else "no",
        )
        for each in study["differences"]
    ]
    return [DIFFERENCE_HEADS, *rows]


def best_words(study: Found) -> list[str]:
    """At each size, which way was right most often and from which it is not told apart."""
    found: list[str] = []
    for size in study["sizes"]:
        rows = {row["arm"]: row["accuracy"]["value"] for row in study["rows"] if row["size"] == size["asked"]}
        best = max(rows, key=lambda arm: rows[arm])
        open_ = [
            each["over"]
            for each in study["differences"]
            if each["size"] == size["asked"] and each["arm"] == best and not each["resolved"]
        ]
        others = f"; not told apart from it: {', '.join(open_)}" if open_ else ""
        if len(rows) > 1:
            found.append(
                f"With {_size_words(study, size['asked'])} pictures a class, {best} was right most often{others}."
            )
    return found


def crossing_words(study: Found) -> list[str]:
    """From how many pictures a class one way is ahead of another, for every two of them."""
    return [_crossing(each) for each in study["crossings"]]


def case_words(cases: Found) -> list[str]:
    """What the differences of the cases allow to say."""
    return [_case_difference(each) for each in cases["differences"]]


def legend(study: Found) -> str:
    """What the columns of the table mean."""
    n, split, seeds = count(study["n"]), split_name(study["split"]), plural(study["seeds"], "seed")
    return (
        f"Accuracy on {n} {split} pictures, the mean of {seeds} with its 95 % interval. Between seeds: standard "
        "deviation in percentage points. Run: training and evaluation of one; features that stand still are computed "
        "once and kept, so that later runs take less"
    )


def case_legend(cases: Found) -> str:
    """What the columns of the cases mean."""
    much = "all training pictures" if cases["per_class"] is None else f"{cases['per_class']} pictures of each class"
    return (
        f"Accuracy is the mean of {plural(cases['seeds'], 'seed')} with its 95 % interval; near and far tasks train "
        f"on {much}. By chance: one over the number of classes. Random features and scratch reuse nothing: what they "
        "reach, the task gives away by itself"
    )


def rule_words(found: Found) -> str:
    """How long training is at each size."""
    rule = found["protocol"]
    return (
        "Every way trains for its recipe's epochs, and where these are fewer than "
        f"{plural(rule['updates'], 'update')} for as many epochs as make so many, though at most {rule['longest']} "
        "times its own. A seed decides the draw of the training pictures, in which those of a smaller size are among "
        "those of a larger, the first weights of what is not given, and the order of training. Weights come with their "
        "own input moments; random features and scratch take mean and deviation of all training pictures."
    )


def interval_words(found: Found) -> str:
    """What the intervals hold."""
    if found["seeds"] == 1:
        return "Intervals are over test pictures: one seed does not tell what another would change; try --seeds 5."
    few = f" {found['seeds']} seeds hardly tell their own spread: try --seeds 5." if found["seeds"] < FEW_SEEDS else ""
    return (
        "Intervals are over seeds and test pictures: pictures are resampled, and "
        f"{found['seeds']} seeds enter with the spread that Student's t gives so few. Differences are paired: same "
        "draw, same test picture. They hold neither another pool of training pictures nor that many comparisons are "
        f"made at once.{few}"
    )


def _study(study: Found) -> list[Html]:
    heads, *rows = rows_of(study)
    says = "Accuracy against pictures a class, a line a way with its 95 % band"
    words = [tag("p", sentence) for sentence in best_words(study)]
    left_out = [note(words) for words in study["left_out"]]
    parts = [section("figure", "Accuracy against data", figure(study["rows"], says=says), *words, *left_out)]
    if study["crossings"]:
        listed = tag("ul", *(tag("li", sentence) for sentence in crossing_words(study)))
        how = "On straight lines between the sizes measured, over the logarithm of pictures a class; 95 % intervals."
        parts.append(section("crossings", "Who overtakes whom", note(how), listed))
    drawn = table(_numbers(heads, 2), rows, caption="Every way at every size, 95 % intervals", class_="dense")
    parts.append(section("table", "What was reached and what it took", drawn, note(f"{legend(study)}.")))
    if study["differences"]:
        heads, *rows = difference_rows(study)
        drawn = table((*heads[:3], f"{heads[3]}#", heads[4]), rows, caption="Paired, 95 % intervals", class_="dense")
        parts.append(section("differences", "Differences", drawn))
    return parts


def _cases(cases: Found) -> list[Html]:
    heads, *rows = case_rows(cases)
    caption = "One's own task, and features and fine-tuning on a near and a far one, 95 % intervals"
    drawn = table(_numbers(heads, 3), rows, caption=caption, class_="dense")
    words = tag("ul", *(tag("li", sentence) for sentence in case_words(cases)))
    notes = [note(words) for words in cases["notes"]]
    return [section("cases", "The five cases", drawn, note(f"{case_legend(cases)}."), words, *notes)]


def _protocol(found: Found) -> list[Html]:
    shown: dict[str, object] = {name: found[name] for name in ("data", "model", "seeds")}
    shown |= {"weights": setting(found["weights"]), "image size": found["image_size"], "machine": found["device"]}
    names = ("optimizer", "schedule", "tricks", "epochs", "batch_size", "weights")
    rows = [
        [arm, *(setting(recipe.get(name)) for name in names)] for arm, recipe in found["protocol"]["recipes"].items()
    ]
    heads = ("way", *(name.replace("_", " ") for name in names))
    drawn = table(heads, rows, caption="The recipe of each way", class_="dense")
    return [
        section(
            "protocol", "Protocol", facts(shown), tag("p", rule_words(found)), tag("p", interval_words(found)), drawn
        )
    ]


def _cells(row: Found) -> Sequence[str]:
    return [
        _per_class(row["size"], row["per_class"]),
        row["arm"],
        Interval.from_json(row["accuracy"]).percent(),
        _spread(row),
        count(row["updates"]),
        duration(row["seconds"]),
        f"{row['images_per_second']:,.0f}",
    ]


def _case_cells(row: Found) -> Sequence[str]:
    return [
        row["task"],
        row["arm"],
        row["data"],
        Interval.from_json(row["accuracy"]).percent(),
        f"{100 * row['chance']:.0f} %",
        _spread(row),
        count(row["n"]),
        duration(row["seconds"]),
    ]


def _spread(row: Found) -> str:
    return UNKNOWN if row["seed_sd"] is None else f"sd {100 * row['seed_sd']:.1f}"


def _without_spread(rows: list[Sequence[str]], seeds: int) -> list[Sequence[str]]:
    if seeds > 1:
        return rows
    place = list(rows[0]).index(SEEDS)
    return [[*row[:place], *row[place + 1 :]] for row in rows]


def _points(each: Found) -> str:
    """A difference of accuracies in percentage points."""
    ahead = Interval.from_json(each["difference"])
    return f"{100 * ahead.value:.1f} [{100 * ahead.low:.1f}, {100 * ahead.high:.1f}]"


def _size_words(study: Found, asked: str) -> str:
    size = next(size for size in study["sizes"] if size["asked"] == asked)
    return _per_class(asked, size["per_class"])


def _per_class(asked: str, mean: float) -> str:
    """What was asked for, with what it comes to where classes have fewer."""
    return asked if asked == f"{mean:g}" else f"{asked} ({mean:.3g})"


def _crossing(each: Found) -> str:
    """One crossing in a sentence."""
    one, other = each["arm"], each["over"]
    least, most = (f"{each[name]:.3g}" for name in ("smallest", "largest"))
    if each["kind"] == "ahead":
        return f"{one} is ahead of {other} from the smallest size on, {least} pictures a class: no crossing was seen."
    if each["kind"] == "behind":
        return f"{one} does not overtake {other} up to {most} pictures a class."
    if each["kind"] == "open":
        return f"{one} over {other}: not resolved between {least} and {most} pictures a class."
    low = f"below {least}" if each["low"] == "before" else f"{each['low']:.3g}"
    high = f"beyond {most}" if each["high"] == "beyond" else f"{each['high']:.3g}"
    if each["value"] == "before":
        return f"{one} was ahead of {other} at every size, but may be so from {high} pictures a class on only."
    if each["value"] == "beyond":
        return f"{one} did not overtake {other} up to {most} pictures a class, but may do so from {low} on."
    return f"{one} overtakes {other} at {each['value']:.3g} pictures a class [{low}, {high}]."


def _case_difference(each: Found) -> str:
    where, points = f"{each['task'].capitalize()} task", f"{_points(each)} percentage points"
    if each["resolved"]:
        return f"{where}: {each['arm']} is ahead of {each['over']} by {points}."
    return f"{where}: {each['arm']} over {each['over']} is not resolved: {points}."


def _numbers(heads: Sequence[str], words: int) -> list[str]:
    """Heads whose columns after the first ones hold numbers."""
    return [head if place < words else f"{head}#" for place, head in enumerate(heads)]


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    heads, *rest = (f"| {' | '.join(cells)} |" for cells in rows)
    return [heads, f"|{' --- |' * len(rows[0])}", *rest]
