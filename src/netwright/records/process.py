"""Processes told apart: a number is used again, a number and a start time are not."""

import subprocess
from contextlib import suppress
from pathlib import Path


def started(pid: int) -> str:
    """When a process started, as this system writes it; empty if it has ended, or if only a zombie is left of it."""
    with suppress(OSError):
        # The name, in brackets, may itself hold blanks and brackets; the state and the start time are the 1st and the
        # 20th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    with suppress(OSError):
        asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return asked.stdout.strip()
    return ""
