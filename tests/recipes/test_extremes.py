"""Any seed, and very little data: taken as given, or refused early and by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from netwright import NetwrightError, fit, from_arrays, recipe
from netwright.recipes._recipe import Recipe
from tests.recipes.test_fit import pictures, small, tensors
from tests.support import tiny_run, train_tiny


@pytest.mark.fault(42, "a seed is a whole number from 0 to 2⁶³−1, recorded as given; anything else is refused by name")
@given(
    st.integers()
    | st.sampled_from([0, -1, 2**32, 2**63, 2**63 - 1])
    | st.none()
    | st.text()
    | st.floats()
    | st.booleans()
)
@settings(deadline=None, max_examples=200)
def test_any_seed_is_taken_or_refused(seed: Any) -> None:
    if type(seed) is int and 0 <= seed < 2**63:
        chosen = recipe("digits", seed=seed)
        assert (chosen.seed, chosen.sources["seed"]) == (seed, "user")
        assert Recipe(**json.loads(json.dumps(chosen.model_dump(mode="json")))).key == chosen.key
        return
    with pytest.raises(NetwrightError, match="seed cannot be"):
        recipe("digits", seed=seed)


@pytest.mark.fault(42, "0, 2³² and 2⁶³−1 train, and are different runs")
def test_large_seeds_train() -> None:
    runs = [train_tiny(tiny_run(seed=seed, epochs=1)) for seed in (0, 2**32, 2**63 - 1)]
    assert len({run.history[0]["train_loss"] for run in runs}) == 3


@pytest.mark.fault(43, "with fewer samples than a batch a run trains, or says early and by name why it cannot")
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17])
def test_very_little_data_of_ones_own(n: int, tmp_path: Path) -> None:
    result = fit(small(epochs=1), data=(tensors(n, 0), tensors(8, 1)), classes=["a", "b"], output=tmp_path)
    assert result.record["result"]["steps"] == 1
    assert all(value.isfinite().all() for value in result.model.state_dict().values())


@pytest.mark.fault(43, "an empty split and one of a single class are refused before a run is begun")
@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17])
def test_very_little_data(n: int, tmp_path: Path) -> None:
    def made() -> Any:
        return fit(small(epochs=1), data=from_arrays(train=pictures(n, 0), val=pictures(8, 1)), output=tmp_path)

    if n > 1:
        assert made().record["result"]["steps"] == 1
        return
    with pytest.raises(NetwrightError) as caught:
        made()
    assert caught.value.fix
    assert not list(tmp_path.glob("*/record.json"))


@pytest.mark.fault(43, "one sample where batch normalisation needs two is an error that names batch normalisation")
def test_one_sample_for_batch_normalisation(tmp_path: Path) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(432, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(NetwrightError, match="batch normalisation cannot work on one value"):
        fit(small(epochs=1), data=(tensors(1, 0),), classes=["a", "b"], model=flat, output=tmp_path)


@pytest.mark.fault(43, "an empty dataset of one's own is refused in words")
def test_an_empty_dataset() -> None:
    empty = TensorDataset(torch.zeros(0, 1, 32, 32), torch.zeros(0, dtype=torch.long))
    with pytest.raises(NetwrightError, match="the train split is empty"):
        fit(Recipe(model="lenet5", epochs=1), data=(empty, empty))


def test_labels_that_are_identifiers() -> None:
    labels = torch.tensor([0, 20_000_000] * 8)
    own = TensorDataset(torch.zeros(16, 1, 32, 32), labels)
    with pytest.raises(NetwrightError, match="class numbers count from 0"):
        fit(Recipe(model="lenet5", epochs=1), data=(own, own))
