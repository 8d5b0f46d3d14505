"""What benches time of netwright itself."""

from collections.abc import Callable

from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.recipes._assemble import Parts


def ours(parts: Parts) -> Callable[[], None]:
    """An epoch of netwright at each call."""
    run = parts.run
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")

    def epoch() -> None:
        run.model.train()
        for raw in run.loader.epoch(run.epoch):
            step(run, augment, raw, before, after)
        run.epoch += 1

    return epoch
