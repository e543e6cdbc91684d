"""What the caller asks of the workbench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkbenchOptions:
    """How the workbench starts."""

    open_ref: str = ""
    """Reference or path to show first; empty shows what was shown last."""
    theme: str = ""
    """`dark`, `light` or `contrast`; empty takes what was used last."""
    ascii: bool = False
    """Draw with ASCII characters only."""
    mouse: bool = True
    fresh: bool = False
    """Ignore what the last session remembered."""
    demo: bool = False
    """Register the demo models at start."""
    read_only: bool = False
    """Refuse every action that writes."""
    home: str = ""
    """Folder with `ui.json`, where it is known before the services are; lets the first frame use the last theme."""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """Keys by binding id (`benchmark.run_model`), as Textual writes them."""
