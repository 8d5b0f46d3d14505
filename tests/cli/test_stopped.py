"""Stopped where no run is being trained: it is told in words, with the code that says how; and what a report shows."""

import signal
import sys
from pathlib import Path

import pytest
import typer

from netwright.cli import main
from netwright.core.errors import EXIT_INTERRUPTED, EXIT_OUR_FAULT, EXIT_TERMINATED

GOES_ON = "the same command goes on: runs that are finished are kept"


@pytest.fixture(autouse=True)
def verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs that are stopped, or fail."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    def stopped(how: str) -> None:
        if how == "ours":
            raise ZeroDivisionError("postgresql://me:secret@host/lab")
        if how == "now":
            raise KeyboardInterrupt
        try:
            signal.raise_signal(signal.Signals[how])
        except Exception as error:
            raise AssertionError("code that goes on after its own failures would go on") from error

    for name in ("train", "check", "ablate", "tune", "study", "transfer-study"):
        app.command(name)(stopped)
    monkeypatch.setattr(main, "app", app)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("ablate", GOES_ON),
        ("tune", GOES_ON),
        ("study", GOES_ON),
        ("transfer-study", GOES_ON),
        ("transfer_study", GOES_ON),
        ("train", "netwright train --resume"),
        ("check", "begins again"),
    ],
)
def test_ctrl_c_is_told_with_what_to_do(verb: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "_" in verb:
        assert main._stopped([verb]).endswith(words)
        return
    assert main.code_of([verb, "now"]) == EXIT_INTERRUPTED
    told = capsys.readouterr().err
    assert told.startswith("stopped: ") and words in told and told.count("\n") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("verb", ["ablate", "tune", "study", "transfer-study"])
def test_verbs_of_the_lab_end_in_order(verb: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.Signals[name])
    assert main.code_of([verb, name]) == EXIT_TERMINATED
    assert GOES_ON in capsys.readouterr().err
    assert signal.getsignal(signal.Signals[name]) is before


def test_a_report_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["netwright", "ablate", "--store", "postgresql://me:secret@host/lab", "a b"])
    assert main.code_of(["ablate", "ours"]) == EXIT_OUR_FAULT
    (report,) = tmp_path.iterdir()
    text = report.read_text()
    assert str(report) in capsys.readouterr().err
    assert (
        "--store 'postgresql://me:***@host/lab' 'a b'" in text or "--store postgresql://me:***@host/lab 'a b'" in text
    )
    assert "secret" not in text and "ZeroDivisionError: postgresql://me:***@host/lab" in text
