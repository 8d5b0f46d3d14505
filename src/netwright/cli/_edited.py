"""Pictures beside what was made of them: one sheet to look at, or a file for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netwright.bundle.autoencoder import AutoencoderBundle

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
        from netwright.cli._latent import check_sheet, for_folder

        self.place = place
        self.folder = for_folder(place)
        self.done = 0
        self.written: list[str] = []
        self._shown: list[Edited] = []
        self._rows = min(MOST_ROWS, len(pictures))
        if not self.folder:
            check_sheet(place, pictures)
        self._files = PictureFiles(place, pictures) if self.folder else None

    @property
    def full(self) -> bool:
        """Whether no more is shown: a sheet has its rows. What follows need only be counted."""
        return not self.folder and len(self._shown) >= self._rows

    def check_room(self, bundle: "AutoencoderBundle", columns: int) -> None:
        """Refuse a sheet that would be too large, before pictures are made for it.

        Raises:
            NetwrightError: it would be.
        """
        from netwright.cli._latent import check_room

        if not self.folder:
            check_room(bundle, self._rows, columns)

    def add(self, made: Sequence[Edited]) -> None:
        """Write results, or keep the first for the sheet."""
        from PIL import Image

        self.done += len(made)
        if self._files is None:
            self._shown += made[: self._rows - len(self._shown)]
            return
        for each in made:
            self.written.append(str(self._files.write(each.path, Image.fromarray(each.shown[-1]))))

    def count(self, pictures: int) -> None:
        """Count pictures that a sheet has no room for."""
        self.done += pictures

    def finish(self, columns: Sequence[str], title: str) -> str:
        """Write the sheet, if there is to be one, and say in one line what was written."""
        from netwright.bundle.picture_files import write_picture
        from netwright.report.sheet import sheet

        if self.folder:
            return f"{'1 picture' if self.done == 1 else f'{self.done} pictures'} in {self.place}"
        first = self._shown
        head = title if len(first) == self.done else f"{title} (the first {len(first)} of {self.done})"
        rows, names = [each.shown for each in first], [each.path.name for each in first]
        drawn = sheet(rows, rows_named=names, columns_named=columns, title=head)
        self.written.append(str(write_picture(self.place, drawn)))
        return f"drawn in {self.place}"
