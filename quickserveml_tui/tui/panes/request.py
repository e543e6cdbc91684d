"""Pane 2 of Serve: an example request to edit and send, and what the server answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import TextArea

from quickserveml_tui.charts.cells import Role, Span
from quickserveml_tui.core.text import safe_lines
from quickserveml_tui.core.units import format_bytes, significant
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.panes.base import WorkPane
from quickserveml_tui.tui.panes.inspector import Page
from quickserveml_tui.tui.serving.examples import MAX_EDITED, Example
from quickserveml_tui.tui.serving.requests import Target, check_body
from quickserveml_tui.tui.sheets.rows import paragraph
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.empty import EmptyState
from quickserveml_tui.tui.widgets.ink import fold_row, say, two_edges

if TYPE_CHECKING:
    from quickserveml_tui.core.errors import QuickServeError
    from quickserveml_tui.tui.serving.messages import AnswerArrived

EDITOR_EDGES = 7
"""Cells beside a line of the editor: margins, padding, scroll bar."""
NOTHING = ("An example request of a served model, to edit and to send", [("1", "picks a server"), ("n", "starts one")])


class RequestEditor(TextArea):
    """The body of the request; esc leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "screen.leave_editor", "done", "request.leave_editor", "Leave the text and go to the answer"),
    ]

    def on_mount(self) -> None:
        """At rest nothing in the text is marked."""
        self._mark(on=False)

    def on_focus(self) -> None:
        """Mark the line of the cursor and the brackets that belong together."""
        self._mark(on=True)

    def on_blur(self) -> None:
        """At rest again."""
        self._mark(on=False)

    def _mark(self, *, on: bool) -> None:
        self.match_cursor_bracket = self.highlight_cursor_line = on

    async def on_paste(self, event: events.Paste) -> None:
        """What is pasted holds nothing that a terminal would obey."""
        event.text = safe_lines(event.text, MAX_EDITED)


