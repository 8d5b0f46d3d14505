"""Where the runs of the lab are computed: in this process, in several, or by Ray."""

from contextlib import suppress
from importlib.util import find_spec
from math import floor
from pathlib import Path
from urllib.parse import urlsplit

from netwright.core.errors import NetwrightError, unknown
from netwright.lab.executors._executor import Executor, Terms, new_owner

__all__ = ["Executor", "check", "executor_for"]

PLACES = ("local", "ray", "ray://HOST:PORT")
REMOTE = "ray://"


def check(on: str = "local", gpus: float = 0.0) -> None:
    """Refuse a place that cannot be, at no cost: before data are opened and anything is measured.

    Args:
        on: as of `executor_for`.
        gpus: of each job.

    Raises:
        NetwrightError: no such place, a number of GPUs that cannot be, or Ray is not installed.
    """
    if gpus < 0 or (gpus > 1 and gpus != floor(gpus)):
        raise NetwrightError(f"gpus cannot be {gpus:g}", "give a part of one GPU, as in 0.5, or a whole number of them")
    if on == "ray" or on.startswith(REMOTE):
        if find_spec("ray") is None:
            raise NetwrightError("--on ray needs ray", "pip install 'netwright[ray]'")
        if on != "ray":
            host_and_port(on)
    elif on != "local":
        raise unknown("place to compute runs", on, PLACES)
    elif gpus:
        fix = "leave --gpus out: processes on this machine share its GPU; or give --on ray"
        raise NetwrightError("parts of a GPU are given out by Ray only", fix)


def host_and_port(address: str) -> tuple[str, int]:
    """Of ray://HOST:PORT.

    Raises:
        NetwrightError: one of them is missing.
    """
    with suppress(ValueError):
        parts = urlsplit(address)
        if parts.hostname and parts.port:
            return parts.hostname, parts.port
    raise NetwrightError(f"{address} is no address of a cluster", "write ray://HOST:PORT; the port is usually 10001")


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
    check(on, gpus)
    terms = Terms(new_owner(), threads, store, None if checkpoints is None else str(Path(checkpoints).absolute()))
    if on == "ray" or on.startswith(REMOTE):
        from netwright.lab.executors.ray import OnRay

        return OnRay(terms, address=None if on == "ray" else on, processes=processes, gpus=gpus)
    from netwright.lab.executors.local import InTurn
    from netwright.lab.executors.processes import Processes

    return InTurn(terms) if processes in (1, None) else Processes(terms, processes)
