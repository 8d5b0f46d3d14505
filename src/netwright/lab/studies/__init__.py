"""Named studies, one a file: questions that many trainings answer together. Importing this package imports no torch."""

from netwright.core.registry import Registry

STUDIES = Registry("netwright.lab.studies", "study", "studies")
