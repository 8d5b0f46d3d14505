"""The digits of scikit-learn, without importing it."""

import subprocess
import sys

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.data import digits, open_data


def test_they_are_scikit_learns_digits():
    from sklearn.datasets import load_digits

    theirs, table = load_digits(), digits._table()
    assert (table[:, :-1] == theirs.data).all() and (table[:, -1] == theirs.target).all()


def test_split_size_and_scale():
    data = open_data("digits")
    assert data.classes == tuple("0123456789") and data.preprocess.channels == 1
    sizes = {side: len(split) for side, split in data.splits.items()}
    assert sum(sizes.values()) == 1797 and list(sizes) == ["train", "val", "test"]
    assert 0.65 < sizes["train"] / 1797 < 0.75 and 0.07 < sizes["val"] / 1797 < 0.13
    train = data.splits["train"]
    assert train.images.shape[1:] == (32, 32, 1) and train.images.max() == 255 and train.images.min() == 0
    assert all(len(np.unique(split.labels)) == 10 for split in data.splits.values())
    small = open_data("digits", image_size=8).splits["train"].images
    assert set(np.unique(small)) <= {round(value * 255 / 16) for value in range(17)}


def test_the_same_twice_and_normalised_by_train():
    first, second = open_data("digits"), open_data("digits", fractions=(0.5, 0.25, 0.25))
    assert first.fingerprint == second.fingerprint, "a fixed task, whatever fractions are wished"
    images = first.splits["train"].images / 255
    assert first.preprocess.mean == (round(float(images.mean()), 4),)
    assert first.preprocess.std == (round(float(images.std()), 4),)
    assert len(np.unique(np.concatenate([split.ids for split in first.splits.values()]))) == 1797


def test_scikit_learn_is_not_imported():
    script = "import sys; from netwright.data import open_data; open_data('digits'); print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.strip() == b"False"


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(NetwrightError, match="pip install scikit-learn"):
        open_data("digits")
