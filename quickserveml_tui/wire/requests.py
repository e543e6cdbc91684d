"""What an inference request asks, whatever form it came in."""

from __future__ import annotations

from dataclasses import dataclass

from quickserveml_tui.wire.json_tensors import Array


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The outputs that a request asks for, in its order, and which of them as raw bytes."""

    names: tuple[str, ...]
    binary: tuple[bool, ...]

    @property
    def any_binary(self) -> bool:
        """Whether the answer has a binary part."""
        return True in self.binary


@dataclass(slots=True)
class InferRequest:
    """Arrays by input name, checked against the model, and what to send back."""

    feeds: dict[str, Array]
    plan: OutputPlan
    id: str = ""
    priority: int = 0
    """1 goes before all others, 0 and 2 are usual, higher numbers wait behind."""
    timeout_us: int = 0
    """Longest wait before it runs; 0 leaves it to the server."""
