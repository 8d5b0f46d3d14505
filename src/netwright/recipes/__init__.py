"""A run as data: `Recipe`, the named recipes (one a file), and `fit`, the one place where names become objects."""

from netwright.core.registry import Registry

RECIPES = Registry("netwright.recipes", "recipe")
