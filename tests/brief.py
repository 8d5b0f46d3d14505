"""Runs whose report is not what a test is about: they train, judge and hand on as always, and say less of it."""

import pytest

from netwright.recipes import _finish, _seeing


@pytest.fixture
def brief_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have the heat maps they always have, and no part that is drawn only where a network is cheap."""
    monkeypatch.setattr(_seeing, "BUDGET", 0)
    monkeypatch.setattr(_seeing, "COVERING", 0)


@pytest.fixture
def no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without a report and without what only a report shows of the network."""
    without_reports(monkeypatch)


def without_reports(patch: pytest.MonkeyPatch) -> None:
    """End runs without a report, for as long as the patch holds."""
    patch.setattr(_finish, "keep_seeing", lambda *_: None)
    patch.setattr(_finish, "write_report", lambda _: None)
