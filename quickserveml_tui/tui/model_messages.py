"""What workers tell the screen of single models: headers, layers, values, golden outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quickserveml_tui.tui.messages import Fact

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Resolved
    from quickserveml_tui.core.compatibility import Compatibility
    from quickserveml_tui.core.errors import QuickServeError
    from quickserveml_tui.core.facts import LayerPage, ModelFacts, ModelHeader


@dataclass
class HeaderRead(Fact):
    """What a reference stands for; `header` is there for a file that is not registered."""

    asked: int
    """Number of the question: a later one makes the answer worthless."""
    resolved: Resolved
    header: ModelHeader | None


@dataclass
class TotalsRead(Fact):
    """Facts of an opened file, or why they cannot be counted."""

    sequence: int
    ref: str
    facts: ModelFacts | None
    error: QuickServeError | None = None
    complete: bool = True
    """Whether they have what takes shape inference: multiply-adds, and the checker's finding."""


@dataclass
class LayerPageRead(Fact):
    """One page of a large layer table, or why it cannot be read."""

    sequence: int
    ref: str
    offset: int
    page: LayerPage | None
    error: QuickServeError | None = None


@dataclass
class LayerFound(Fact):
    """Where a layer that was asked for by name stands; -1 when there is none of that name."""

    sequence: int
    ref: str
    name: str
    index: int


@dataclass
class CompatibilityRead(Fact):
    """The formats of what is shown beside what the runtime takes."""

    sequence: int
    ref: str
    compatibility: Compatibility
