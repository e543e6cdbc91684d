"""Models as lists and filters look at them: a head, its latest version, and the newest figures of that version."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from quickserveml_tui.core.benchmarks import BenchmarkFigures
from quickserveml_tui.core.heads import ModelHead, VersionHead
from quickserveml_tui.core.stores import RegistryStore, StateStore


class Row:
    """A model in a list; `figures` is None where it was not measured, or where nobody asked."""

    __slots__ = ("_text", "figures", "head", "version")

    def __init__(self, head: ModelHead, figures: BenchmarkFigures | None = None, text: str | None = None) -> None:
        self.head = head
        self.version: VersionHead | None = head.versions[-1] if head.versions else None
        self.figures = figures
        self._text = text

    @property
    def text(self) -> str:
        """The texts that words are looked up in, case folded; made when first asked for, and kept."""
        if self._text is None:
            self._text = _searched(self.head)
        return self._text

    def measured(self, figures: Mapping[int, BenchmarkFigures] | None) -> Row:
        """The row with the figures of its latest version among those by version."""
        newest = figures.get(self.version.version) if figures and self.version else None
        return self if newest is self.figures else Row(self.head, newest, self._text)


def _searched(head: ModelHead) -> str:
    labels = [version.label for version in head.versions if version.label]
    texts = (
        head.name, head.task, head.author, head.description, *head.tags, *head.categories, *head.aliases, *labels,
    )  # fmt: skip
    # NUL cannot stand in a filter, so no word matches across two texts.
    return "\0".join(texts).casefold()


class Rows:
    """The rows of a catalog, kept until it changes."""

    def __init__(self, registry: RegistryStore, state: StateStore) -> None:
        self._registry = registry
        self._state = state
        self._lock = threading.Lock()
        self._heads: tuple[ModelHead, ...] = ()
        self._plain: tuple[Row, ...] = ()
        self._measured: tuple[tuple[tuple[Row, ...], str], tuple[Row, ...]] | None = None

    def plain(self) -> tuple[Row, ...]:
        """All models, by name, without figures."""
        heads = self._registry.heads()
        with self._lock:
            if heads is not self._heads:
                known = {row.head.id: row for row in self._plain}
                self._plain = tuple(_kept(known, head) for head in heads)
                self._heads = heads
            return self._plain

    def measured(self) -> tuple[Row, ...]:
        """All models, by name, with the figures of the newest complete run of their latest version."""
        rows = self.plain()
        generation = self._state.generation()  # before the figures: a run in between is seen next time
        with self._lock:
            known = self._measured
        if known is not None and known[0][0] is rows and known[0][1] == generation:
            return known[1]
        figures = self._state.figures()
        measured = tuple([row.measured(figures.get(row.head.id)) for row in rows])
        with self._lock:
            self._measured = ((rows, generation), measured)
        return measured

    def choose(self, *, with_figures: bool) -> Sequence[Row]:
        """The rows with figures or without: reading those costs more."""
        return self.measured() if with_figures else self.plain()


def _kept(known: Mapping[str, Row], head: ModelHead) -> Row:
    """The row there is for a head that did not change, so that its text need not be made again."""
    row = known.get(head.id)
    return row if row is not None and row.head is head else Row(head)
