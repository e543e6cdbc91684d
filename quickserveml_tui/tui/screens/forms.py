"""Forms: a few fields, checked as a whole, errors beside the field they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.errors import CancelledError, QuickServeError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.screens.dialog import Dialog
from quickserveml_tui.tui.sheets.rows import heading, paragraph
from quickserveml_tui.tui.sheets.sheet import Layout, Sheet
from quickserveml_tui.tui.widgets.enter_input import EnterInput
from quickserveml_tui.tui.widgets.ink import Lines, key_row, say, to_content

MAX_ENTRIES = 20_000
MANY = 5
"""Fields up to which an empty row stands between them."""


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    key: str
    label: str
    value: str = ""
    placeholder: str = ""
    choices: tuple[str, ...] = ()
    """Allowed values; turns the field into a row of choices."""
    path: str = ""
    """`file` or `folder`: completes paths."""
    suffixes: tuple[str, ...] = ()
    """Files to complete, by suffix."""
    secret: bool = False
    """Never shown: dots stand for the signs that are typed."""
    group: str = ""
    """Heading that it stands under, with the fields before and after it that have the same."""
    group_note: str = ""
    """What the heading says at its right."""


class PathSuggester(Suggester):
    """Completes a path from what is on the disk."""

    def __init__(self, kind: str, suffixes: tuple[str, ...]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.kind = kind
        self.suffixes = suffixes

    async def get_suggestion(self, value: str) -> str | None:
        """The first name that continues `value`."""
        return await asyncio.to_thread(complete_path, value, self.kind, self.suffixes) if value else None


def complete_path(value: str, kind: str = "file", suffixes: tuple[str, ...] = ()) -> str | None:
    """`value` continued to the first folder or fitting file below it; None if there is none."""
    folder_text, slash, start = value.rpartition("/")
    try:
        folder = Path(folder_text + slash if slash else ".").expanduser()
        names: list[tuple[str, bool]] = []
        for index, entry in enumerate(folder.iterdir()):
            if index >= MAX_ENTRIES:
                break
            if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                names.append((entry.name, entry.is_dir()))
    except (OSError, RuntimeError, ValueError):
        return None
    fitting = [
        name + ("/" if is_folder else "")
        for name, is_folder in sorted(names)
        if is_folder or (kind == "file" and (not suffixes or name.lower().endswith(suffixes)))
    ]
    if not fitting:
        return None
    # As far as all that fit agree, as shells do; where that is nothing new, the first of them.
    agreed = takewhile(lambda column: len(set(column)) == 1, zip(*fitting, strict=False))
    common = "".join(column[0] for column in agreed)
    return f"{folder_text}{slash}{common if len(common) > len(start) else fitting[0]}"


class FieldInput(EnterInput):
    """A text field; tab completes a path before it moves on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("tab", "complete", "complete", "form.complete_path", "Complete the path, or go to the next field"),
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
    ]

    def __init__(self, field: Field) -> None:
        suggester = PathSuggester(field.path, field.suffixes) if field.path else None
        super().__init__(
            field.value, placeholder=field.placeholder, suggester=suggester, id=f"field-{field.key}", compact=True,
            select_on_focus=False, password=field.secret,
        )  # fmt: skip
        self.field = field

    def on_resize(self) -> None:
        """The end of a path says more than its beginning."""
        self.call_after_refresh(self._show_end)

    def _show_end(self) -> None:
        # The view follows the cursor only when it moves.
        self.cursor_position = 0
        self.cursor_position = len(self.value)
        if self.has_focus:
            self._select_untouched()

    def on_focus(self) -> None:
        """What was filled in beforehand is replaced by typing; what the user wrote is not."""
        self._select_untouched()

    def _select_untouched(self) -> None:
        if self.value and self.value == self.field.value:
            self.select_all()

    def on_mount(self) -> None:
        """Enter in any field submits the form."""
        if isinstance(self.screen, FormDialog):
            self.on_enter = self.screen.submit

    async def action_complete(self) -> None:
        """Take the completion; without one go to the next field."""
        found = None
        if self.field.path and self.value:
            found = await asyncio.to_thread(complete_path, self.value, self.field.path, self.field.suffixes)
        if found and found != self.value:
            self.value = found
            self.cursor_position = len(found)
        else:
            self.app.action_focus_next()


