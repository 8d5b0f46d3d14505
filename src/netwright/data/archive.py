"""Archives of pictures: unpacked once into the cache, and from there on a folder like any other."""

import json
from contextlib import suppress
from dataclasses import replace
from hashlib import file_digest, sha256
from pathlib import Path

from netwright.core.errors import NetwrightError
from netwright.data import _rows
from netwright.data._members import ENDINGS
from netwright.data._pair_table import pair_table
from netwright.data.cache import cache_folder
from netwright.data.extract import extract
from netwright.data.folder import IGNORED, folders_in
from netwright.data.kinds import listing_of
from netwright.data.listing import For, Listing
from netwright.records.atomic import write_atomic


def listing(source: str, purpose: For = "train") -> Listing:
    """The pictures in an archive: what its folder stands for, or the only table of pictures at its top.

    Raises:
        NetwrightError: it is not unpacked, or what it holds cannot be used.
    """
    folder = opened(source)
    tables = [path for path in folder.iterdir() if _is_table(path)]
    inside = tables[0] if len(tables) == 1 else folder
    return replace(listing_of(str(inside), purpose), name=Path(source).name.partition(".")[0])


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is an archive that can be unpacked."""
    return path.name.lower().endswith(ENDINGS)


def opened(source: str) -> Path:
    """The folder with an archive's content: its only top folder where there is just one.

    It is unpacked on the first call, and again only when the archive's content changes.

    Raises:
        NetwrightError: it cannot be read, or is not unpacked; the message has the reason.
    """
    archive = Path(source).expanduser()
    store = cache_folder() / "archives"
    folder = store / _content_hash(archive, store)
    if not folder.is_dir():
        extract(archive, folder)
    return _inner(folder)


def _content_hash(archive: Path, store: Path) -> str:
    """16 hex digits of the content's SHA-256, remembered while size and time of the file stay."""
    try:
        stat = archive.stat()
        place = sha256(f"{archive.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode(errors="surrogateescape"))
        known = store / f"{place.hexdigest()[:32]}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(known.read_bytes())["content"])
        with archive.open("rb") as file:
            content = file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise NetwrightError(f"{archive} cannot be opened ({error.strerror})", "check the path") from None
    with suppress(OSError, NetwrightError):
        store.mkdir(parents=True, exist_ok=True)
        write_atomic(known, json.dumps({"archive": str(archive), "content": content}))
    return content


def _is_table(path: Path) -> bool:
    """Whether a file has columns of paths, and of labels or masks; other tables often lie beside pictures."""
    if path.suffix.lower() not in _rows.ENDINGS or not path.is_file() or path.name[0] == ".":
        return False
    if pair_table(path) is not None:
        return True
    with suppress(NetwrightError):
        _rows.read(path)
        return True
    return False


def _inner(folder: Path) -> Path:
    folders = folders_in(folder)
    files = [path for path in folder.iterdir() if path.is_file() and path.name not in IGNORED and path.name[0] != "."]
    return folders[0] if len(folders) == 1 and not files else folder
