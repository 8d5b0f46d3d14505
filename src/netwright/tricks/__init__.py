"""The bag of tricks, one a file: the file's stem is the name. Importing this package imports no torch."""

from netwright.core.registry import Registry

TRICKS = Registry("netwright.tricks", "trick")
