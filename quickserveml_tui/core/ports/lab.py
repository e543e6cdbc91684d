"""The benchmark lab: compare, load, profile, look back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from quickserveml_tui.core.comparing import Comparison, ComparisonFrame, ComparisonSpec, Side
from quickserveml_tui.core.jobs import CancelToken

ComparisonSink: TypeAlias = Callable[[ComparisonFrame], None]


class ComparePort(Protocol):
    """Let versions and settings take turns, and judge."""

    def run(
        self,
        sides: Sequence[Side],
        spec: ComparisonSpec,
        *,
        on_frame: ComparisonSink | None = None,
        cancel: CancelToken | None = None,
        save: bool = True,
        options: tuple[str, ...] = (),
        comparison_id: str = "",
    ) -> Comparison:
        """Compare the first side with each other one; on cancel the rounds so far are judged, saved and returned.

        `options` are what a command needs beside references and `spec` to say the same. Raises
        `UnsavedComparisonError`, which has the comparison, when it was measured and could not be saved.
        """
        ...

    def get(self, comparison_id: str) -> Comparison:
        """A saved comparison. Raises `NotFoundError`."""
        ...

    def delete(self, comparison_id: str) -> None:
        """Forget a saved comparison. Raises `NotFoundError`."""
        ...

    def history(self, limit: int = 100) -> tuple[Comparison, ...]:
        """Saved comparisons, newest first."""
        ...
