"""Checkpoints: what goes in comes out, damage is seen, no kill leaves less, and only our own files are dropped."""

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.engine import checkpoint
from netwright.engine.checkpoint import read_checkpoint, write_checkpoint
from netwright.records.atomic import drop_orphans, write_atomic
from tests.forked import exit_code, forked
from tests.support import hash_of

GOLDEN = Path(__file__).parent / "golden" / "checkpoint-1"
Part = Callable[[Path, int], Path]
SHARED = torch.arange(12.0)


def memory(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "words": ["a", "ü", ""],
        "numbers": {"whole": 2**60, "part": 0.1, "none": None, "yes": True, "inf": float("inf")},
        "tensors": {
            "float": torch.linspace(-1, 1, 7) * step,
            "half": torch.ones(2, 3, dtype=torch.bfloat16),
            "double": torch.tensor(0.1, dtype=torch.float64),
            "whole": torch.tensor([1, -(2**62)]),
            "flag": torch.tensor([True, False]),
            "empty": torch.zeros(0, 3),
            "strided": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
            "view": SHARED[2:5],
            "shared": SHARED,
        },
        "nested": [{"deep": [torch.ones(1), {"deeper": torch.zeros(2)}]}, [], {}],
        "state": {"0.weight": torch.ones(2), "0": {"weight": torch.zeros(3)}},
    }


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, Tensor):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert torch.equal(one, other)
    else:
        assert one == other


def write(folder: Path, *steps: int, owner: str = "test", keep: int = 2) -> None:
    for step in steps:
        write_checkpoint(folder, memory(step), write_atomic, owner=owner, keep=keep)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def state_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.json"


def tensors_of(folder: Path, step: int) -> Path:
    (path,) = folder.glob(f"step-{step:08d}-*.safetensors")
    return path


def steps_in(folder: Path) -> set[int]:
    """The steps of the checkpoints in a folder, in which there must be nothing else."""
    steps = {int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json")}
    whole = {path.name for step in steps for path in (state_of(folder, step), tensors_of(folder, step))}
    assert files(folder) == whole | {"latest.json"}
    return steps


def test_round_trip(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, memory(3), write_atomic)
    assert path.name == "step-00000003.json"
    found, skipped = read_checkpoint(tmp_path)
    assert skipped == []
    assert_same(found, memory(3))


def test_what_is_read_shares_no_memory_with_what_was_written(tmp_path: Path) -> None:
    given = memory(1)
    write_checkpoint(tmp_path, given, write_atomic)
    given["tensors"]["float"].zero_()
    assert hash_of(read_checkpoint(tmp_path)[0]) == hash_of(memory(1))


def test_no_pickle(tmp_path: Path) -> None:
    write(tmp_path, 1)
    json.loads(state_of(tmp_path, 1).read_text("utf-8"))
    assert b"torch" not in tensors_of(tmp_path, 1).read_bytes()
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path, {"step": 2, "object": object()}, write_atomic)
    assert read_checkpoint(tmp_path)[0]["step"] == 1


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


DAMAGED = ["step-00000002 (damaged)"]
PARTS = [state_of, tensors_of]


