"""Every fault that netwright promises something about: which tests hold the promise, and how they ended.

    python bench/reliability.py --write docs/reliability.md

Runs the tests that are marked with `fault` and replaces the table between the two marks in that page.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import pytest

FAULTS = {
    1: "killed at a random step",
    2: "killed while saving",
    3: "killed between two writes of one checkpoint",
    4: "power cut after a rename",
    5: "disk full while saving",
    6: "folder read-only, or permission lost meanwhile",
    7: "a bit of a checkpoint flips",
    8: "checkpoint cut, empty or linked in a circle",
    9: "resumed in the middle of a shuffled epoch",
    10: "resumed at the end of an epoch",
    11: "augmentation in worker processes",
    12: "dropout, mixing and other draws after a resume",
    13: "learning rate after a resume",
    14: "averages of weights after a resume",
    15: "mixed precision and steps that were passed over",
    16: "stopped between the parts of an accumulated batch",
    17: "running statistics of batch normalisation",
    18: "counters of early stopping and plateaus",
    19: "rows of metrics after a resume",
    20: "validation interrupted",
    21: "another recipe on resuming",
    22: "other data on resuming",
    23: "a checkpoint of an older version",
    24: "another version of torch, or other threads",
    25: "SIGTERM",
    26: "a storm of signals",
    27: "workers left behind",
    28: "a worker that dies",
    29: "an exception in one's own code",
    30: "two runs in one folder",
    31: "retention of checkpoints",
    32: "a clock that jumps back",
    33: "odd names of files and folders",
    34: "links, also in circles",
    35: "loss not a number",
    36: "gradient not a number while the loss is one",
    37: "not a number on one of several processes",
    38: "validation metric not a number",
    40: "main memory too small",
    41: "the same seed twice",
    42: "odd seeds",
    43: "fewer pictures than a batch",
    44: "a truncated picture",
    45: "flipped bits in a picture",
    46: "files that are no pictures",
    47: "decompression bombs",
    48: "EXIF orientation",
    49: "CMYK",
    50: "16 bits and floats",
    51: "palettes and transparency",
    52: "animations and several pages",
    53: "one pixel, very long pictures",
    54: "an empty class folder",
    55: "one class, or none",
    56: "classes that differ between the splits",
    57: "hidden folders",
    58: "class names that look alike",
    59: "duplicates across splits",
    60: "one picture under two labels",
    61: "one patient or video on two sides",
    62: "tiny classes",
    63: "files that change or stutter while being read",
    64: "pickles that run code",
    65: "model files made to fill memory",
    66: "settings that name any class",
    67: "archives that write elsewhere",
}
NEEDS_MORE = {37: "training on several processes, which netwright has not yet"}
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Collector:
    """A pytest plugin that notes for each fault and promise the tests, and how each of their cases ended."""

    def __init__(self) -> None:
        self.marks: dict[str, list[tuple[int, str]]] = {}
        self.ended: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Which faults each test is about."""
        for item in items:
            self.marks[item.nodeid] = [(mark.args[0], mark.args[1]) for mark in item.iter_markers("fault")]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How each case ended; a failure in any phase counts."""
        if report.failed:
            self.ended[report.nodeid] = FAILED
        elif report.skipped:
            self.ended.setdefault(report.nodeid, SKIPPED)
        elif report.when == "call":
            self.ended.setdefault(report.nodeid, PASSED)

    def rows(self) -> list[tuple[int, str, str, str]]:
        """Fault, promise, test and result, by fault."""
        cases: dict[tuple[int, str, str], list[str]] = defaultdict(list)
        for nodeid, marks in self.marks.items():
            for number, promise in marks:
                cases[number, promise, nodeid.partition("[")[0]].append(self.ended.get(nodeid, "did not run"))
        return [(*key, _counted(ended)) for key, ended in sorted(cases.items())]


def _counted(ended: list[str]) -> str:
    return ", ".join(f"{ended.count(each)} {each}" for each in dict.fromkeys(ended))


def table(rows: list[tuple[int, str, str, str]]) -> str:
    """Markdown; a fault without a test is named as such."""
    lines = ["| | fault | promise | test | cases |", "| ---: | --- | --- | --- | --- |"]
    for number, fault in FAULTS.items():
        own = [row for row in rows if row[0] == number]
        for place, (_, promise, test, ended) in enumerate(own):
            file, _, name = test.removeprefix("tests/").partition("::")
            said = promise[:1].lower() + promise[1:].rstrip(".")
            shown = f"| {number} | {fault}" if place == 0 else "| |"
            lines.append(f"{shown} | {said} | `{file}` `{name.replace('::', ' ')}` | {ended} |")
        if not own:
            lines.append(f"| {number} | {fault} | **not held**: needs {NEEDS_MORE.get(number, 'a test')} | | |")
    return "\n".join(lines)


def main() -> None:
    """Run the tests, write the table, and say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page with the two marks")
    given = parser.parse_args()
    collector = Collector()
    code = pytest.main(["-m", "fault", "-q", "-p", "no:cacheprovider", "tests"], plugins=[collector])
    made = table(collector.rows())
    if given.write:
        page = given.write.read_text("utf-8")
        head, _, rest = page.partition(BEGIN)
        given.write.write_text(f"{head}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", "utf-8")
    else:
        print(made)
    absent = [number for number in FAULTS if number not in {row[0] for row in collector.rows()}]
    print(f"{len(collector.marks)} tests; faults without one: {absent or 'none'}")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
