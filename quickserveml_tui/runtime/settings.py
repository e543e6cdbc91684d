"""Settings of an inference session."""

from __future__ import annotations

from dataclasses import dataclass

OPTIMIZATION_LEVELS = ("disable", "basic", "extended", "all")


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a model is loaded. Two sessions with equal settings on one file behave alike."""

    intra_op_threads: int = 1
    """Threads inside one operator; always set, because the runtime's own default escapes CPU affinity."""
    inter_op_threads: int = 1
    """Operators that run at once; more than one turns parallel execution on."""
    spinning: bool = False
    """Whether idle threads spin: lower latency under load, 3.4 times the CPU between calls."""
    optimization: str = "all"
    """Graph optimisation level: one of `OPTIMIZATION_LEVELS`."""
    provider: str = "CPUExecutionProvider"


DEFAULT_SETTINGS = SessionSettings()
