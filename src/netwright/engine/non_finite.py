"""What becomes of a batch whose loss or gradient is not a number: the run ends, passes it over, or goes back."""

import math
from collections.abc import Callable

import torch

from netwright.engine.memory import copied
from netwright.engine.run import NonFiniteError, Run

MOST_SKIPPED = 10  # batches in a row; as many are no accident
MOST_ROLLBACKS = 3
LAST_WORD = {
    "raise": "",
    "skip": f"; it was the {MOST_SKIPPED}th batch in a row",
    "rollback": f"; the run has gone back {MOST_ROLLBACKS} times already",
}

Tell = Callable[[Run, NonFiniteError], None]


class Guard:
    """Makes a run's updates, and answers those that cannot be made as `run.non_finite` says.

    - `raise`: the run ends.
    - `skip`: the batch is passed over. Its step counts, so the data and the schedule go on; weights, optimiser,
      averages and running statistics stay as they were. The tenth batch in a row ends the run.
    - `rollback`: the run goes back to the beginning of the epoch, and its learning rate is half of what it was from
      there on. After three times the next one ends the run.

    Args:
        run: whose updates they are.
        tell: told of each batch that is not a number, before the run goes on or ends.
    """

    def __init__(self, run: Run, tell: Tell) -> None:
        self.run = run
        self.tell = tell

    def begin_epoch(self) -> None:
        """Remember where the run may have to go back to: a place that depends on no clock, as checkpoints do."""
        run = self.run
        if run.non_finite == "rollback" and (run.step_in_epoch == 0 or run.fallback is None):
            run.fallback = None
            run.fallback = copied(run.memory())

    def made(self, update: Callable[[], None]) -> bool:
        """Make an update. False if the run went back instead, so that the epoch has to begin again.

        Raises:
            NonFiniteError: it could not be made, and the run ends.
        """
        run = self.run
        buffers = [buffer.clone() for buffer in run.model.buffers()] if run.non_finite == "skip" else []
        try:
            update()
        except NonFiniteError as error:
            if run.non_finite == "skip" and run.failing + 1 < MOST_SKIPPED:
                error.answer = "this batch is passed over"
                self.tell(run, error)
                pass_over(run, buffers)
                return True
            if run.non_finite == "rollback" and run.rollbacks < MOST_ROLLBACKS:
                error.answer = "the run goes back to the beginning of the epoch, at half the learning rate"
                self.tell(run, error)
                go_back(run)
                return False
            error.problem += LAST_WORD[run.non_finite]
            self.tell(run, error)
            raise
        run.failing = 0
        return True


def checked_norm(run: Run) -> float:
    """The norm of the whole gradient.

    Raises:
        NonFiniteError: it or the loss is not a number.
    """
    gradients = [p.grad for p in run.optimizer.parameters if p.grad is not None]
    loss, norm = torch.stack([run.passed.loss.float(), gradient_norm(gradients)]).tolist()
    if math.isfinite(loss) and math.isfinite(norm):
        return norm
    raise NonFiniteError(run, loss, norm)


def gradient_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The Euclidean norm of all gradients together, a scalar tensor."""
    return torch.stack(torch._foreach_norm(gradients)).norm()


@torch.no_grad()
def pass_over(run: Run, buffers: list[torch.Tensor]) -> None:
    """Count a step that changed nothing; `buffers` are the network's as they were before its batch was seen."""
    for mine, before in zip(run.model.buffers(), buffers, strict=True):
        mine.copy_(before)
    run.step += 1
    run.failing += 1
    run.sums["skipped"] = run.sums.get("skipped", 0) + 1


def go_back(run: Run) -> None:
    """To the beginning of the epoch; from there the learning rate is half of what it was."""
    beginning, rollbacks = run.fallback or {}, run.rollbacks + 1
    run.recall(beginning)
    run.fallback, run.rollbacks = beginning, rollbacks
