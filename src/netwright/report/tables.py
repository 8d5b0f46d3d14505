"""Tables: the one way to write them, and those that need more than one line."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.records.intervals import Interval
from netwright.report.confusion import ClassResult, Counts
from netwright.report.html import Html, join, tag
from netwright.report.words import UNKNOWN, count, measured, metric_name, setting, split_name

SHOWN = 40  # rows before the rest is folded away
SOURCES = {"user": "you", "recipe": "recipe", "auto": "chosen for you", "checkpoint": "checkpoint"}


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str, class_: str = "") -> Html:
    """A table whose first column names the rows; a head that ends in # stands over numbers."""
    names = [head.rstrip("#") for head in heads]
    kinds = ["number" if head.endswith("#") else None for head in heads]
    top = tag("tr", *(tag("th", head, scope="col", class_=kind) for head, kind in zip(names, kinds, strict=True)))
    body = [_row(row, kinds) for row in rows]
    parts = (tag("caption", caption), tag("thead", top), tag("tbody", *body))
    return _scrolling(tag("table", *parts, class_=class_ or None), caption)


def long_table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str, class_: str = "") -> Html:
    """A table whose later rows are folded away."""
    if len(rows) <= SHOWN + 5:
        return table(heads, rows, caption=caption, class_=class_)
    rest = table(heads, rows[SHOWN:], caption=f"{caption}, continued", class_=class_)
    folded = tag("details", tag("summary", f"{count(len(rows) - SHOWN)} more"), rest)
    return join(table(heads, rows[:SHOWN], caption=caption, class_=class_), folded)


def facts(pairs: Mapping[str, object]) -> Html:
    """Short facts side by side; what is not known is left out."""
    known = {name: value for name, value in pairs.items() if value not in (None, "", UNKNOWN)}
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in known.items()), class_="facts")


def metrics_table(splits: Mapping[str, Mapping[str, Any]]) -> Html:
    """Every metric of every split with its interval."""
    order = sorted(splits, key=lambda name: ("test", "val", "train", name).index(name))
    metrics = list(dict.fromkeys(metric for split in order for metric in splits[split]))
    rows = [[metric_name(metric), *(_cell(metric, splits[split].get(metric)) for split in order)] for metric in metrics]
    return table(["", *(f"{split_name(split)}#" for split in order)], rows, caption="Final metrics, 95 % intervals")


def confusion_table(counts: Counts, classes: Sequence[str]) -> Html:
    """The confusion matrix as a table one can read aloud: rows are the truth, columns the guess."""
    columns = (tag("th", tag("span", name), scope="col") for name in classes)
    top = tag("tr", tag("th", "truth ↓ guess →", scope="col", class_="corner"), *columns)
    rows = (_confusion_row(index, counts[index], name) for index, name in enumerate(classes))
    caption = "Counts; the deeper the colour, the larger the share of the row"
    parts = (tag("caption", caption), tag("thead", top), tag("tbody", *rows))
    return _scrolling(tag("table", *parts, class_="confusion"), "Confusion matrix")


def class_table(results: Sequence[ClassResult], classes: Sequence[str]) -> Html:
    """Recall and precision of every class, the weakest first."""
    rows = [_class_row(result, classes) for result in results]
    heads = ("class", "images#", "recall#", "precision#", "most often taken for")
    return long_table(heads, rows, caption="By class, lowest recall first, 95 % intervals")


def recipe_table(recipe: Mapping[str, Any], sources: Mapping[str, str]) -> Html:
    """Every value of the recipe and who chose it; what the user chose stands out."""
    rows = [_recipe_row(field, value, sources) for field, value in recipe.items()]
    return table(("setting", "value", "chosen by"), rows, caption="Every setting of this run", class_="recipe")


def _row(cells: Sequence[object], kinds: Sequence[str | None]) -> Html:
    rest = zip(cells[1:], kinds[1:], strict=True)
    return tag("tr", tag("th", cells[0], scope="row"), *(tag("td", cell, class_=kind) for cell, kind in rest))


def _scrolling(inner: Html, label: str) -> Html:
    # A wide table scrolls by itself instead of the page; tabindex lets the keyboard do it.
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=label)


def _cell(metric: str, fields: object) -> object:
    return measured(metric, Interval.from_json(fields)) if isinstance(fields, dict) else UNKNOWN


def _confusion_row(index: int, row: Counts, name: str) -> Html:
    total = max(1, int(row.sum()))
    cells = (_confusion_cell(int(n), int(n) / total, column == index) for column, n in enumerate(row))
    return tag("tr", tag("th", name, scope="row"), *cells)


def _confusion_cell(n: int, share: float, right: bool) -> Html:
    if n == 0:
        return tag("td", "·", class_="zero")
    # The root lifts rare mistakes into sight: linear, one in a hundred would be white. From one half on the text turns.
    depth = round(100 * share**0.5)
    names = ("right" if right else "wrong") + (" deep" if share >= 0.5 else "")
    return tag("td", n, class_=names, style=f"--depth:{depth}%")


def _class_row(result: ClassResult, classes: Sequence[str]) -> Sequence[object]:
    other = UNKNOWN
    if result.confused_with is not None:
        times = tag("span", f" {count(result.confused)} ×", class_="range")
        other = join(tag("bdi", classes[result.confused_with]), times)
    cells = (measured("accuracy", result.recall), measured("accuracy", result.precision))
    return (tag("bdi", classes[result.index]), count(result.n), *cells, other)


def _recipe_row(field: str, value: Any, sources: Mapping[str, str]) -> Sequence[object]:
    parts, whole = _parts(value), sources.get(field, "")
    inner = {name: sources[f"{field}.{name}"] for name in parts if f"{field}.{name}" in sources}
    if not inner:
        return (field, _bold(setting(value), whole), _chooser(whole))
    listing = isinstance(value, list | tuple)
    shown = _between(", ", [_bold(text, inner.get(name, "")) for name, text in parts.items()])
    choosers = [join(f"{name}: ", _chooser(source)) for name, source in inner.items()]
    if not listing:  # the name has a chooser of its own; a list is but its items
        shown = join(_bold(Spec.parse(value).name, whole), "(", shown, ")")
        choosers.insert(0, _chooser(whole))
    return (field, shown, _between("; ", choosers))


def _parts(value: Any) -> dict[str, str]:
    """What inside a value may have a source of its own: the options of a spec, or the specs of a list, as written."""
    with suppress(NetwrightError):
        if isinstance(value, list | tuple):
            return {Spec.parse(item).name: item for item in value if isinstance(item, str)}
        if isinstance(value, str):
            options = sorted(Spec.parse(value).options.items())
            return {name: str(Spec("", {name: option}))[1:-1] for name, option in options}
    return {}


def _bold(text: str, source: str) -> Html:
    return tag("strong", text) if source == "user" else join(text)


def _chooser(source: str) -> Html:
    words = SOURCES.get(source, source or UNKNOWN)
    return tag("strong", words, class_="user") if source == "user" else join(words)


def _between(separator: str, children: Sequence[Html]) -> Html:
    return Html(separator.join(children))
