"""The process that attempts at runs are forks of."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.reliability.crash import fork_server


@pytest.fixture(scope="session")
def server() -> Iterator[ProcessPoolExecutor]:
    """Runs functions of this package, in one process for all tests."""
    with fork_server() as pool:
        yield pool
