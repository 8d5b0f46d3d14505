"""What the data gate looks like in a terminal: a bar while pictures are decoded, then the findings, the worst first."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from netwright.data.gate.verdict import Finding, Item, Severity, Verdict
from netwright.report.words import count, plural, split_name

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "bold yellow", "note": "bold"}
HEADS: dict[Severity, str] = {"error": "to mend", "warning": "to look at", "note": "to know"}
MOST_CLASSES = 12
MOST_NAMES: dict[Severity, int] = {"error": 10, "warning": 10, "note": 0}


class Bar:
    """Pictures done and images a second, on stderr and only where somebody watches; called as progress is."""

    def __init__(self) -> None:
        self.done = 0
        columns = TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn()
        console = Console(stderr=True)
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task("decoding", total=None, start=False, visible=False)

    def __enter__(self) -> "Bar":
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        if not self.done:
            self.progress.start_task(self.task)
        self.done = done
        self.progress.update(self.task, completed=done, total=total, visible=True)


class _Speed(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """From the bar's own clock."""
        return Text(f"{task.speed or 0:.0f} images/s")


def tell(verdict: Verdict, steps: Sequence[str]) -> None:
    """Print a verdict, and what to do next."""
    console = Console(highlight=False)
    console.print(Text(_described(verdict)), soft_wrap=True)
    for line in _masks(verdict):
        console.print(Text(line), soft_wrap=True)
    for severity, head in HEADS.items():
        found = verdict.of(severity)
        if found:
            console.print(Text(f"\n{head}", STYLES[severity]))
        for finding in found:
            for line in _lines(finding, MOST_NAMES[severity]):
                console.print(line, soft_wrap=True)
    console.print(Text("\n") + Text(verdict.conclusion, STYLES["note" if verdict.passed else "error"]), soft_wrap=True)
    for step in steps:
        console.print(Text(step), soft_wrap=True)


def _described(verdict: Verdict) -> str:
    """The data in one line."""
    classes = len(next(iter(verdict.per_class.values()), {}))
    sides = [f"{split_name(side)} {count(n)}" for side, n in verdict.splits.items()] if classes else []
    speed = [f"{verdict.images_per_second:,.0f} images/s"] if verdict.images_per_second else []
    words = [plural(verdict.pictures, "picture"), *([plural(classes, "class", "classes")] if classes else [])]
    return f"{verdict.name}: {', '.join([*words, *sides, *speed])}"


def _masks(verdict: Verdict) -> list[str]:
    """How masks are understood, and for each class its share of the pixels."""
    masks = verdict.masks
    if not masks:
        return []
    shown = masks["classes"][:MOST_CLASSES]
    wide = max(map(len, shown), default=0)
    lines = [f"  {name:{wide}}  {_shares(verdict, name)}" for name in shown]
    rest = len(masks["classes"]) - len(shown)
    return [f"masks: {masks['encoding']}", *lines, *([f"  and {rest} more classes (--json has all)"] if rest else [])]


def _share(share: float) -> str:
    """With as many digits as small shares want."""
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.1f} %"


def _shares(verdict: Verdict, name: str) -> str:
    """`training 13.2 % of the pixels, in 100 pictures; …`."""
    sides = verdict.masks["pixels"]
    told = [
        f"{split_name(side)} {_share(each[name])}, in {plural(verdict.masks['pictures'][side][name], 'picture')}"
        for side, each in sides.items()
    ]
    return "; ".join(told)


def _lines(finding: Finding, most: int) -> list[Text]:
    shown = finding.examples[:most]
    rest = finding.count - len(shown)
    lines = [Text("  ") + Text(finding.title, STYLES[finding.severity] if finding.severity != "note" else "")]
    lines += [Text(f"    {finding.detail}", "dim")] if finding.detail else []
    lines += [Text(f"    {_told(each)}") for each in shown]
    lines += [Text(f"    and {count(rest)} more", "dim")] if shown and rest > 0 else []
    return [*lines, Text(f"    fix: {finding.fix}")] if finding.fix else lines


def _told(example: Sequence[Item]) -> str:
    """`0.jpg: truncated JPEG`, or `0.jpg (cat) ↔ 1.jpg (cat, flipped)`."""
    if len(example) == 1:
        return f"{example[0].name}: {example[0].says}" if example[0].says else example[0].name
    return " ↔ ".join(map(_beside, example))


def _beside(item: Item) -> str:
    side = "" if item.name.lower().startswith(item.side) else split_name(item.side)
    words = ", ".join(word for word in (side, item.label, item.says) if word)
    return f"{item.name} ({words})" if words else item.name
