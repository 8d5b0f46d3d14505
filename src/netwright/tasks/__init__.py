"""What a network is trained for, by name. Importing this package imports no torch."""

from netwright.core.registry import Registry

TASKS = Registry("netwright.tasks", "task")
