"""The folder for what a study finds, looked at before hours of training."""

import os
from pathlib import Path

from netwright.core.errors import NetwrightError


def refuse_unwritable(folder: Path) -> None:
    """Refuse a folder that could not be written into; nothing is made.

    Raises:
        NetwrightError: it or a folder above it is a file, or may not be written into.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise NetwrightError(f"{there} is no folder, and results go to {folder}", "name another one: --output FOLDER")
    if not os.access(there, os.W_OK | os.X_OK):
        fix = f"change its permissions (chmod u+wx {there}), or name another one: --output FOLDER"
        raise NetwrightError(f"{there} may not be written into, and results go to {folder}", fix)
