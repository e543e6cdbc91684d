"""Watch the machine."""

from __future__ import annotations

from quickserveml_tui.core.hosts import HostStatus


class HostService:
    """`HostPort` of this machine."""

    def status(self) -> HostStatus:
        """Load of the machine now."""
        from quickserveml_tui.runtime.host import host_status

        return host_status()
