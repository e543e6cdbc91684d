"""What is found out for the monitor, apart from snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message


@dataclass
class AddressFound(Message):
    """Address of the newest server of this home; empty without one."""

    url: str


@dataclass
class FiguresWritten(Message):
    """The figures, or a picture, are in a file."""

    path: Path
