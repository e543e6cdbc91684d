"""The screens beside the workbench, by the names that the header shows."""

from __future__ import annotations

WORKBENCH, SERVE, MONITOR = "workbench", "serve", "monitor"
PLACES = ((WORKBENCH, "Workbench"), (SERVE, "Serve"), (MONITOR, "Monitor"))