class RequestPane(WorkPane):
    """Target, body, answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("f5,ctrl+j", "screen.send_request", "send", "request.send_body",
             "Send the request; the answer comes below", display="f5"),
        bind("e,enter", "screen.edit_request", "edit", "request.edit_body", "Edit the body of the request"),
        bind("o", "screen.pick_target", "model", "request.pick_target", "Pick the model and version to ask"),
        bind("left_square_bracket", "screen.step_target(-1)", "model before", "request.previous_target",
             "Ask the model before", show=False),
        bind("right_square_bracket", "screen.step_target(1)", "next model", "request.next_target",
             "Ask the next model", show=False),
        bind("Y", "screen.copy_curl", "copy curl", "request.copy_curl", "Copy the curl line that sends the same"),
        bind("ctrl+r", "screen.reset_request", "example", "request.reset_body", "Put the example of the model back",
             show=False),
        bind("C", "screen.copy_answer", "copy answer", "request.copy_answer", "Copy the answer", show=False),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(key="2", title="Request", id="request")
        self.target: Target | None = None
        self.example: Example | None = None
        self.sending = False
        self.answer: AnswerArrived | None = None

    def compose_body(self) -> ComposeResult:
        """Target, body, what the server said, or what stands in their place."""
        yield EmptyState(*NOTHING, id="request-empty")
        yield Sheet(id="request-target")
        yield RequestEditor("", soft_wrap=True, compact=True, highlight_cursor_line=False, id="request-body")
        yield Sheet(id="answer-head")
        yield Page("answer")

    def on_mount(self) -> None:
        """No server is picked yet."""
        self._arrange()

    def focus_body(self) -> None:
        """Move the focus to the answer: keys are no text there."""
        self.screen.set_focus(self.query_one("#request-empty") if self.target is None else self.query_one(Page))

    def _arrange(self) -> None:
        had_focus = self.focus_inside
        there = self.target is not None
        self.query_one("#request-empty").display = not there
        for selector in ("#request-target", "#request-body", "#answer-head", "#page-answer"):
            self.query_one(selector).display = there
        if had_focus and not there:
            self.focus_body()

    @property
    def body(self) -> str:
        """The text that would be sent."""
        if self.example is not None and self.example.outline:
            return self.example.body
        return self.query_one(RequestEditor).text

    @property
    def outlined(self) -> bool:
        """Whether the request is too long to be edited here: the editor shows its outline."""
        return self.example is not None and self.example.outline

    @property
    def editor_width(self) -> int:
        """Cells of a line of the editor, without its margins and the scroll bar; about so many while it is hidden."""
        whole = self.screen.size.width
        return (self.size.width or (whole if self.screen.has_class("-narrow") else whole // 2)) - EDITOR_EDGES

    def show_nothing(self, sentence: str = NOTHING[0], keys: Sequence[tuple[str, str]] = tuple(NOTHING[1])) -> None:
        """There is nothing to ask, and why."""
        had_focus = self.focus_inside
        self.target, self.answer = None, None
        self.subject = self.count_text = ""
        self.query_one("#request-empty", EmptyState).show(sentence, keys)
        self._arrange()
        if had_focus:
            self.focus_body()

    def show_target(self, target: Target, place: int, count: int) -> None:
        """Another model is to be asked; its example follows."""
        had_focus = self.focus_inside
        self.target, self.answer = target, None
        self.subject = target.name
        self.show_place(place, count)
        self.query_one("#request-target", Sheet).show(
            lambda width, _: [
                two_edges([Span("POST ", Role.MUTED), say(target.path, Role.BODY)], [Span("JSON", Role.MUTED)], width)
            ]
        )
        self._load(None)
        self._say_head([Span("waiting for an example…", Role.MUTED)])
        self._arrange()
        if had_focus:
            self.focus_body()

    def show_place(self, place: int, count: int) -> None:
        """Which of the models it is."""
        self.count_text = f"{place} of {count}" if count > 1 else ""

    def show_example(self, example: Example) -> None:
        """Put an example into the editor."""
        self._load(example)
        send = [Span("f5", Role.STRONG, bold=True), Span(" sends it", Role.MUTED)]
        if example.outline:
            size = format_bytes(len(example.body))
            self._say_head([*send, Span(f" whole; with {size} it is too long to be edited here", Role.MUTED)])
        else:
            edit = [Span(", ", Role.MUTED), Span("e", Role.STRONG, bold=True), Span(" edits it", Role.MUTED)]
            self._say_head([*send, *edit])

    def _load(self, example: Example | None) -> None:
        self.example = example
        self.set_class(True, "-unanswered")
        editor = self.query_one(RequestEditor)
        editor.load_text(example.shown if example is not None else "")
        editor.read_only = self.outlined
        self.query_one(Page).sheet.show(lambda _width, _glyphs: ())

    def show_error(self, error: QuickServeError) -> None:
        """Why there is no example or no answer."""
        self.sending = False
        self.set_class(False, "-unanswered")
        self._say_head([Span("✕ no answer", Role.ERROR)])
        self.query_one(Page).sheet.show(
            lambda width, _: [*paragraph(error.message, width, Role.ERROR), (), *paragraph(error.hint, width)]
        )

    def begin_sending(self) -> str:
        """The request is on its way; says what is wrong with it as JSON, in a sentence, where something is."""
        wrong = "" if self.outlined else check_body(self.body)
        self.sending, self.answer = True, None
        self._say_head([Span("● ", Role.ACCENT), Span("sending…", Role.BODY)])
        return wrong

    def show_answer(self, answer: AnswerArrived) -> None:
        """What the server said: status, time, size, and the document."""
        self.sending, self.answer = False, answer
        self.set_class(False, "-unanswered")
        good = 200 <= answer.status < 300
        role = Role.OK if good else Role.ERROR
        sign = "✓" if good else "✕"
        self._say_head(
            [
                Span(f"{sign} {answer.status}", role, bold=True), Span("   "),
                say(significant(answer.elapsed_ms), Role.STRONG, bold=True), Span(" ms   ", Role.MUTED),
                say(format_bytes(answer.size)),
            ],
        )  # fmt: skip
        page = self.query_one(Page)
        page.sheet.show(lambda width, _: [part for row in answer.rows for part in fold_row(row, width)])
        page.scroll_home(animate=False)

    def _say_head(self, spans: Sequence[Span]) -> None:
        self.query_one("#answer-head", Sheet).show(
            lambda width, _: [two_edges([Span("Answer", Role.STRONG, bold=True), Span("   "), *spans], [], width)]
        )
