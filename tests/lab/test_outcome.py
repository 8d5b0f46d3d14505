"""What a run gave survives being written and read, and damage is told in words."""

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.lab.outcome import Outcome

HELD = Outcome({"accuracy": np.ones(3, np.float32)}, np.arange(3), None, [{"epoch": 1}], 1.0, 2.0, 1, 3)
CONTENT = HELD.to_bytes()


def test_what_is_written_is_read():
    read = Outcome.from_bytes(CONTENT)
    np.testing.assert_array_equal(read.values["accuracy"], HELD.values["accuracy"])
    np.testing.assert_array_equal(read.labels, HELD.labels)
    assert (read.history, read.seconds, read.steps, read.confidence) == ([{"epoch": 1}], 1.0, 3, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 noise", CONTENT[:200], CONTENT[:-30], CONTENT[:300] + b"x" * 40 + CONTENT[340:]],
    ids=["empty", "noise", "cut early", "cut late", "overwritten"],
)
def test_damage_is_told(content):
    with pytest.raises(NetwrightError, match="cannot be read"):
        Outcome.from_bytes(content)
