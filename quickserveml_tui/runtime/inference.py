"""Answers of a model for chunks of rows: padding, single rows where batches fail or change the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from quickserveml_tui.core.errors import CancelledError, DataError
from quickserveml_tui.runtime.answers import Answer, read_answers
from quickserveml_tui.runtime.layouts import Array

if TYPE_CHECKING:
    from quickserveml_tui.runtime.session import Session


class RowRunner:
    """Runs rows through a session.

    `row_limit` is the number of rows that every inference must have (None if free): fewer are padded with copies of the
    last one. Where batches are free, the first one is checked against single rows: dynamic int8 models scale by the
    whole batch, and a neighbour would change a row's answer. These run row by row, like models that refuse
    batches.
    """

    def __init__(
        self, session: Session, row_limit: int | None, *, is_whole: bool = False, should_stop: Callable[[], bool]
    ) -> None:
        self._session = session
        self._should_stop = should_stop
        self._limit = row_limit
        self._is_whole = is_whole
        self._checked = row_limit is not None
        self.note = ""
        """Why rows run one by one; empty when they do not."""

    def answers(self, feeds: Mapping[str, Array], rows: int) -> list[Answer]:
        """The answer for each row; a row that the model refuses has the runtime's reason as its problem.

        Raises `CancelledError` and `RunnerError`.
        """
        if self.note and rows > 1:
            return self._one_by_one(feeds, rows)
        try:
            outputs = self._run(feeds, rows)
        except DataError as error:
            if rows == 1:
                return [Answer(None, False, problem=error.message)]
            answers = self._one_by_one(feeds, rows)
            if not any(answer.problem for answer in answers):
                self.note = "The model refuses batches, so rows ran one by one."
            return answers
        if not self._checked and rows > 1:
            self._checked = True
            if not self._agrees(outputs, feeds, rows):
                self.note = "Batches change this model's outputs, so rows ran one by one."
                return self._one_by_one(feeds, rows)
        return read_answers(outputs, self._session.outputs, rows)

    def _one_by_one(self, feeds: Mapping[str, Array], rows: int) -> list[Answer]:
        answers = []
        for row in range(rows):
            if self._should_stop():  # `Session.terminate` reaches only a run that is under way
                raise CancelledError("Cancelled.", hint="What was finished before is kept.")
            try:
                outputs = self._run(_one(feeds, row), 1)
            except DataError as error:
                answers.append(Answer(None, False, problem=error.message))
            else:
                answers += read_answers(outputs, self._session.outputs, 1)
        return answers

    def _run(self, feeds: Mapping[str, Array], rows: int) -> dict[str, Any]:
        if self._is_whole:
            outputs = self._session.run(feeds)
            return {name: value[None] if isinstance(value, np.ndarray) else value for name, value in outputs.items()}
        missing = (self._limit or rows) - rows
        if missing <= 0:
            return dict(self._session.run(feeds))
        padded = {
            name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for name, array in feeds.items()
        }
        outputs = self._session.run(padded)
        return {name: value[:rows] if _counts(value, rows + missing) else value for name, value in outputs.items()}

    def _agrees(self, outputs: Mapping[str, Any], feeds: Mapping[str, Array], rows: int) -> bool:
        """Whether the first and the last row have the same outputs alone as in the batch, within float32's noise."""
        for row in (0, rows - 1):
            try:
                alone = self._run(_one(feeds, row), 1)
            except DataError:
                continue
            if not all(_same(alone[name], value, row, rows) for name, value in outputs.items() if name in alone):
                return False
        return True


def _one(feeds: Mapping[str, Array], row: int) -> dict[str, Array]:
    return {name: array[row : row + 1] for name, array in feeds.items()}


def _counts(value: Any, rows: int) -> bool:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return False
    return isinstance(value, np.ndarray | list) and len(value) == rows


def _same(alone: Any, batched: Any, row: int, rows: int) -> bool:
    if not isinstance(alone, np.ndarray) or not isinstance(batched, np.ndarray):
        return True
    if not (_counts(alone, 1) and _counts(batched, rows) and alone.shape[1:] == batched.shape[1:]):
        return True
    if alone.dtype.kind not in "fV":
        return bool(np.array_equal(alone[0], batched[row]))
    first, second = alone[0].astype(np.float64), batched[row].astype(np.float64)
    scale = float(np.max(np.abs(second), initial=0.0, where=np.isfinite(second)))
    return bool(np.allclose(first, second, rtol=1e-3, atol=1e-3 * scale, equal_nan=True))
