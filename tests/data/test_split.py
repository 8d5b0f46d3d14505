"""What a data set knows of its pixels is exact, however large and bright its pictures are."""

import numpy as np
import pytest

from netwright.data.segments import as_keys
from netwright.data.split import sample_ids, statistics


@pytest.mark.parametrize("height", [30, 1100, 70_000])
def test_statistics_are_exact_for_bright_and_tall_pictures(height: int) -> None:
    # 64 pictures of 1033 rows, or one of 66052, hold more squares of 255 in a column than 32 bits can count.
    count = 70 if height < 2000 else 2
    images = np.random.default_rng(0).integers(250, 256, (count, height, 3, 3), dtype=np.uint8)
    mean, std = statistics(images)
    expected = images.reshape(-1, 3).astype(np.float64) / 255
    np.testing.assert_allclose(mean, expected.mean(0), atol=6e-5)
    np.testing.assert_allclose(std, expected.std(0), atol=6e-5)


def test_equal_contents_get_the_next_free_numbers() -> None:
    first, second = (5).to_bytes(8, "big") + bytes(24), (7).to_bytes(8, "big") + bytes(24)
    assert sample_ids(as_keys([first, second, first, first])).tolist() == [2, 3, 4, 5]


def test_a_hundred_thousand_equal_pictures_are_numbered() -> None:
    ids = sample_ids(np.zeros((100_000, 4), np.uint64))
    assert len(np.unique(ids)) == 100_000
