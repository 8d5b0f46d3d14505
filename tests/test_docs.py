"""The documentation is true: its code runs, its commands exist, its links lead somewhere."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from warnings import simplefilter

import pytest
import torch
import typer
import yaml

from netwright.cli.main import app, optional_resume

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ADRS = sorted((DOCS / "adr").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")), *ADRS]
NAVIGATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
LONGEST = 300  # seconds that a page may take

FENCE = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
INLINE_COMMAND = re.compile(r"`(netwright [^`]+)`")
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it stands for, if any, its text, and the line it begins on."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = FENCE.finditer(text)
    return [Block(m["language"], m["title"] or "", m["text"], text[: m.start("text")].count("\n")) for m in found]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def script(page: Path) -> str:
    """The page's Python blocks, each on the lines where it stands on the page, so that tracebacks point there."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python" and not block.title:
            lines += [""] * (block.line - len(lines)) + block.text.splitlines()
    return "\n".join(lines)


def imported() -> None:
    """What pages import, once for all of them; as in the pages, what will not work in future is an error."""
    simplefilter("error", FutureWarning)
    torch.set_num_threads(1)
    for name in ("recipes._fit", "bundle.predictor", "lab.ablate", "report.page", "records.store"):
        import_module(f"netwright.{name}")


def ran(path: Path) -> int | None:
    """Run a page in a fork of this process, from its folder: the exit code, which is not 0 if it takes too long."""
    process = get_context("fork").Process(target=run_in_its_folder, args=(path,))
    process.start()
    process.join(LONGEST)
    process.kill()
    return process.exitcode


def run_in_its_folder(path: Path) -> None:
    """What is printed goes into `out.txt` there, errors into `errors.txt`."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "netwright"]:
        del sys.modules[name]  # so that a page has what it imports, and in its own order
    os.chdir(path.parent)
    os.environ["NETWRIGHT_CACHE"] = str(path.parent / "cache")
    for stream, name in ((1, "out.txt"), (2, "errors.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), stream)
    runpy.run_path(path.name, run_name="__main__")


@pytest.fixture(scope="module")
def server() -> Iterator[ProcessPoolExecutor]:
    """A process that has imported torch, and of which pages are forks."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=imported) as pool:
        yield pool


@pytest.mark.parametrize("page", [page for page in PAGES if script(page)], ids=named)
def test_python_blocks_run(page: Path, server: ProcessPoolExecutor, tmp_path: Path) -> None:
    written = tmp_path / f"{page.stem}.md.py"
    written.write_text(script(page), "utf-8")
    code = server.submit(ran, written).result()
    errors = (tmp_path / "errors.txt").read_text("utf-8")
    assert code == 0, f"{named(page)} (the lines are the page's):\n{errors}"


def test_the_contributors_example_passes_the_conformance_tests(tmp_path: Path) -> None:
    """The files of the walk-through, in a copy of the project."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "tests" / "tricks", tmp_path / "tests" / "tricks", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "tests/__init__.py", "tests/support.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    files = [block for block in blocks(ROOT / "CONTRIBUTING.md") if block.title]
    assert [Path(block.title).name for block in files] == ["tint.py", "test_tint.py"]
    for block in files:
        (tmp_path / block.title).write_text(block.text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/tricks", "-k", "tint"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 10, done.stdout


def test_the_readme_has_exactly_two_commands() -> None:
    commands = [block.text.strip() for block in blocks(ROOT / "README.md") if block.language == "bash"]
    assert commands == [
        "python -m pip install -e . && netwright train",
        "python -m pip install -e '.[dev]' && python -m pytest -n auto",
    ]


def commands(page: Path) -> Iterator[str]:
    """Every `netwright …` line of a page, in blocks for a shell and between backticks."""
    for block in blocks(page):
        if block.language in ("bash", "console"):
            for line in block.text.splitlines():
                yield from (
                    part.strip() for part in line.removeprefix("$ ").split("&&") if "netwright" in part.split()[:1]
                )
    text = FENCE.sub("", page.read_text("utf-8"))
    yield from (" ".join(match.split()) for match in INLINE_COMMAND.findall(text))


@pytest.mark.parametrize("page", [page for page in PAGES if [*commands(page)]], ids=named)
def test_command_lines_parse(page: Path) -> None:
    group = typer.main.get_command(app)
    for line in commands(page):
        words = optional_resume(shlex.split(line.replace("…", ""), comments=True)[1:])
        if words and words[0] in ("--help", "--version"):
            continue
        assert words and words[0] in group.commands, f"{named(page)}: no such verb: {line}"  # type: ignore[attr-defined]
        verb = group.commands[words[0]]  # type: ignore[attr-defined]
        flags = {flag for parameter in verb.params for flag in [*parameter.opts, *parameter.secondary_opts]}
        unknown = [word for word in words[1:] if re.match(r"--?[a-z]", word) and word not in flags]
        assert not unknown, f"{named(page)}: no such flag {unknown}: {line}"
        if len(words) > 1:  # a verb that stands alone is a mention, not a command to type
            verb.make_context(f"netwright {words[0]}", words[1:])


@pytest.mark.parametrize("page", [page for page in ADRS if page.stem[0].isdigit()], ids=named)
def test_decision_records_have_their_three_parts(page: Path) -> None:
    headings = HEADING.findall(page.read_text("utf-8"))
    assert headings[0].startswith(page.stem[:4])
    assert headings[1:] == ["Context", "Decision", "Consequences"]


def test_decision_records_are_numbered_without_gaps() -> None:
    assert [int(page.stem[:4]) for page in ADRS] == list(range(1, len(ADRS) + 1))


def navigated(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, list):
        for inner in entry:
            yield from navigated(inner)
    elif isinstance(entry, dict):
        for inner in entry.values():
            yield from navigated(inner)


def test_the_navigation_names_every_page() -> None:
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert there <= set(navigated(NAVIGATION))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Pages that are written at build time are those in the navigation that are not in the folder."""
    generated = {DOCS / place for place in navigated(NAVIGATION)}
    for place, anchor in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        target = Path(os.path.normpath(page.parent / place)) if place else page
        assert target.exists() or target in generated, f"{named(page)}: nothing at {place}"
        if anchor and target.is_file():
            headings = HEADING.findall(FENCE.sub("", target.read_text("utf-8")))
            assert anchor[1:] in {slug(heading) for heading in headings}, (
                f"{named(page)}: no heading {anchor} in {place}"
            )


def slug(heading: str) -> str:
    """A heading's anchor, as both GitHub and the site make it for plain words."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
