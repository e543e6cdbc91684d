"""A clock that tests set."""

from __future__ import annotations

from quickserveml_tui.core.clock import Instant


class SetClock:
    """Both clocks of a machine; `wall_s` may be set at will, `boot_s` only goes on."""

    def __init__(self, boot="boot-1", wall_s=1_800_000_000.0, boot_s=1000.0):
        self.boot, self.wall_s, self.boot_s = boot, wall_s, boot_s

    def __call__(self):
        return Instant(self.wall_s, self.boot, self.boot_s)

    def go_on(self, seconds):
        self.wall_s += seconds
        self.boot_s += seconds
