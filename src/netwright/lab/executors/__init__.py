"""Where the runs of the lab are computed: in this process, in several, or by Ray."""

from math import floor
from pathlib import Path

from netwright.core.errors import NetwrightError, unknown
from netwright.lab.executors._executor import Executor, Terms, new_owner

__all__ = ["Executor", "executor_for"]

PLACES = ("local", "ray", "ray://HOST:PORT")
REMOTE = "ray://"


def executor_for(
    on: str = "local",
    processes: int | None = None,
    threads: int | None = None,
    gpus: float = 0.0,
    store: str | None = None,
    checkpoints: str | Path | None = None,
) -> Executor:
    """What computes jobs; to be entered by `with`, which ends its processes on the way out.

    Args:
        on: "local"; "ray" for a cluster on this machine that is started and ended with it; "ray://HOST:PORT".
        processes: jobs at once. By default one on this machine, and with Ray as many as its cores allow.
        threads: of each job whose recipe names none.
        gpus: of each job, with Ray; two jobs share a GPU at 0.5.
        store: address of the run store, to which workers write what they finish; without it only the caller gets it.
        checkpoints: a folder in which jobs of more than a minute keep their state.

    Raises:
        NetwrightError: no such place, a number out of range, or Ray is missing or cannot be reached.
    """
    for name, given in (("processes", processes), ("threads", threads)):
        if given is not None and given < 1:
            raise NetwrightError(f"{name} cannot be {given}", "give at least 1")
    if gpus < 0 or (gpus > 1 and gpus != floor(gpus)):
        raise NetwrightError(f"gpus cannot be {gpus:g}", "give a part of one GPU, as in 0.5, or a whole number of them")
    terms = Terms(new_owner(), threads, store, None if checkpoints is None else str(Path(checkpoints).absolute()))
    if on == "ray" or on.startswith(REMOTE):
        from netwright.lab.executors.ray import OnRay

        return OnRay(terms, address=None if on == "ray" else on, processes=processes, gpus=gpus)
    if on != "local":
        raise unknown("place to compute runs", on, PLACES)
    if gpus:
        fix = "leave --gpus out: processes on this machine share its GPU; or give --on ray"
        raise NetwrightError("parts of a GPU are given out by Ray only", fix)
    from netwright.lab.executors.local import InTurn
    from netwright.lab.executors.processes import Processes

    return InTurn(terms) if processes in (1, None) else Processes(terms, processes)
