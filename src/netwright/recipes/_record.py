"""The record of a run: what `record.json` says, from its first second to its last."""

import math
import platform
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import torch

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.data.split import Split
from netwright.engine.device import Profile
from netwright.engine.loop import Watcher
from netwright.engine.run import NonFiniteError, Run
from netwright.recipes._assemble import Parts
from netwright.recipes._inputs import Inputs
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.plain import json_text
from netwright.records.schema import FORMAT, ResumedRecord

NON_FINITE = "non_finite.json"  # the newest batch whose loss or gradient was not a number
NOTED = ("torch", "torchvision", "timm", "numpy", "pillow", "netwright")


class Record:
    """Writes `record.json` and passes the training loop's events on, writing metrics on the way."""

    def __init__(
        self,
        folder: RunFolder,
        parts: Parts,
        *,
        started: float,
        command: str,
        before: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.parts = parts
        self.started = started
        self.first_step: float | None = None
        self.before = before or {}
        self.id: str = self.before.get("id") or token_hex(8)
        self.resumed: list[ResumedRecord] = self.before.get("resumed", [])
        self.training_seconds = 0.0
        self.images = 0
        self.behind = False
        self.result: dict[str, Any] = {}
        self.command = command
        self.versions = versions()
        self.git = git_state(Path.cwd())

    def write(self, status: str, problem: str = "") -> None:
        """Put the record on disk as it stands."""
        recipe, run = self.parts.recipe, self.parts.run
        self.folder.write_record(
            {
                "format": FORMAT,
                "netwright": self.versions.get("netwright", ""),
                "name": self.folder.path.name,
                "id": self.id,
                "status": status,
                "problem": problem,
                "created": self.before.get("created") or _iso(self.started),
                "finished": None if status == "running" else _iso(time.time()),
                "seconds": self.before.get("seconds", 0.0) + time.time() - self.started,
                "command": self.before.get("command") or self.command,
                "recipe": recipe.model_dump(mode="json"),
                "sources": recipe.sources,
                "key": recipe.key,
                "seed": recipe.seed,
                "data": self.parts.inputs.record,
                "model": {
                    "name": recipe.model if self.parts.spec else type(run.model).__name__,
                    "params": sum(p.numel() for p in run.model.parameters()),
                    "trained": sum(p.numel() for p in run.optimizer.parameters),
                    "macs": self.parts.macs,
                    "spec": self.parts.spec,
                },
                "own": self.parts.own,
                "tricks": [_trick(text, recipe.sources) for text in recipe.tricks],
                "device": processor(run.profile),
                "versions": self.versions,
                "git": self.git,
                "resumed": self.resumed,
                "result": self.speed() | self.result,
            }
        )

    def close(self, status: str, problem: str = "") -> None:
        """The last word on a run: record, metrics that are missing still, log and store.

        Raises:
            NetwrightError: the record could not be written.
        """
        self.write(status, problem)
        with suppress(NetwrightError):
            self.add_metrics()
        self.log(f"{status} {problem}".strip())
        self.register(status)

    def log(self, words: str) -> None:
        """Add to the log; on a full disk the run is worth more."""
        with suppress(NetwrightError):
            self.folder.log(words)

    def add_metrics(self, *rows: dict[str, Any]) -> None:
        """Append the newest row, if there is one, and before it those that the disk had no room for.

        Raises:
            NetwrightError: there is no room; the next call tries again.
        """
        behind, self.behind = self.behind, True
        if behind:
            self.folder.write_metrics(self.parts.run.history)
        else:
            for row in rows:
                self.folder.append_metrics(row)
        self.behind = False

    def register(self, status: str) -> None:
        """Put the ended run into the store beside its folder. A store that cannot be written loses no run."""
        from netwright.records.store import RunStore  # SQLAlchemy takes a third of a second, which can wait until now

        recipe = self.parts.recipe
        try:
            store = RunStore.beside(self.folder.path.parent)
            number = store.add(
                key=recipe.key,
                name=self.folder.path.name,
                path=self.folder.path.resolve(),
                recipe=recipe.model_dump(mode="json"),
                seed=recipe.seed,
                model=recipe.model,
                data=self.parts.inputs.record.get("fingerprint", ""),
            )
            store.finish(number, status=status, metrics=self.result.get("splits", {}))
        except NetwrightError as error:
            self.log(f"the run store was not written: {error}")

    def speed(self) -> dict[str, Any]:
        """How far the run came, and how fast."""
        run, then = self.parts.run, self.before.get("result", {})
        return {
            "epochs": run.epoch,
            "steps": run.step,
            "stopped": run.stopped,
            "skipped": run.skipped,
            "rollbacks": run.rollbacks,
            "seconds_to_first_step": then.get("seconds_to_first_step") or self.first_step,
            "images_per_second": self.images / self.training_seconds
            if self.training_seconds
            else then.get("images_per_second"),
        }

    def watching(self, watcher: Watcher) -> Watcher:
        """A watcher that writes metrics and then tells `watcher`."""
        return _Recording(self, watcher)


class _Recording(Watcher):
    def __init__(self, record: Record, watcher: Watcher) -> None:
        self.record = record
        self.watcher = watcher

    def started(self, run: Run) -> None:
        """Log what was decided."""
        profile = run.profile
        self.record.folder.log(f"{self.record.command or 'fit'}: from step {run.step} of {run.steps}")
        self.record.folder.log(f"{profile.name}, {profile.device}: {'; '.join(profile.why)}")
        for note in self.record.parts.inputs.record.get("notes", []):
            self.record.folder.log(f"note: {note}")
        self.watcher.started(run)

    def stepped(self, run: Run) -> None:
        """Note when the first step was done."""
        if self.record.first_step is None:
            self.record.first_step = time.time() - self.record.started
        self.watcher.stepped(run)

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        """Write the epoch's metrics."""
        self.record.training_seconds += row["seconds"]
        self.record.images += round(row["images_per_second"] * row["seconds"])
        self._write(run, row)
        self.watcher.epoch_done(run, row)
        for name in (name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)):
            self.told(f"{name} is {row[name]} after epoch {run.epoch}")

    def non_finite(self, run: Run, error: NonFiniteError) -> None:
        """Keep which pictures were in the batch, and tell what becomes of it; if the run ends, the error will."""
        samples = named_samples(self.record.parts.inputs, error.ids)
        path = self.record.folder.path / NON_FINITE
        with suppress(NetwrightError):  # on a full disk the run is worth more
            write_atomic(path, json_text({"problem": error.problem, **error.numbers, "samples": samples}, indent=1))
            error.fix += f"; the batch's pictures are named in {path}"
        if error.answer:
            self.told(f"{error.problem}; {error.answer} ({NON_FINITE} names its pictures)")
        self.watcher.non_finite(run, error)

    def told(self, words: str) -> None:
        """Log it too."""
        self.record.log(words)
        self.watcher.told(words)

    def _write(self, run: Run, row: dict[str, Any]) -> None:
        try:
            self.record.add_metrics(row)
        except NetwrightError as error:
            self.told(f"the metrics of epoch {run.epoch} could not be written, and will be with the next: {error}")
        else:
            self.record.log(", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "kind"))


def processor(profile: Profile) -> dict[str, Any]:
    """Where and how a run is computed, with all of it that decides how numbers round."""
    return profile.to_json() | {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),
    }


def named_samples(inputs: Inputs, ids: list[int]) -> list[dict[str, Any]]:
    """Training samples by id and name; a repeated view of a sample has an id of its own and no name."""
    held = inputs.splits["train"]
    known = held.ids if isinstance(held, Split) else np.arange(len(held))
    places = {int(known[place]): int(place) for place in np.flatnonzero(np.isin(known, ids))}
    names = inputs.names("train") if places else []
    return [{"id": number, "name": names[places[number]] if number in places else None} for number in ids]


def versions() -> dict[str, str]:
    """Of Python and of the libraries that decide numbers; none of them is imported."""
    found = {"python": platform.python_version()}
    for name in NOTED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit a folder is at and whether it has changes, or None outside a checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=5)
    return done.stdout.strip()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _trick(text: str, sources: dict[str, Any]) -> dict[str, str]:
    name = Spec.parse(text).name
    return {"name": name, "spec": text, "source": sources.get(f"tricks.{name}", "recipe")}
