"""The form for synthetic inputs: checked while one types, saved with the version, reset by one key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual.binding import BindingType

from quickserveml_tui.charts.cells import Row
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.tui.feed_fields import GIVEN, feed_fields, feed_of
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.screens.forms import ChoiceField, FieldInput, FormDialog
from quickserveml_tui.tui.widgets.ink import key_row


class InputsForm(FormDialog):
    """Overrides for the synthetic inputs of one version."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("ctrl+r", "reset_fields", "reset", "form.reset_fields", "Empty every field: all is left to the model")
    ]

    def __init__(
        self,
        ref: str,
        inputs: Sequence[TensorSpec],
        feed: FeedSpec,
        save: Callable[[dict[str, Any], CancelToken], object],
    ) -> None:
        self.inputs, self.feed = tuple(inputs), feed
        super().__init__(
            "Made-up inputs", feed_fields(inputs, feed), apply=save, right=ref, check=self._read,
            doing="trying…",
            about="Kept with the version: trials, runs, benchmarks and golden outputs use them where no data is given.",
        )  # fmt: skip

    def _read(self, values: dict[str, str]) -> dict[str, Any]:
        return {"feed": feed_of(values, self.inputs, self.feed)}

    def _keys(self) -> Row:
        return key_row([("enter", "save"), ("tab", "next field"), ("ctrl+r", "reset"), ("esc", "cancel")])

    def field_changed(self) -> None:
        """What cannot be read is said at once."""
        if self.applying is not None or not self.query("#form-error"):
            return
        try:
            self._read(self.values)
        except QuickServeError as error:
            self.show_error(error)

    def action_reset_fields(self) -> None:
        """Empty every field."""
        for field in self.query(FieldInput):
            field.value = ""
        for choice in self.query(ChoiceField):
            choice.value = GIVEN
            choice.refresh()