class ChoiceField(Widget, can_focus=True):
    """One of a few values: left and right change it."""

    DEFAULT_CSS = """
    ChoiceField { height: 1; width: 1fr; padding: 0 2; }
    ChoiceField:focus { background: $select; text-style: $cursor-style; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("right,l,space", "step(1)", "next value", "form.next_value", "Choose the next value"),
        bind("left,h", "step(-1)", "previous value", "form.previous_value", "Choose the value before"),
        Binding("enter", "submit", "done", show=False),
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
    ]

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"field-{field.key}")
        self.field = field
        self.value = field.value if field.value in field.choices else field.choices[0]

    def render(self) -> Content:
        """All values, the chosen one bold."""
        row: list[Span] = []
        for choice in self.field.choices:
            chosen = choice == self.value
            row += [say(choice, Role.STRONG if chosen else Role.MUTED, bold=chosen), Span("   ")]
        return to_content([tuple(row)])

    def action_step(self, by: int) -> None:
        """Choose a neighbour."""
        choices = self.field.choices
        self.value = choices[(choices.index(self.value) + by) % len(choices)]
        self.refresh()
        if isinstance(self.screen, FormDialog):
            self.screen.field_changed()

    def action_submit(self) -> None:
        """Enter submits the form."""
        if isinstance(self.screen, FormDialog):
            self.screen.submit()


def _group_layout(field: Field) -> Layout:
    return lambda width, _: [heading(field.group, width, [say(field.group_note, Role.MUTED)])]


class FormDialog(Dialog[dict[str, Any]]):
    """Fields; `check` turns their texts into a result, or raises an error that is shown inline."""

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        about: str = "",
        verb: str = "save",
        check: Callable[[dict[str, str]], dict[str, Any]] | None = None,
        apply: Callable[[dict[str, Any], CancelToken], object] | None = None,
        doing: str = "saving…",
        right: str = "",
    ) -> None:
        """A form.

        Args:
            title: What it is about.
            fields: Its fields from top to bottom.
            about: A sentence above them.
            verb: What enter does.
            check: Turns the texts into a result; what it raises is shown inline.
            apply: Called in a worker thread with the result; what it raises is shown inline, and the form stays. Esc
                cancels its token meanwhile.
            doing: What is said while `apply` runs.
            right: What stands at the right of the title.
        """
        super().__init__(title, right)
        self.form_fields = tuple(fields)
        self.about = about
        self.verb = verb
        self.check = check
        self.apply = apply
        self.doing = doing
        self.applying: CancelToken | None = None
        """Ends what `apply` does; None while it does nothing."""
        self.taken = False
        """Whether the values were read for good: it closes, or waits for `apply`."""

    AUTO_FOCUS = "FieldInput, ChoiceField"

    def compose_body(self) -> ComposeResult:
        """Fields, error, keys."""
        if self.about:
            yield Sheet(lambda width, _: paragraph(self.at_home(self.about), width), classes="dialog--part")
        dense = " -dense" if len(self.form_fields) > MANY else ""
        with VerticalScroll(classes=f"form--fields{dense}", can_focus=False):
            group = ""
            for field in self.form_fields:
                if field.group and field.group != group:
                    yield Sheet(_group_layout(field), classes="form--group")
                group = field.group
                with Horizontal(classes="form--row"):
                    yield Lines([(say(field.label, Role.MUTED),)], classes="form--label")
                    yield ChoiceField(field) if field.choices else FieldInput(field)
        yield from self.compose_notes()
        error = Sheet(id="form-error")
        error.display = False
        yield error
        yield Sheet(lambda _width, _: [self._keys()], classes="dialog--keys")

    def compose_notes(self) -> ComposeResult:
        """What stands between the fields and the keys."""
        yield from ()

    def _keys(self) -> Row:
        parts = [("enter", self.verb)]
        if any(field.path for field in self.form_fields):
            parts.append(("tab", "complete"))
        elif len(self.form_fields) > 1:
            parts.append(("tab", "next field"))
        if any(field.choices for field in self.form_fields):
            parts.append(("← →", "choose"))
        parts.append(("esc", "cancel"))
        return key_row(parts)

    def on_screen_resume(self) -> None:
        """An enter that another screen took, such as the help, closes no field of this one."""
        if not self.taken:
            self._reopen_fields()

    def _reopen_fields(self) -> None:
        self.taken = False
        for field in self.query(FieldInput):
            field.reopen()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A changed field takes the error away."""
        event.stop()
        for error in self.query("#form-error"):
            error.display = self.applying is not None
        self.field_changed()

    def field_changed(self) -> None:
        """A field has another text; a form may check it at once."""

    @property
    def values(self) -> dict[str, str]:
        """The texts by field key."""
        texts: dict[str, str] = {}
        for field in self.form_fields:
            widget = self.query_one(f"#field-{field.key}")
            if isinstance(widget, (FieldInput, ChoiceField)):
                texts[field.key] = widget.value.strip()
        return texts

    def submit(self) -> None:
        """Check and close, or say what is wrong; an enter that comes behind the one that counted does nothing."""
        if self.taken:
            return
        values = self.values
        try:
            result: dict[str, Any] = self.check(values) if self.check else dict(values)
        except QuickServeError as error:
            self._reopen_fields()
            self.show_error(error)
            return
        self.taken = True
        if self.apply is None:
            self.dismiss(result)
        else:
            cancel = self.applying = CancelToken()
            self._say(f"{self.doing}  esc cancels it", Role.INFO)
            self.run_worker(lambda: self._apply(result, cancel), thread=True, group="form", exit_on_error=False)

    def _apply(self, result: dict[str, Any], cancel: CancelToken) -> None:
        from quickserveml_tui.tui.flows.calls import as_error, log

        assert self.apply is not None
        failure: QuickServeError | None = None
        try:
            self.apply(result, cancel)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said in the form
            if not isinstance(error, QuickServeError):
                log.exception("%s failed", self.heading)
            failure = as_error(error)
        self.app.call_from_thread(self._applied, result, failure)

    def _applied(self, result: dict[str, Any], failure: QuickServeError | None) -> None:
        self.applying = None
        if not self.is_attached:
            return
        if failure is None:
            self.dismiss(result)
            return
        self._reopen_fields()
        if isinstance(failure, CancelledError):
            self._say("cancelled; nothing was kept", Role.WARN)
        else:
            self.show_error(failure)

    def action_close(self) -> None:
        """End what the form is doing; close it when it does nothing, or does not end."""
        if self.applying is None or self.applying.cancelled:
            self.dismiss(None)
            return
        self._say("cancelling…", Role.INFO)
        self.applying.cancel()

    def on_unmount(self) -> None:
        """Nothing goes on for a form that is gone."""
        if self.applying is not None:
            self.applying.cancel()

    def show_error(self, error: QuickServeError) -> None:
        """Say what is wrong, inline."""
        words = self.at_home(f"{error.message} {error.hint}".strip())
        sheet = self.query_one("#form-error", Sheet)
        sheet.show(lambda width, glyphs: [
            (Span(f"{glyphs.error} " if index == 0 else "  ", Role.ERROR), *row)
            for index, row in enumerate(paragraph(words, width - 2, Role.ERROR))
        ])  # fmt: skip
        sheet.display = True

    def _say(self, words: str, role: Role) -> None:
        """Where errors stand."""
        sheet = self.query_one("#form-error", Sheet)
        sheet.show(lambda width, _glyphs: paragraph(words, width, role))
        sheet.display = True
