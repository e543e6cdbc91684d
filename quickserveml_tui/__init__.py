"""QuickServeML TUI: the terminal workbench and server for ONNX models."""

from quickserveml_tui._version import __version__

__all__ = ["__version__"]
