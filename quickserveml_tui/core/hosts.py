"""What is known of the machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostStatus:
    """Load of the machine now."""

    name: str
    cores: int
    load: float
    """Load average over one minute."""
    memory_total_bytes: int
    memory_available_bytes: int

    @property
    def quiet(self) -> bool:
        """Whether the load leaves half of the cores free, so that a measurement can be trusted."""
        return self.load <= self.cores / 2
