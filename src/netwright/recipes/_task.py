"""The task of a run, and whether the data is for it."""

from typing import Any

from netwright.core.errors import NetwrightError
from netwright.data.split import Split
from netwright.engine.run import Task
from netwright.recipes._inputs import Inputs
from netwright.recipes._recipe import Recipe
from netwright.tasks import TASKS


def task_for(recipe: Recipe, inputs: Inputs) -> Task:
    """The recipe's task, for the data's classes."""
    if recipe.task == "reconstruction":
        moments = {} if inputs.ready else {"mean": tuple(inputs.normalise.mean), "std": tuple(inputs.normalise.std)}
        return TASKS.load(recipe.task)(**moments)
    options: dict[str, Any] = {"classes": len(inputs.classes)}
    if inputs.masks is not None and recipe.task == "segmentation":
        options |= {"background": inputs.masks.background, "several": inputs.masks.several}
    return TASKS.load(recipe.task)(**options)


def refuse_labels(task: Task, inputs: Inputs) -> None:
    """Refuse labels of another kind than a task of ours wants; a user's own task may want any.

    Raises:
        NetwrightError: the data is for another task.
    """
    train = inputs.splits["train"]
    masks, whole = inputs.masks is not None, ("classification", "multi_label")
    if masks and task.name in whole:
        fix = "leave out --recipe and --transfer, which are for whole pictures, or add --task segmentation"
        raise NetwrightError(f"the pictures have masks, a class for each pixel, and {task.name} has one of each", fix)
    if masks and task.name == "reconstruction":
        fix = "name the folder of the pictures alone, as DATA/images, or leave out --task reconstruction"
        raise NetwrightError("the pictures have masks and sizes of their own, and an autoencoder has one size", fix)
    if isinstance(train, Split) and not masks and task.name == "segmentation":
        fix = "put pictures in images/ and masks of the same names in masks/, or leave out --task segmentation"
        raise NetwrightError("segmentation needs a mask for each picture, and this data has none", fix)
    if isinstance(train, Split) and task.name in whole:
        several = train.labels.ndim == 2
        if several and task.name == "classification":
            raise NetwrightError("the pictures have several labels each", "train with --set task=multi_label")
        if not several and task.name == "multi_label":
            raise NetwrightError("the pictures have one label each", "leave out --set task=multi_label")
