"""What a run looks like in a terminal: live progress where there is one, a line an epoch where there is not."""

import os
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from netwright.engine.loop import Watcher
from netwright.engine.run import Run
from netwright.report.words import SHARES

PLURAL = {"val": "validation"}


class Display(Watcher):
    """Tells what will be trained, how it goes, and what came out."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.progress: Progress | None = None

    def decoding(self, done: int, total: int) -> None:
        """Say how many pictures are read; the cache makes this a thing of the first run."""
        if done == total or (self.console.is_terminal and done % 50 == 0):
            self.console.print(f"reading pictures: {done} of {total}", end="\n" if done == total else "\r")

    def started(self, run: Run) -> None:
        """Say what was decided, and start the bar."""
        profile = run.profile
        layout = "channels_last" if profile.channels_last else "contiguous"
        self.console.print(
            f"{profile.name}: {profile.device}, {profile.precision}, {layout}, threads: {profile.threads}"
        )
        self.console.print(f"batches of {run.loader.batch_size}, peak learning rate {run.optimizer.lr:g}")
        self.console.print(f"tricks: {', '.join(str(trick.spec) for trick in run.tricks) or 'none'}")
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
                BarColumn(),
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[numbers]}"),
                _Speed(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self.progress.start()
            fields: dict[str, Any] = {"epoch": run.epoch + 1, "epochs": run.epochs, "batch": run.loader.batch_size}
            self.task = self.progress.add_task("train", total=run.steps, completed=run.step, numbers="", **fields)

    def told(self, words: str) -> None:
        """Say it above the bar."""
        self.console.print(f"note: {_plain(words)}", soft_wrap=True)

    def stepped(self, run: Run) -> None:
        """Move the bar."""
        if self.progress is not None:
            numbers = f"loss {float(run.passed.loss):.3f}{_latest(run)}"
            self.progress.update(self.task, completed=run.step, epoch=run.epoch + 1, numbers=numbers)

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        """A line for each epoch where nobody watches a bar."""
        if self.progress is None:
            self.console.print(epoch_line(run, row), soft_wrap=True)
        elif run.stopped or run.epoch >= run.epochs:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def conclude(self, result: Any) -> None:
        """What came out, where it is, and what to do next."""
        record = result.record
        for note in record["data"].get("notes", []):
            self.console.print(f"note: {_plain(note)}")
        left_out = record["data"].get("quarantined", [])
        if left_out:
            self.console.print(f"left out: {len(left_out)} files that cannot be read (all of them are in the report)")
        for file in left_out[:10]:
            self.console.print(f"  {_plain(file['name'])}: {_plain(file['reason'])}", soft_wrap=True)
        print_metrics(record["result"]["splits"], self.console)
        speed = record["result"]["images_per_second"]
        self.console.print(
            f"{record['seconds']:.1f} s in all" + (f", {speed:.0f} images/s while training" if speed else "")
        )
        folder = _plain(shlex.quote(_short(result.path)))
        self.console.print(f"run: {folder} (its report.html opens in a browser)", soft_wrap=True)
        self.console.print("next:")
        for line in _uses(record["recipe"], folder):
            self.console.print(f"  netwright {line}", soft_wrap=True)
        self.console.print(f"  netwright show {folder}", soft_wrap=True)


def _uses(recipe: dict[str, Any], folder: str) -> list[str]:
    """Verbs that can be done with what a recipe trained."""
    if recipe["task"] != "reconstruction":
        return [f"predict {folder} PICTURE…"]
    if str(recipe.get("model")).startswith("conditional_"):  # its codes want the class of each picture
        return [f"generate {folder}", f"synthesize {folder}"]
    return [f"embed {folder} PICTURE…"]


class _Speed(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """From the bar's own clock."""
        return Text(f"{(task.speed or 0) * task.fields['batch']:.0f} images/s")


def print_metrics(splits: dict[str, Any], console: Console | None = None) -> None:
    """A table of metrics with their 95 % intervals, one row a split and metric."""
    table = Table("split", "metric", "value", "95 % interval", "n", box=None, pad_edge=False, header_style="bold")
    for split, metrics in splits.items():
        for name, m in metrics.items():
            value, interval = formatted(name, m)
            table.add_row(PLURAL.get(split, split), name, value, interval, str(m["n"]))
    (console or Console(highlight=False)).print(table)


def formatted(name: str, metric: dict[str, Any]) -> tuple[str, str]:
    """A metric's value and interval; proportions in per cent."""
    percent = metric["method"] == "wilson" or name in SHARES
    value, low, high = (_number(metric[key], percent) for key in ("value", "low", "high"))
    return (f"{value} %", f"{low} – {high} %") if percent else (value, f"{low} – {high}")


def _number(value: float | None, percent: bool) -> str:
    """A value, or a dash where too few samples tell none."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if percent else f"{value:.3f}"


def epoch_line(run: Run, row: dict[str, Any]) -> str:
    """An epoch in one line."""
    parts = [f"epoch {row['epoch']:>{len(str(run.epochs))}}/{run.epochs}", f"loss {row['train_loss']:.3f}"]
    parts += [f"val loss {row['val_loss']:.3f}"] if "val_loss" in row else []
    parts += [found] if (found := _validated(row)) else []
    return "  ".join([*parts, f"lr {row['lr']:.3g}", f"{row['images_per_second']:.0f} images/s"])


def _latest(run: Run) -> str:
    found = _validated(run.history[-1]) if run.history else ""
    return f"  {found}" if found else ""


def _validated(row: dict[str, Any]) -> str:
    """Accuracy, the overlap of masks or the quality of reconstructions on the validation split; or nothing."""
    if "val_psnr" in row:
        used = f"  {row['val_active_units']:.0f} active units" if "val_active_units" in row else ""
        return f"val PSNR {row['val_psnr']:.1f} dB{used}"
    if "val_accuracy" in row:
        return f"val accuracy {100 * row['val_accuracy']:.1f} %"
    return f"val IoU {100 * row['val_iou']:.1f} %" if "val_iou" in row else ""


def _plain(text: str) -> str:
    """Text that rich does not read as markup: class names and paths are the user's."""
    return str(text).replace("[", "\\[")


def _short(path: Path) -> str:
    """Relative to here where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
