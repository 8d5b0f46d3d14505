"""What tests of recipes may ask for, and that their reports are brief: tests of reports have long ones."""

import pytest

from tests.brief import brief_reports, no_reports

__all__ = ["brief_reports", "no_reports"]


@pytest.fixture(autouse=True)
def brief(brief_reports: None) -> None:
    """Runs of all tests here."""
