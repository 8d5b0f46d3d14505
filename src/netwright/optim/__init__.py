"""Optimisers and schedules by name. Importing this package imports no torch."""

from netwright.core.registry import Registry

OPTIMIZERS = Registry("netwright.optim", "optimizer")
SCHEDULES = Registry("netwright.optim.schedules", "schedule")
