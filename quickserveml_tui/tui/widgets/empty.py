"""Empty on purpose: hatched areas that say what fills them, and the large choices of a first start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from quickserveml_tui.charts.cells import Role, Row, Span, pad_row
from quickserveml_tui.core.text import cell_width, safe_text
from quickserveml_tui.tui.glyphs import glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, Lines, crop_row, row_width, say, to_content, two_edges

MAX_SENTENCE = 76
"""Cells of a line of a sentence: longer ones are hard to read."""


def wrap_words(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken at blanks."""
    lines = [""]
    for word in safe_text(text).split():
        joined = f"{lines[-1]} {word}".strip()
        if cell_width(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def wrap_evenly(text: str, width: int) -> list[str]:
    """`text` in as few lines as `wrap_words` makes, of about the same length."""
    lines = wrap_words(text, width)
    for narrower in range(cell_width(" ".join(lines)) // len(lines), width):
        even = wrap_words(text, narrower)
        if len(even) == len(lines) and max(map(cell_width, even)) <= width:
            return even
    return lines


def centred(row: Sequence[Span], width: int) -> Row:
    """A row in the middle of `width` cells."""
    cut = crop_row(tuple(row), width)
    return (Span(" " * ((width - row_width(cut)) // 2)), *cut)


class EmptyState(Inked, can_focus=True):
    """A hatched area, a sentence that says what would be here, and the keys that bring it."""

    DEFAULT_CSS = "EmptyState { height: 1fr; }"

    def __init__(
        self,
        sentence: str,
        keys: Sequence[tuple[str, str]] = (),
        *,
        id: str | None = None,  # noqa: A002 - Textual's own parameter
    ) -> None:
        super().__init__(id=id)
        self.sentence = sentence
        self.keys = tuple(keys)

    def show(self, sentence: str, keys: Sequence[tuple[str, str]] = ()) -> None:
        """Say something else."""
        self.sentence, self.keys = sentence, tuple(keys)
        self.refresh()

    def rows(self, width: int) -> Sequence[Row]:
        """Hatch, words in the middle, hatch."""
        height = self.content_size.height
        words: list[Row] = [
            centred([Span(line, Role.BODY)], width) for line in wrap_evenly(self.sentence, min(width, MAX_SENTENCE))
        ]
        for index, (key, verb) in enumerate(self.keys):
            if index == 0 and height >= 7:
                words.append(())
            words.append(centred([say(key, Role.STRONG, bold=True), say(f" {verb}", Role.MUTED)], width))
        room = height - len(words)
        if room < 4:
            return [*([()] * max(room // 2, 0)), *words]
        above = (room - 2) // 2
        hatch: Row = (Span(glyphs_of(self).hatch * width, Role.GRID),)
        air: Row = ()
        lead = [air] if height >= 12 else []
        above_rows = max(above - len(lead), 1)
        below_rows = max(height - len(words) - 2 - above_rows - len(lead), 1)
        return [*lead, *([hatch] * above_rows), air, *words, air, *([hatch] * below_rows)]


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to do: its key, a title, up to two lines of text and the action that it runs."""

    key: str
    title: str
    text: str
    action: str = ""


class ChoiceRow(Widget):
    """A choice as a surface of its own."""

    DEFAULT_CSS = """
    ChoiceRow { height: auto; text-wrap: nowrap; text-overflow: clip; }
    ChoiceRow.-current { background: $select; text-style: $cursor-style; }
    """

    def __init__(self, choice: Choice, index: int) -> None:
        super().__init__()
        self.choice = choice
        self.index = index

    def _body(self, width: int) -> list[str]:
        return wrap_words(self.choice.text, max(width - self._indent - 4, 8))

    @property
    def _indent(self) -> int:
        return 7 + cell_width(f" {safe_text(self.choice.key, 8)} ")

    @property
    def _air(self) -> int:
        """Empty rows above and below; none where the list is dense."""
        return 0 if self.parent is not None and self.parent.has_class("-dense") else 1

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - Textual's own
        """Title, text and air."""
        return 1 + len(self._body(width)) + 2 * self._air

    def render(self) -> Content:
        """Bar, key cap, title and text."""
        width, height = self.size
        glyphs = glyphs_of(self)
        current = self.has_class("-current")
        cap = Span(f" {safe_text(self.choice.key, 8)} ", Role.STRONG, bold=True, back=Role.RAISED)
        if current:
            cap = replace(cap, role=Role.ON_ACCENT, back=Role.ACCENT)
        enter = [Span("enter", Role.BODY)] if current else []
        title = two_edges([say(self.choice.title, Role.STRONG, bold=True)], enter, max(width - self._indent - 4, 1))
        bar = Span(glyphs.cursor, Role.ACCENT) if current else Span(" ")
        words = [(Span(line, Role.BODY if current else Role.MUTED),) for line in self._body(width)]
        inner: list[Row] = [(bar, Span("   "), cap, Span("   "), *title)]
        inner += [(bar, Span(" " * (self._indent - 1)), *line) for line in words]
        rows: list[Row] = [*([(bar,)] * self._air), *inner, *([(bar,)] * self._air)]
        if current and self.app.theme_variables.get("cursor-style") == "reverse":
            rows = [tuple(Span(span.text, Role.BODY, span.bold) for span in row) for row in rows]
        return to_content([pad_row(crop_row(row, width), width) for row in rows[:height]], ascii_only=glyphs.ascii_only)

    async def on_click(self) -> None:
        """Choose it."""
        if isinstance(self.parent, ChoiceList):
            self.parent.focus()
            self.parent.current = self.index
            await self.parent.action_choose()


class ChoiceList(Vertical, can_focus=True):
    """A few large choices: arrows or j and k move, enter or the choice's own key chooses."""

    DEFAULT_CSS = """
    ChoiceList { height: auto; }
    ChoiceList > .choices--head { height: auto; margin: 1 4 1 4; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "next", show=False, id="choices.move_down", tooltip="Go to the next choice"),
        Binding("up,k", "move(-1)", "previous", show=False, id="choices.move_up", tooltip="Go to the choice before"),
        Binding("enter", "choose", "choose", show=False, id="choices.take_choice", tooltip="Do what the cursor is on"),
    ]

    current = reactive(0)
    """Index of the choice under the cursor."""

    class Chosen(Message):
        """A choice was made. The list runs its action itself; the message is for whoever wants to know."""

        def __init__(self, choices: ChoiceList, choice: Choice) -> None:
            super().__init__()
            self.choices = choices
            self.choice = choice

        @property
        def control(self) -> ChoiceList:
            """The list, for `@on`."""
            return self.choices

    def __init__(
        self,
        choices: Sequence[Choice],
        *,
        heading: str = "",
        subheading: str = "",
        id: str | None = None,  # noqa: A002 - Textual's own parameter
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.choices = tuple(choices)
        self.heading = heading
        self.subheading = subheading

    def compose(self) -> ComposeResult:
        """The heading and the choices."""
        if self.heading:
            head = [Span(safe_text(self.heading), Role.STRONG, bold=True)]
            yield Lines([(head[0],), (say(self.subheading, Role.MUTED),)], classes="choices--head")
        for index, choice in enumerate(self.choices):
            yield ChoiceRow(choice, index)

    def watch_current(self, current: int) -> None:
        """Move the bar."""
        for row in self.query(ChoiceRow):
            row.set_class(row.index == current, "-current")
            row.refresh()

    def on_mount(self) -> None:
        """The first choice has the bar."""
        self.watch_current(self.current)

    def action_move(self, by: int) -> None:
        """Move the bar by some choices, within the list."""
        self.current = min(max(self.current + by, 0), len(self.choices) - 1)

    async def action_choose(self) -> None:
        """Run the choice under the bar."""
        if not self.choices:
            return
        choice = self.choices[self.current]
        self.post_message(self.Chosen(self, choice))
        if choice.action:
            await self.run_action(choice.action)
