"""A run is a folder: what was asked, what came out, and everything needed to go on. One run, one folder, one lock."""

import os
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError, nearest
from netwright.records import lock
from netwright.records.atomic import disk_errors, drop_orphans, write_atomic
from netwright.records.plain import json_text

STAMP = "%Y%m%d-%H%M%S"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run; `records/schema.py` says what is in them.

    `create` makes a folder and locks it; `open` is for reading, and needs `lock` before writing. Both can be used in a
    `with` block, which gives the lock back at its end.
    """

    path: Path

    @classmethod
    def create(cls, output: Path, name: str) -> "RunFolder":
        """A new, locked folder `output/<date>-<time>-<name>`; one that exists is never used again.

        Raises:
            NetwrightError: the disk is full or not writable, or `output` is a file.
        """
        output = _expanded(output)
        stem = f"{_stamp(output)}-{_file_name(name)}"
        run = cls(output / stem)
        for number in count(2):
            if run._made():
                break
            run = cls(output / f"{stem}-{number}")
        run.lock()
        return run

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The run in an existing folder, without taking its lock.

        Raises:
            NetwrightError: there is no run; the fix names the nearest or the newest one.
        """
        path = _expanded(path)
        run = cls(path)
        with _looking_at(path):
            if run.record_file.is_file() or run.lock_file.is_file():
                return run
            problem = f"{path} is not a run folder" if path.exists() else f"there is no run {path}"
            raise NetwrightError(problem, _instead_of(path))

    @classmethod
    def newest(cls, output: Path) -> "RunFolder":
        """The run that was started last in an output folder.

        Raises:
            NetwrightError: there is none.
        """
        output = _expanded(output)
        with _looking_at(output):
            runs = _runs_in(output)
        if not runs:
            raise NetwrightError(f"there is no run in {output}", "train one first, or pass another --output")
        return cls(runs[-1])

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def record_file(self) -> Path:
        """The run in one JSON file: recipe, seed, data, model, versions, results."""
        return self.path / "record.json"

    @property
    def metrics_file(self) -> Path:
        """One JSON row an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        """What was said while training."""
        return self.path / "log.txt"

    @property
    def lock_file(self) -> Path:
        """Who writes here; empty when nobody does."""
        return self.path / "lock"

    @property
    def checkpoints(self) -> Path:
        """The folder of what a run is resumed from."""
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        """The folder of the model to hand on; whoever saves a bundle makes it."""
        return self.path / "bundle"

    @property
    def samples(self) -> Path:
        """The folder of pictures: augmented images, the worst mistakes, and what the network sees."""
        return self.path / "samples"

    @property
    def evaluation_file(self) -> Path:
        """Probabilities and labels of the headline split."""
        return self.path / "evaluation.npz"

    @property
    def report_file(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    def lock(self) -> None:
        """Become the only writer, and clear away what killed ones left half written.

        Raises:
            NetwrightError: another process is; its number is named.
        """
        lock.acquire(self.lock_file)
        with disk_errors(self.path):
            drop_orphans(self.path)

    def close(self) -> None:
        """Give the lock back."""
        lock.release(self.lock_file)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(NetwrightError):  # nothing is left to write, and a dead process holds no lock
            self.close()

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace `record.json`, atomically."""
        write_atomic(self.record_file, json_text(record, indent=1) + "\n")

    def record(self) -> dict[str, Any]:
        """What `write_record` wrote last.

        Raises:
            NetwrightError: there is no record yet, or it cannot be read.
        """
        try:
            record = parsed(self.record_file.read_bytes())
            if not isinstance(record, dict):
                raise ValueError("it holds no record")
        except (OSError, ValueError) as error:
            fix = "the run was stopped before it wrote one, or the file was changed; train again"
            raise NetwrightError(f"cannot read {self.record_file}: {error}", fix) from error
        return record

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one row to `metrics.jsonl`; it is on disk when this returns."""
        _append(self.metrics_file, json_text(row))

    def metrics(self) -> list[dict[str, Any]]:
        """Every row so far; a line that a crash cut short is left out."""
        if not self.metrics_file.exists():
            return []
        rows = (_row(line) for line in self.metrics_file.read_bytes().splitlines())
        return [row for row in rows if row is not None]

    def write_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace all rows, as by those that a checkpoint knows of: a resumed run will write the others again."""
        write_atomic(self.metrics_file, "".join(json_text(row) + "\n" for row in rows))

    def log(self, line: str) -> None:
        """Add a line with its time to `log.txt`."""
        _append(self.log_file, f"{datetime.now().astimezone().isoformat(timespec='seconds')} {line}")

    def _made(self) -> bool:
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.mkdir()
            except FileExistsError:
                return False
            self.checkpoints.mkdir()
            self.samples.mkdir()
            return True


def _stamp(output: Path) -> str:
    """The time for a new run's name: now, or just after the newest run's, should the clock have gone back since."""
    now = datetime.now()
    with disk_errors(output):
        newest = max((_time_in(run.name) for run in _runs_in(output)), default=datetime.min)
    return (now if newest <= now else newest + timedelta(seconds=1)).strftime(STAMP)


def _time_in(name: str) -> datetime:
    try:
        return datetime.strptime(name[:15], STAMP)
    except ValueError:
        return datetime.min


def _file_name(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return plain.encode()[:80].decode(errors="ignore") or "run"  # disks count bytes, and a letter may have four


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise NetwrightError(f"{path.parts[0]} is nobody's home folder", "write the path in full") from None


@contextmanager
def _looking_at(path: Path) -> Generator[None]:
    """A path that the disk refuses to look up names no run."""
    try:
        yield
    except OSError as error:
        problem = f"cannot look for a run in {path} ({error.strerror})"
        raise NetwrightError(problem, "give the folder that training printed, the one with record.json in it") from None


def _append(path: Path, line: str) -> None:
    content = line.encode("utf-8", "backslashreplace") + b"\n"
    with disk_errors(path, needed=len(content)), path.open("ab+") as file:
        if file.tell() and _ends_torn(path):
            content = b"\n" + content
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = parsed(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _runs_in(output: Path) -> list[Path]:
    """Run folders, oldest first: by the time in their names, then by the time on disk."""
    if not output.is_dir():
        return []
    runs = [path for path in output.iterdir() if (path / "record.json").is_file() or (path / "lock").is_file()]
    return sorted(runs, key=lambda path: (path.name[:15], path.stat().st_mtime_ns, path.name))


def _instead_of(path: Path) -> str:
    inside, beside = _runs_in(path), _runs_in(path.parent)
    if inside:
        return f"name one of its runs; the newest is {inside[-1]}"
    if not beside:
        return "give the folder that training printed, the one with record.json in it"
    close = nearest(path.name, (run.name for run in beside))
    return f"did you mean {path.parent / close}?" if close else f"the newest run there is {beside[-1]}"
