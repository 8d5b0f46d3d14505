"""A run folder as one page to look at, to print and to send on: self-contained HTML. No torch."""

from pathlib import Path


def write_report(run_folder: Path) -> Path:
    """Write the report of a run, finished or not, into its folder.

    Args:
        run_folder: the folder with `record.json`.

    Returns:
        The path of `report.html`.

    Raises:
        NetwrightError: there is no run, or the disk is full or not writable.
    """
    # Matplotlib takes half a second to import: a run pays for it at its end, not before its first step.
    from netwright.report.page import write

    return write(run_folder)


def write_history(folder: Path) -> Path:
    """Write what `history.json` in a folder says as a page, a table and a picture.

    Returns:
        The path of `history.html`.

    Raises:
        NetwrightError: the disk is full or not writable.
    """
    from netwright.report.history import write

    return write(folder)
