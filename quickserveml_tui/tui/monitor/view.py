"""What the panes of the monitor look at together: one history, one window, one model, one cursor."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from quickserveml_tui.core.monitoring import ModelRates, MonitorSource, ServerSnapshot
from quickserveml_tui.tui.monitor.history import History, ModelKey, Point

WINDOWS_S = (60.0, 300.0, 600.0)
INTERVALS_S = (0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass
class View:
    """State of the monitor that its panes draw."""

    history: History = field(default_factory=History)
    window_s: float = WINDOWS_S[0]
    model: ModelKey | None = None
    """Version that the charts are about; None for all together."""
    ago_s: float | None = None
    """Where the cursor is, seconds before the newest interval; None without one."""

    gone: bool = False
    """Whether the server does not answer: all that is shown was true before."""

    @property
    def snapshot(self) -> ServerSnapshot | None:
        """The newest snapshot."""
        return self.history.snapshot

    @property
    def source(self) -> MonitorSource | None:
        """What kind of server it is."""
        return self.snapshot.source if self.snapshot is not None else None

    @property
    def newest(self) -> ModelRates | None:
        """Rates of the newest interval for what the charts are about."""
        point = self.history.newest
        return point.of(self.model) if point is not None else None

    @property
    def window_words(self) -> str:
        """`last 5 min`."""
        return f"last {self.window_s / 60:g} min"

    def column_of(self, columns: int) -> int | None:
        """Column of the cursor."""
        if self.ago_s is None or columns <= 0:
            return None
        return min(max(round((1 - self.ago_s / self.window_s) * columns - 0.5), 0), columns - 1)

    def move_cursor(self, by: int, columns: int) -> None:
        """Move the cursor by some columns; it appears at the newest one and leaves at the right edge."""
        each = self.window_s / max(columns, 1)
        ago = -each / 2 if self.ago_s is None else self.ago_s
        ago -= by * each
        self.ago_s = None if ago < 0 else min(ago, self.window_s - each / 2)

    def under_cursor(self, columns: int) -> Point | None:
        """The interval that the cursor is on."""
        column = self.column_of(columns)
        return None if column is None else self.history.at_column(column, self.window_s, columns)


def clock_of(at: float, *, seconds: bool = True) -> str:
    """A Unix time as the time of day."""
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(at)) if at > 0 else ""
