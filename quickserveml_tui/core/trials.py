"""What a model may take while it is tried; apart from `runners`, which every front would have to load for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrialPolicy:
    """What a small model may take; larger ones get more, in step with their files and nodes."""

    timeout_s: float = 30.0
    """Seconds for loading and one run, to which 20 are added for each GB of files, and 1 for each 10,000 nodes."""
    memory_bytes: int | None = None
    """Private memory of a runner for any model; None takes 4 GiB and 4 × its files, at most 80 % of the machine."""
