"""The version of the distribution; imports nothing, so that `--version` costs nothing."""

__version__ = "0.1.0"
