"""Pictures beside what was made of them: one sheet to look at, or a file for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ROWS = 24  # of a sheet, which is to be looked at


@dataclass(frozen=True)
class Edited:
    """A picture, and from left to right what is shown of it; the last is the result."""

    path: Path
    shown: "Sequence[NDArray[np.uint8]]"


class Output:
    """Where edited pictures go: a PNG is a sheet of all, a name without an ending a folder.

    Args:
        place: what -o says.
        pictures: all that will be edited.

    Raises:
        NetwrightError: another kind of file, or one that would be written is the user's.
    """

    def __init__(self, place: Path, pictures: Sequence[Path]) -> None:
        from netwright.bundle.picture_files import PictureFiles
        from netwright.cli._latent import SHEET, check_sheet

        self.place = place
        self.folder = place.is_dir() or not place.suffix
        if not self.folder and place.suffix.lower() != SHEET:
            problem = f"'{place}' is neither a PNG nor a folder"
            raise NetwrightError(problem, f"-o {place.stem}.png for a sheet, -o {place.stem} for a PNG of each")
        if not self.folder:
            check_sheet(place, pictures)
        self._files = PictureFiles(place, pictures) if self.folder else None

    def write(self, made: Sequence[Edited], columns: Sequence[str], title: str) -> list[str]:
        """Write the sheet or the results, and say where."""
        from PIL import Image

        from netwright.bundle.picture_files import write_picture
        from netwright.report.sheet import sheet

        if self._files is not None:
            return [str(self._files.write(each.path, Image.fromarray(each.shown[-1]))) for each in made]
        first = made[:MOST_ROWS]
        head = title if len(first) == len(made) else f"{title} (the first {len(first)} of {len(made)})"
        rows, names = [each.shown for each in first], [each.path.name for each in first]
        return [str(write_picture(self.place, sheet(rows, rows_named=names, columns_named=columns, title=head)))]

    def told(self, written: Sequence[str]) -> str:
        """One line on what was written."""
        number = "1 picture" if len(written) == 1 else f"{len(written)} pictures"
        return f"{number} in {self.place}" if self.folder else f"drawn in {self.place}"
