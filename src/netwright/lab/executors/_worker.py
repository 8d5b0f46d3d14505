"""What a worker does: it computes a job, writes the outcome to the run store, and answers. It prints nothing."""

import builtins
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

from netwright.core.errors import NetwrightError
from netwright.lab.executors._executor import with_threads
from netwright.lab.executors._frames import receive, send
from netwright.lab.job import Job
from netwright.lab.measure import measure
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import PRUNED
from netwright.records.outcomes import OutcomeStore

STDOUT = 1


def main(cores: tuple[int, ...] = ()) -> None:
    """Answer what comes in by the standard input until it closes, as it does when the driver ends, however it ends.

    Args:
        cores: to stay on, where the system allows that.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody; the driver decides
    if cores and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, cores)
    answers = os.fdopen(os.dup(STDOUT), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    asked: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()
    while True:
        send(answers, answer(asked.get()))


def _listen(questions: IO[bytes], asked: "SimpleQueue[Any]") -> None:
    while (question := receive(questions)) is not None:
        asked.put(question)
    os._exit(0)  # in the middle of a run too: nobody waits for it


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome as bytes, or what went wrong."""
    try:
        return {"content": computed(question)}
    except NetwrightError as error:
        return {"problem": error.problem, "fix": error.fix}
    except Exception as error:
        return {"error": type(error).__name__, "words": str(error), "trace": traceback.format_exc()}


def outcome_of(answered: Mapping[str, Any]) -> Outcome:
    """What a worker's answer says.

    Raises:
        NetwrightError: the job met one; and any other exception as it was, as far as it is one of Python's own.
    """
    if "content" in answered:
        return Outcome.from_bytes(answered["content"])
    if "problem" in answered:
        raise NetwrightError(answered["problem"], answered["fix"])
    error = exception(answered["error"], answered["words"])
    error.add_note(answered["trace"])
    raise error


def computed(question: Mapping[str, Any]) -> bytes:
    """The outcome of a job; from the store if it is there, as after a worker died between writing and telling."""
    job = Job.from_json(question["job"])
    store = None if question["store"] is None else _store(question["store"])
    if store is not None and (found := store.content(job.key)) is not None:
        return found
    folder = None if question["checkpoints"] is None else Path(question["checkpoints"])
    outcome = measure(with_threads(job, question["threads"]), checkpoints=folder, stopping=nullcontext)
    content = outcome.to_bytes()
    if store is not None and outcome.stopped != PRUNED:
        with suppress(NetwrightError):  # the driver tries it again, and tells
            store.finish(job.key, question["owner"], content, outcome.summary())
    return content


def exception(name: str, words: str) -> Exception:
    """One of Python's own by its name; for any other a RuntimeError that says which it was."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with suppress(TypeError):
            return kind(words)
    return RuntimeError(f"{name}: {words}")


@cache
def _store(url: str) -> OutcomeStore:
    return OutcomeStore(url)
