"""The quarantine list: a text file that names the pictures to leave out, one a line, with the reason behind it."""

import json
from pathlib import Path

from netwright.core.errors import NetwrightError, nearest
from netwright.data.files import located
from netwright.data.gate.verdict import Verdict
from netwright.records.atomic import write_atomic

REASON, OF = "  # ", "# The data: "
HEAD = (
    "# Pictures that netwright leaves out. A line is a name, two spaces, # and the reason; names that could be",
    "# misread are written as JSON strings. Lines may be removed or added by hand.",
)
UNKNOWN = "in the quarantine list"


def write_quarantine(path: Path, verdict: Verdict, source: str) -> None:
    """Write the pictures that the verdict leaves out, beside those that the file names already.

    Args:
        path: of the list.
        verdict: on the data.
        source: the data, as `source_of` calls them.

    Raises:
        NetwrightError: what is there is no quarantine list of these data, or the place cannot be written.
    """
    known = read_quarantine(path, source) if path.exists() else {}
    names = known | verdict.leave_out
    lines = [f"{_written(name)}{REASON}{' '.join(names[name].split())}" for name in sorted(names)]
    write_atomic(path, "\n".join([*HEAD, f"{OF}{_written(source)}", *lines, ""]))


def source_of(given: str) -> str:
    """What a list calls the data that it belongs to: the whole path, or the name of what is no path."""
    path = located(given)
    return str(path.resolve()) if path.exists() else given


def read_quarantine(path: Path, source: str | None = None) -> dict[str, str]:
    """The names that a list leaves out, each with its reason.

    Args:
        path: of the list.
        source: the data that it has to belong to, as `source_of` calls them; None for any. A list that somebody
            wrote by hand may not say.

    Raises:
        NetwrightError: the file is not there, is no text, belongs to other data, or a line cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NetwrightError(f"{path} cannot be read: {error}", "give a text file with one name a line") from None
    belongs = next((line.removeprefix(OF).strip() for line in text.split("\n") if line.startswith(OF)), None)
    if source is not None and belongs not in (None, _written(source)):
        fix = f"give another list for these data: --quarantine FILE; or remove the line '{OF.strip()} …' if they moved"
        raise NetwrightError(f"{path} is the quarantine list of other data: {belongs}", fix)
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip() and line[0] != "#")
    return dict(_read(path, number, line.removesuffix("\r")) for number, line in lines)


def _written(name: str) -> str:
    plain = name.isprintable() and name == name.strip() and name[:1] not in ("#", '"') and REASON not in name
    return name if plain else json.dumps(name)


def _read(path: Path, number: int, line: str) -> tuple[str, str]:
    if not line.startswith('"'):
        name, _, reason = line.partition(REASON)
        return name.strip(), reason.strip() or UNKNOWN
    try:
        name, end = json.JSONDecoder().raw_decode(line)
    except ValueError:
        problem = f"line {number} of {path} begins with a quote that is not closed: {line[:60]}"
        raise NetwrightError(problem, "close it, or write the name without quotes") from None
    return name, line[end:].strip().removeprefix("#").strip() or UNKNOWN


def _missing(path: Path) -> NetwrightError:
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    close = nearest(path.name, beside)
    fix = f"did you mean {path.parent / close}?" if close else "`netwright check PATH --fix` writes one"
    return NetwrightError(f"there is no quarantine list {path}", fix)
