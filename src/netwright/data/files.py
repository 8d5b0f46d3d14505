"""What users name: paths, and pictures one by one or by their folder."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from netwright.core.errors import NetwrightError, nearest

EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pnm", ".ppm", ".pgm", ".pbm",
)  # fmt: skip


def located(source: str) -> Path:
    """The path that a source may be.

    Raises:
        NetwrightError: it is empty, or nothing that a file system can look up.
    """
    if not source.strip():
        raise NetwrightError("no data is named", "give a path, or a name from `netwright list data`")
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # a name that is too long, a home of nobody
        reason = getattr(error, "strerror", None) or error
        raise NetwrightError(f"'{source:.80}' cannot be looked up ({reason})", "check the path") from None
    return path


def pictures_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Each file as it is given, and the pictures at any depth of each folder, sorted.

    Raises:
        NetwrightError: a path does not exist, or a folder has no pictures.
    """
    for path in paths:
        if path.is_dir():
            yield from _pictures(path)
        elif path.exists():
            yield path
        else:
            raise _missing(path)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise NetwrightError(f"{folder} has no pictures", f"pictures end in {' '.join(EXTENSIONS)}")
    return found


def _missing(path: Path) -> NetwrightError:
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = nearest(path.name, beside)
    return NetwrightError(
        f"{path} does not exist", f"did you mean {path.parent / close}?" if close else "check the path"
    )
