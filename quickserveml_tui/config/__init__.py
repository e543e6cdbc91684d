"""Typed settings with the source of each value."""
