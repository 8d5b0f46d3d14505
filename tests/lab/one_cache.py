"""One cache for a module whose tests look at the same data, from its first fixture on."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def own_cache(caches: Iterator[Path]) -> Iterator[None]:
    """No test reads or fills the user's cache; what one of the module has read from its data serves the others."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NETWRIGHT_CACHE", str(next(caches)))
        yield
