"""Main memory: a run that cannot fit is refused before it begins, and running out of it is told without a traceback."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from netwright import NetwrightError, fit
from netwright.cli.main import code_of
from netwright.recipes import _assemble, _memory, _room
from tests.recipes.test_fit import small, small_data

MB = 2**20


def refused(free: float, monkeypatch: pytest.MonkeyPatch, *, batch: int = 100, activations: int = MB) -> NetwrightError:
    monkeypatch.setattr(_room, "left", lambda: free)
    with pytest.raises(NetwrightError) as caught:
        _room.refuse_too_large(MB, {}, activations, batch, slots=2)
    return caught.value


@pytest.mark.fault(40, "a run that would need more than 90 % of the free memory is refused, with a batch that fits")
def test_what_cannot_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 3 * 4 * MB + 100 * MB  # a gradient and two tensors of the optimiser, and the batch
    monkeypatch.setattr(_room, "left", lambda: needed / 0.9 + 1)
    _room.refuse_too_large(MB, {}, MB, 100, slots=2)
    error = refused(needed / 0.9 - 1, monkeypatch)
    assert (
        error.problem
        == "this run would need about 112 MB of memory, 12 MB of it whatever the batch, and 124 MB are free"
    )
    assert error.fix == "--batch-size 99, or the same batch in parts: --with 'accumulate(parts=2)'"
    for free in (50 * MB, 100 * MB):
        (fits,) = re.findall(r"--batch-size (\d+)", refused(free, monkeypatch).fix)
        _room.refuse_too_large(MB, {}, MB, int(fits), slots=2)
        refused(free, monkeypatch, batch=int(fits) + 1)
    assert "smaller --image-size or --model" in refused(8 * MB, monkeypatch).fix


@pytest.mark.fault(40, "the memory that a run needs is judged before it has a folder")
def test_fit_asks_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        _assemble, "refuse_too_large", lambda n, splits, *rest, resumed: seen.append((n, len(splits), *rest))
    )
    fit(small(epochs=1).with_("accumulate(parts=4)"), data=small_data(), output=tmp_path / "a")
    ((params, splits, activations, batch, slots),) = seen
    assert (splits, batch, slots) == (3, 4, 1)
    assert params > 1000
    assert activations > 4 * 3 * 12 * 12
    monkeypatch.undo()
    monkeypatch.setattr(_room, "left", lambda: float(MB))
    with pytest.raises(NetwrightError, match="are free"):
        fit(small(epochs=1), data=small_data(), output=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_pictures_count_if_they_are_copied() -> None:
    splits = small_data().splits
    assert _room.pictures(splits) == (64 + 24 + 24) * 12 * 12 * 3
    assert _room.pictures({"train": object()}) == 0


@pytest.mark.fault(40, "running out of memory while training is an error with a fix and exit code 2")
@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_running_out_is_told(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_assemble, "read_inputs", fails)
        with pytest.raises(NetwrightError, match="memory ran out before training"):
            fit(small(epochs=1), data=small_data(), output=tmp_path)
    monkeypatch.setattr("netwright.engine.loop.checked_norm", fails)
    with pytest.raises(NetwrightError, match="too little memory") as caught:
        fit(small(epochs=1), data=small_data(), output=tmp_path)
    assert "--batch-size 8" in caught.value.fix


def test_the_command_line_tells_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(**_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("netwright.cli.train.options.changes", lambda *_: fails())
    assert code_of(["train"]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: memory ran out")
    assert "Traceback" not in errors


LIMITED = """
import resource, sys
import torch
from netwright.cli.main import code_of
from netwright.recipes import _fit, _memory, _room, _assemble
size = _memory._bytes_in("/proc/self/status", "VmSize")
resource.setrlimit(resource.RLIMIT_AS, (size + 900 * 2**20,) * 2)
arguments = ["train", "--model", "vgg11", "--batch-size", "256", "--device", "cpu", "--without", "ema",
    "--epochs", "1", "--set", "threads=1", "--output"]
foreseen = code_of([*arguments, "foreseen"])
print("---", file=sys.stderr)
_assemble.refuse_too_large = lambda *_, **__: None
unforeseen = code_of([*arguments, "unforeseen"])
sys.exit(0 if foreseen == unforeseen == 2 else 1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit what a process addresses")
@pytest.mark.fault(
    40, "under a limit of memory (ulimit -v) a run is refused, or ends, in words: no traceback, exit code 2"
)
def test_a_limit_of_the_process_is_seen(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    foreseen, unforeseen = done.stderr.split("---\n")
    assert "are free" in foreseen
    assert "fix: " in foreseen
    assert not (tmp_path / "foreseen").exists()
    assert "memory" in unforeseen
    assert "fix: " in unforeseen


def test_the_estimate_is_of_the_right_size() -> None:
    assert _memory.left() > 0
    assert _memory.left() <= _memory.free()
    assert _memory.out_of_memory(torch.OutOfMemoryError("full"))
    assert not _memory.out_of_memory(RuntimeError("shape mismatch"))
    assert not _memory.out_of_memory(ValueError("out of memory"))