@pytest.mark.fault(7, "one changed bit in a checkpoint is noticed, and the checkpoint before it is taken")
def test_each_of_100_flipped_bits_is_seen(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    parts = [part(tmp_path, 2) for part in PARTS]
    places = [(path, place, bit) for path in parts for place in range(path.stat().st_size) for bit in range(8)]
    for path, place, bit in random.Random(0).sample(places, 100):
        flip(path, place, bit)
        found, skipped = read_checkpoint(tmp_path)
        assert (found["step"], skipped) == (1, DAMAGED), (path.name, place, bit)
        flip(path, place, bit)
    assert read_checkpoint(tmp_path)[1] == []


def test_a_flipped_bit_in_the_numbers_is_seen(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    path = state_of(tmp_path, 2)
    flip(path, path.read_bytes().index(b'"part": 0.1') + len(b'"part": 0.'), 1)  # 0.1 becomes 0.3: still JSON
    assert b'"part": 0.3' in path.read_bytes()
    found, skipped = read_checkpoint(tmp_path)
    assert (found["step"], skipped) == (1, DAMAGED)


@pytest.mark.fault(7, "no changed bit in the pointer to the newest checkpoint leads to another")
def test_no_flipped_bit_in_the_pointer_leads_astray(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3, keep=3)
    path = tmp_path / "latest.json"
    for place in range(path.stat().st_size):
        for bit in range(8):
            flip(path, place, bit)
            found, skipped = read_checkpoint(tmp_path)
            assert found["step"] == 3
            assert all("No such file" in name for name in skipped)
            flip(path, place, bit)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("left", [0, 10, -1])
def test_truncation_is_seen(part: Part, left: int, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    path = part(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:left])
    found, skipped = read_checkpoint(tmp_path)
    assert (found["step"], skipped) == (1, DAMAGED)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_half_is_seen(part: Part, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    part(tmp_path, 2).unlink()
    found, skipped = read_checkpoint(tmp_path)
    assert (found["step"], skipped) == (1, ["step-00000002 (No such file or directory)"])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def removed(path: Path) -> None:
    path.unlink()


def looped(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_another_step(path: Path) -> None:
    older = path.with_name(path.name.replace("step-00000002", "step-00000001"))
    path.write_bytes((older if older.exists() else tensors_of(path.parent, 1)).read_bytes())


@pytest.mark.fault(8, "whatever became of the newest files, the newest whole checkpoint is taken and the others named")
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", [emptied, halved, removed, looped, a_folder, of_another_step])
def test_the_newest_whole_checkpoint_is_taken(damage: Callable[[Path], None], part: Part, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    damage(part(tmp_path, 2))
    found, skipped = read_checkpoint(tmp_path)
    assert_same(found, memory(1))
    assert [name.split()[0] for name in skipped] == ["step-00000002"]


@pytest.mark.fault(8, "a pointer that is empty, cut, gone, or a link to itself loses nothing")
@pytest.mark.parametrize("damage", [emptied, halved, removed, looped, a_folder])
def test_a_damaged_pointer_loses_nothing(damage: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    damage(tmp_path / "latest.json")
    found, skipped = read_checkpoint(tmp_path)
    assert (found["step"], skipped) == (2, [])


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"latest": 3}', '{"latest": null}', '{"kept": []}'])
def test_a_pointer_with_other_content_loses_nothing(content: str, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / "latest.json").write_text(content)
    found, skipped = read_checkpoint(tmp_path)
    assert (found["step"], skipped) == (2, [])


@pytest.mark.parametrize("name", ["../step-00000009", "/step-00000009", "step-9", "step-0000000٩", "step-00000009\n"])
@pytest.mark.fault(31, "no name in a checkpoint folder leads to anything outside of it")
def test_a_pointer_leads_to_nothing_outside(name: str, tmp_path: Path) -> None:
    write(tmp_path, 9)
    outside = files(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, 1)
    (folder / "latest.json").write_text(json.dumps({"latest": name, "kept": [name]}))
    assert read_checkpoint(folder)[0]["step"] == 1
    write(folder, 2, 3, 4, keep=1)
    assert files(tmp_path) == outside | {"run"}


def test_nothing_whole_is_an_error_that_names_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="no checkpoint"):
        read_checkpoint(tmp_path)
    write(tmp_path, 1, 2)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(NetwrightError, match=r"step-00000002 \(damaged\), step-00000001 \(damaged\)"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("keep", [1, 2, 3])
@pytest.mark.fault(31, "only the newest checkpoints are kept")
def test_the_newest_are_kept(keep: int, tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 30, 400, keep=keep)
    assert steps_in(tmp_path) == set([1, 2, 30, 400][-keep:])
    assert read_checkpoint(tmp_path)[0]["step"] == 400


def test_names_longer_than_eight_digits_are_newer(tmp_path: Path) -> None:
    write(tmp_path, 99_999_999, 100_000_000, 99_999_998)
    write(tmp_path, 100_000_001)
    assert read_checkpoint(tmp_path)[0]["step"] == 100_000_001


@pytest.mark.parametrize("pointer", [True, False], ids=["pointer", "no pointer"])
@pytest.mark.fault(31, "files that the run did not write are never deleted")
def test_foreign_files_are_left_alone(pointer: bool, tmp_path: Path) -> None:
    foreign = ["step-a.json", "step-0.json", "step-z.safetensors", "notes.txt", "best.safetensors", "step-9.json"]
    foreign += ["step-00000001.safetensors", "step-00000001-12345678.safetensors"]
    for name in foreign:
        (tmp_path / name).write_text("mine")
    write(tmp_path, 1)
    if not pointer:
        (tmp_path / "latest.json").unlink()
    write(tmp_path, 2, 3, 4)
    assert set(foreign) <= files(tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in foreign)
    found, skipped = read_checkpoint(tmp_path)
    assert (found["step"], skipped) == (4, [])


@pytest.mark.fault(31, "another run's checkpoints are neither resumed from nor deleted")
def test_the_checkpoints_of_another_run_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, 3, 50, owner="other")
    theirs = {path: path.read_bytes() for path in tmp_path.glob("step-*")}
    with pytest.raises(NetwrightError, match=r"step-00000050 \(another run's\)"):
        read_checkpoint(tmp_path, owner="mine")
    write(tmp_path, 1, 2, 4, 60, owner="mine", keep=1)
    assert all(path.read_bytes() == content for path, content in theirs.items())
    write(tmp_path, 40, owner="mine")
    found, skipped = read_checkpoint(tmp_path, owner="mine")
    assert (found["step"], skipped) == (40, ["step-00000050 (another run's)"])
    with pytest.raises(NetwrightError, match=r"step-00000050\.json is not this run's"):
        write(tmp_path, 50, owner="mine")
    assert all(path.read_bytes() == content for path, content in theirs.items())


@pytest.mark.fault(31, "links in a checkpoint folder, and what they lead to, are never deleted")
def test_links_are_left_alone(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "checkpoints"
    elsewhere.mkdir()
    folder.mkdir()
    write(elsewhere, 1)
    links = {part(elsewhere, 1).name for part in PARTS}
    for name in links:
        (folder / name).symlink_to(elsewhere / name)
    assert read_checkpoint(folder)[0]["step"] == 1
    write(folder, 2, 3, 4, keep=1)
    assert links <= files(folder)
    assert all((folder / name).is_symlink() for name in links)
    assert read_checkpoint(elsewhere)[0]["step"] == 1
    with pytest.raises(NetwrightError, match="is not this run's"):
        write(folder, 1)


@pytest.mark.fault(31, "what a run was resumed from stays until there is a newer whole checkpoint")
def test_going_on_from_an_older_one_keeps_it_until_there_is_a_newer(tmp_path: Path) -> None:
    write(tmp_path, 4, 8)
    flip(tensors_of(tmp_path, 8), 1000)
    for allowed in (0, 1):
        with pytest.raises(OSError, match="power cut"):
            write_checkpoint(tmp_path, memory(6), failing_after(allowed), owner="test", keep=1)
        assert read_checkpoint(tmp_path)[0]["step"] == 4
    write(tmp_path, 6)
    assert steps_in(tmp_path) == {4, 6}
    assert read_checkpoint(tmp_path)[0]["step"] == 6
    write(tmp_path, 8, 10)
    found, skipped = read_checkpoint(tmp_path)
    assert (found["step"], skipped) == (10, [])


def failing_after(allowed: int) -> Callable[[Path, bytes], None]:
    """Writes so many files, and then no more."""
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if len(written) == allowed:
            raise OSError("power cut")
        written.append(path)
        write_atomic(path, data)

    return write


def test_saving_again_at_the_same_step_never_leaves_less_than_before(tmp_path: Path) -> None:
    changed = memory(1) | {"words": ["changed"], "state": torch.ones(5)}
    for allowed, words in enumerate((memory(1)["words"], memory(1)["words"], ["changed"], ["changed"])):
        folder = tmp_path / str(allowed)
        folder.mkdir()
        write(folder, 1, keep=1)
        with suppress(OSError):
            write_checkpoint(folder, changed, failing_after(allowed), owner="test", keep=1)
        found, skipped = read_checkpoint(folder)
        assert (found["words"], skipped) == (words, [])
        write(folder, 2, keep=1)
        assert steps_in(folder) == {2}


@pytest.mark.fault(23, "checkpoints of the format before this one are read")
def test_the_format_before_is_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "checkpoints"))
    found, skipped = read_checkpoint(folder, owner="test")
    assert skipped == []
    assert (found["step"], found["epoch"], found["tricks"]) == (6, 1, {"ema": {"updates": 6}})
    assert torch.equal(found["model"]["weight"], torch.arange(6.0).view(2, 3))
    assert found["model"]["half"].dtype == torch.bfloat16
    assert found["optimizer"]["groups"][0]["momentum"][0].tolist() == [0.25, -1.0]
    for path in (folder / "step-00000006.json", folder / "step-00000006.safetensors"):
        flip(path, 390)
        with pytest.raises(NetwrightError, match=r"step-00000006 \(damaged\)"):
            read_checkpoint(folder)
        flip(path, 390)
    write(folder, 7, 8, 9)
    assert read_checkpoint(folder)[0]["step"] == 9


@pytest.mark.fault(23, "a checkpoint of a newer netwright is told from a damaged one")
def test_a_newer_format_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    write(tmp_path, 2)
    monkeypatch.undo()
    assert read_checkpoint(tmp_path)[1] == ["step-00000002 (written by a newer netwright)"]


@pytest.mark.fault(4, "files reach the disk before their names do: tensors, then numbers, then the pointer")
def test_everything_is_synced_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)
    done: list[tuple[str, str]] = []
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def replaced(source: Path, target: Path) -> None:
        replace(source, target)
        done.append(("name", target.name))

    def unlinked(path: Path) -> None:
        unlink(path)
        done.append(("drop", path.name))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "unlink", unlinked)
    old = [state_of(tmp_path, 1).name, tensors_of(tmp_path, 1).name]
    write(tmp_path, 2, keep=1)
    monkeypatch.undo()
    names = [tensors_of(tmp_path, 2).name, state_of(tmp_path, 2).name, "latest.json"]
    told = [(what, re.sub(r"^\.(.+)\.\d+-[0-9a-f]{8}$", r"\1", name)) for what, name in done]
    expected = [step for name in names for step in (("sync", name), ("name", name), ("sync", tmp_path.name))]
    assert told == expected + [("drop", name) for name in old]


@pytest.mark.fault(3, "killed at any moment of a save, there is a whole checkpoint and the pointer names one")
def test_killed_at_each_phase_of_a_save(tmp_path: Path) -> None:
    for phase in count():
        folder = tmp_path / str(phase)
        folder.mkdir()
        write(folder, 4, 8)
        ended = exit_code(forked(lambda folder=folder, phase=phase: dies_at(phase, lambda: write(folder, 12))))
        found, skipped = read_checkpoint(folder)
        assert skipped == []
        assert_same(found, memory(found["step"]))
        pointed = json.loads((folder / "latest.json").read_text())["latest"]
        assert state_of(folder, found["step"]).stem >= pointed
        assert checkpoint._read(folder / f"{pointed}.json", "test")["step"] in (8, 12)
        assert found["step"] == 8 or (folder / "step-00000012.json").exists()
        drop_orphans(folder)
        write(folder, 16)
        assert steps_in(folder) == {found["step"], 16}
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert phase > 20


def dies_at(phase: int, work: Callable[[], None]) -> None:
    """Do the work, but be killed before, between or after its file operations: at the `phase`-th of these moments."""
    moments = count()

    def moment() -> None:
        if next(moments) == phase:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(name: str) -> None:
        operation = getattr(os, name)

        def watched(*given: Any) -> None:
            moment()
            operation(*given)
            moment()

        setattr(os, name, watched)

    def in_halves(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            moment()
            file.write(data[: len(data) // 2])
            file.flush()
            moment()
            file.write(data[len(data) // 2 :])

    for name in ("fsync", "replace", "unlink"):
        around(name)
    Path.write_bytes = in_halves
    work()


@pytest.mark.fault(2, "killed in the middle of a save 50 times, there is each time a checkpoint at most one save old")
def test_50_kills_during_saves(tmp_path: Path) -> None:
    """Each after some whole saves and a part of one, however fast this disk is."""
    draw, large = random.Random(0), torch.randn(500_000)
    for step in range(4):
        began = time.monotonic()
        save_large(tmp_path, step, large)
    one, least = time.monotonic() - began, step  # by the last: one that also retires another
    for _ in range(50):
        begun = read_checkpoint(tmp_path)[0]["step"]
        heard, said = os.pipe()

        def saves(begun=begun, said=said) -> None:
            for step in count(begun + 1):
                save_large(tmp_path, step, large)
                os.write(said, step.to_bytes(8))

        child = forked(saves)
        os.close(said)
        with os.fdopen(heard, "rb") as told:
            whole = draw.randint(1, 3)
            before = told.read(8 * whole)
            time.sleep(draw.uniform(0, one))
            os.kill(child, signal.SIGKILL)
            assert exit_code(child) == -signal.SIGKILL
            saved = int.from_bytes((before + told.read())[-8:]) or begun
        found, skipped = read_checkpoint(tmp_path)
        assert skipped == []
        assert found["step"] in (saved, saved + 1)
        assert torch.equal(found["large"], large + found["step"])
        least += whole
    assert found["step"] >= least
    drop_orphans(tmp_path)
    save_large(tmp_path, found["step"] + 1, large)
    assert steps_in(tmp_path) == {found["step"], found["step"] + 1}


def save_large(folder: Path, step: int, large: Tensor) -> None:
    write_checkpoint(folder, {"step": step, "large": large + step}, write_atomic, owner="test")
