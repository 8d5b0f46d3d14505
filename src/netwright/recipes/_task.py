"""The task of a run, and whether the data is for it."""

from dataclasses import replace
from typing import Any

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.spec import Spec
from netwright.data.split import Split
from netwright.engine.run import Task
from netwright.nn.output import wants_labels
from netwright.recipes._inputs import Inputs
from netwright.recipes._recipe import Recipe
from netwright.tasks import TASKS
from netwright.tasks.reconstruction import Reconstruction


def task_for(recipe: Recipe, inputs: Inputs) -> Task:
    """The recipe's task, for the data's classes."""
    if Spec.parse(recipe.task).name == "reconstruction":
        moments = {} if inputs.ready else {"mean": tuple(inputs.normalise.mean), "std": tuple(inputs.normalise.std)}
        return TASKS.load(recipe.task)(**moments)
    options: dict[str, Any] = {"classes": len(inputs.classes)}
    if inputs.masks is not None and recipe.task == "segmentation":
        options |= {"background": inputs.masks.background, "several": inputs.masks.several}
    return TASKS.load(recipe.task)(**options)


def completed(task: Task, inputs: Inputs) -> Task:
    """A caller's reconstruction that does not say how pictures were normalised, told so."""
    if isinstance(task, Reconstruction) and not task.mean and not inputs.ready:
        return replace(task, mean=tuple(inputs.normalise.mean), std=tuple(inputs.normalise.std))
    return task


def refuse_conditions(network: nn.Module, inputs: Inputs) -> None:
    """Refuse a network that is told each picture's class where there is not one of several.

    Raises:
        NetwrightError: pictures have several classes each, or all have the same.
    """
    train = inputs.splits["train"]
    if not wants_labels(network) or not isinstance(train, Split):
        return
    fix = "take --model vae, which needs no classes"
    if train.labels.ndim == 2:
        raise NetwrightError("a conditional network is told one class of each picture, and these have several", fix)
    if len(inputs.classes) < 2:
        problem = "a conditional network is told each picture's class, and here all are of one"
        raise NetwrightError(problem, f"give a folder for each class, or {fix}")


def refuse_labels(task: Task, inputs: Inputs) -> None:
    """Refuse labels of another kind than a task of ours wants; a user's own task may want any.

    Raises:
        NetwrightError: the data is for another task, or there is none.
    """
    train = inputs.splits["train"]
    if not len(train):
        raise NetwrightError("the train split is empty", "give pictures to train on")
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
