"""How long a user waits: start-up times as multiples of `import torch`, each in a process of its own.

python bench/startup.py [--run RUN --pictures A.jpg B.jpg C.jpg]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile

from _measure import in_turn, machine, ratio

FIRST_STEP = """
import netwright.engine.loop as loop, os, sys
original = loop.step
def first(*a):
    original(*a); os._exit(0)
loop.step = first
from netwright.cli.main import run
run(["train", "--output", sys.argv[1]])
"""


def process(*arguments: str):
    """Something that runs a process to its end and insists that it went well."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="a run folder to predict with")
    parser.add_argument("--pictures", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        things = {
            "import torch": process("-c", "import torch"),
            "import netwright": process("-c", "import netwright, sys; assert 'torch' not in sys.modules"),
            "netwright --help": process("-m", "netwright", "--help"),
            "netwright list models": process("-m", "netwright", "list", "models"),
            "first step on digits": process("-c", FIRST_STEP, folder),
        }
        if given.run:
            things["predict"] = process("-m", "netwright", "predict", given.run, *given.pictures)
        seconds = in_turn(things, given.rounds)
    print(machine())
    for name, values in seconds.items():
        multiple = ratio(values, seconds["import torch"])
        print(f"  {name:<24} {statistics.median(values):6.2f} s   × import torch: {multiple}")


if __name__ == "__main__":
    main()
