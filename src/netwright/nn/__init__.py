"""Layers that two or more families or tricks use."""
