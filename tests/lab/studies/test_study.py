"""What holds for every study: refusals before anything is trained, one way to open data, tables that stay tables."""

import os
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.lab.studies._networks import Networks
from netwright.lab.studies._output import refuse_unwritable
from netwright.lab.studies._study import Setting, opened, refuse_unmeasured, study
from netwright.lab.trial import Trials
from netwright.recipes._recipe import Recipe
from netwright.records.intervals import wilson
from netwright.report.study import markdown


def without(protocol: Recipe, side: str, *labels: int) -> Recipe:
    """The same, its data without the pictures of some classes in one split."""
    arrays = dict(np.load(protocol.data))
    left = ~np.isin(arrays[f"y_{side}"], labels)
    np.savez(protocol.data, **arrays | {f"{name}_{side}": arrays[f"{name}_{side}"][left] for name in "xy"})
    return protocol


@pytest.mark.parametrize("name", ["continual(base=2, step=2)", "transferability(seeds=40)"])
def test_groups_without_pictures_are_named_before_training(protocol: Recipe, tmp_path: Path, name: str) -> None:
    told: list[str] = []
    with pytest.raises(NetwrightError, match=r"classes .* have no test picture"):
        study(name, without(protocol, "test", 0, 1, 2, 3, 4), output=tmp_path / "out", told=told.append)
    assert not told and not (tmp_path / "out").exists()


def test_a_group_with_a_few_pictures_can_be_measured(protocol: Recipe, tmp_path: Path) -> None:
    data = opened(without(protocol, "test", 4))
    setting = Setting(protocol, data, Trials(tmp_path), Networks(tmp_path), lambda words: None)
    refuse_unmeasured(setting, [["4", "5"], ["0"]])
    with pytest.raises(NetwrightError, match="class 4 has no test picture"):
        refuse_unmeasured(setting, [["0", "1"], ["4"]])


def test_the_gate_is_asked(protocol: Recipe, tmp_path: Path) -> None:
    arrays = dict(np.load(protocol.data))
    arrays["x_test"][:12] = arrays["x_train"][:12]  # the same pictures on both sides
    np.savez(protocol.data, **arrays)
    opened(protocol)
    with pytest.raises(NetwrightError):
        opened(protocol.changed(gate="error"))


def test_a_folder_is_looked_at_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_unwritable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for place in ("file", "file/a/b", "dangling"):
        with pytest.raises(NetwrightError, match="is no folder"):
            refuse_unwritable(tmp_path / place)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(NetwrightError, match="may not be written into") as told:
        refuse_unwritable(tmp_path / "a")
    assert "chmod" in told.value.fix


def test_bars_in_names_end_no_cell() -> None:
    cell = {"interval": wilson(3, 4).to_json(), "unit": "percent"}
    found = {"title": "A study", "data": "d", "pictures": {"test": 4}, "seeds": 1, "device": "cpu", "said": []}
    table = {"caption": "c", "heads": ["class", "accuracy"], "rows": [["cat|dog", cell], ["a\nb", cell]]}
    lines = markdown(found | {"tables": [table], "legend": "l"}).splitlines()
    assert [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")] == [3, 3, 3, 3]
    assert any(line.startswith("| cat\\|dog |") for line in lines)
