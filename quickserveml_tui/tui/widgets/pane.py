"""Panes: surfaces on the ground, without frames, that say three times where the focus is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.dom import DOMNode
from textual.reactive import reactive
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, say, two_edges


def join_spans(groups: Iterable[Sequence[Span]], gap: int) -> list[Span]:
    """Groups of spans in one row, `gap` blanks apart; empty groups vanish."""
    joined: list[Span] = []
    for group in groups:
        if group:
            if joined:
                joined.append(Span(" " * gap))
            joined.extend(group)
    return joined


class FocusRule(Inked):
    """The air row above a pane; it carries the accent rule while the focus is inside."""

    DEFAULT_CSS = "FocusRule { background: $ground; }"

    def rows(self, width: int) -> Sequence[Row]:
        """A rule over the whole width, or air."""
        pane = self.parent
        glyphs = glyphs_of(self)
        if not isinstance(pane, Pane) or not pane.focus_inside or self.mono or glyphs.ascii_only:
            return ()
        return ((Span(glyphs.focus_rule * width, Role.ACCENT),),)


class PaneTitle(Inked):
    """The first row of a pane: key and name at the left, subject and count at the right."""

    DEFAULT_CSS = """
    PaneTitle { text-style: $title-style; }
    PaneTitle.-focused { text-style: $focus-title-style; }
    """

    def __init__(self, pane: Pane) -> None:
        super().__init__()
        self.pane = pane

    def rows(self, width: int) -> Sequence[Row]:
        """The title row, in the theme's roles."""
        focused = self.pane.focus_inside
        left = [
            say(self.pane.key, Role.ACCENT if focused else Role.MUTED, bold=True),
            Span(" "),
            say(self.pane.title, Role.STRONG if focused else Role.BODY, bold=True),
        ]
        row = two_edges(left if self.pane.key else left[2:], self.pane.right_spans(), max(width - 4, 1))
        whole: Row = (Span("  "), *row, Span("  "))
        return (tuple(Span(span.text, Role.BODY, span.bold) for span in whole) if focused and self.inverse else whole,)


class Pane(Widget):
    """A surface with a title row.

    Subclasses give `compose_body`; children given to the constructor come first. Direct children keep a padding of two
    columns, those with the class `-bleed` use the full width.
    """

    DEFAULT_CSS = """
    Pane { layout: vertical; width: 1fr; height: 1fr; background: $ground; }
    Pane > .pane--surface { height: 1fr; background: $pane; padding: 0 0 1 0; }
    Pane:focus-within > .pane--surface { background: $focus; }
    Pane.-shelved > .pane--surface { padding: 0; }
    Pane > .pane--surface > * { margin: 0 2; }
    Pane > .pane--surface > PaneTitle, Pane > .pane--surface > .-bleed, Pane > .pane--surface > Shelf { margin: 0; }
    Pane > .pane--surface > PaneTitle { margin: 0 0 1 0; width: 100%; }
    Pane > .pane--surface > .-bleed, Pane > .pane--surface > Shelf { width: 100%; }
    Pane > .pane--surface > TabRow { margin: 0 2 1 2; }
    Pane.-untitled > FocusRule, Pane.-untitled > .pane--surface > PaneTitle { display: none; }
    """

    subject = reactive("", layout=False)
    """What the pane is about (`resnet50@3`), bold at the right."""
    count: reactive[int | None] = reactive[int | None](None)
    """How many of `noun` there are."""
    count_text = reactive("")
    """Words in place of the count: `18 of 30 s`."""
    live = reactive(False)
    """Whether the right part begins with `● live`."""
    sort_note = reactive("")
    """`by ms ▼`: how the table is sorted; last at the right."""

    def __init__(
        self,
        *children: Widget,
        key: str = "",
        title: str = "",
        noun: str = "",
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own parameter
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.key = key
        self.title = title
        self.noun = noun
        self._given = children
        self._hidden: list[Widget] = []

    def compose(self) -> ComposeResult:
        """The air row, the title and the body; override `compose_body` instead."""
        yield FocusRule()
        with Vertical(classes="pane--surface"):
            yield PaneTitle(self)
            yield from self._given
            yield from self.compose_body()

    def compose_body(self) -> ComposeResult:
        """What stands below the title."""
        yield from ()

    def on_mount(self) -> None:
        """A shelf reaches the pane's foot, so the empty last row is its own."""
        self.set_class(bool(self.query(".pane--surface > Shelf")), "-shelved")

    @property
    def focus_inside(self) -> bool:
        """Whether the focus is on the pane or on something in it."""
        focused = self.screen.focused
        return focused is not None and self in focused.ancestors_with_self

    def right_spans(self) -> list[Span]:
        """Spans at the right of the title; subclasses may replace them."""
        live = [Span(glyphs_of(self).running, Role.ACCENT), Span(" live", Role.STRONG, bold=True)] if self.live else []
        subject = [say(self.subject, Role.STRONG, bold=True)] if self.subject else []
        sort = [say(self.sort_note, Role.BODY)] if self.sort_note else []
        return join_spans((live, subject, self._count_spans(), sort), 3)

    def _count_spans(self) -> list[Span]:
        if self.count_text:
            return [say(self.count_text, Role.MUTED)]
        if self.count is None:
            return []
        number, _, noun = plural(self.count, self.noun).partition(" ")
        return [Span(number, Role.BODY), say(f" {noun}", Role.MUTED)]

    def watch_subject(self) -> None:
        """Show the new subject."""
        self.refresh_title()

    watch_count = watch_count_text = watch_live = watch_sort_note = watch_subject

    def refresh_title(self) -> None:
        """Paint the title row and the focus rule again."""
        if not self.is_mounted:
            return
        for title in self.query(PaneTitle):
            title.set_class(self.focus_inside, "-focused")
            title.refresh()
        for rule in self.query(FocusRule):
            rule.refresh()

    def _on_descendant_focus(self, _event: events.DescendantFocus) -> None:
        self.refresh_title()

    def _on_descendant_blur(self, _event: events.DescendantBlur) -> None:
        self.refresh_title()

    def focus_body(self) -> None:
        """Move the focus to the first widget inside that takes it, unless it is inside already."""
        if self.focus_inside:
            return
        for widget in self.query("*"):
            if widget.focusable and widget.display:
                widget.focus()
                return

    @property
    def maximised(self) -> bool:
        """Whether the pane has the whole screen."""
        return self.has_class("-maximised")

    def toggle_maximised(self) -> None:
        """Give the pane the whole room between header and status line, or give it back."""
        if self.maximised:
            for widget in self._hidden:
                widget.display = True
            self._hidden = []
        else:
            self._hidden = list(self._in_the_way())
            for widget in self._hidden:
                widget.display = False
        self.set_class(not self.maximised, "-maximised")

    def _in_the_way(self) -> Iterable[Widget]:
        node: DOMNode = self
        while isinstance(node, Widget) and isinstance(node.parent, Widget):
            for sibling in node.parent.children:
                holds_pane = isinstance(sibling, Pane) or bool(sibling.query(Pane))
                if sibling is not node and sibling.display and holds_pane:
                    yield sibling
            node = node.parent

    def notify_style_update(self) -> None:
        """A new theme may change how focus is said."""
        super().notify_style_update()
        if self.is_mounted:
            self.refresh_title()

    def __rich_repr__(self) -> Any:
        yield self.key
        yield self.title
