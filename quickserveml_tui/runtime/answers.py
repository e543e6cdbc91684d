"""What a model's outputs say about each row: a class, with its probability where there is one, or plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quickserveml_tui.core.tensors import TensorSpec

MAX_VALUES = 64
"""Values per row that a prediction may hold; larger outputs leave only their class, if they have one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for one row."""

    prediction: Any
    """The class, a number, a list of numbers, or None when the outputs are too large to write."""
    is_class: bool
    probability: float | None = None
    problem: str = ""
    """Why there is no answer; empty when there is one."""


def class_name(value: object) -> str:
    """A class as text, the same for `3`, `3.0` and `"3"`."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text


def read_answers(outputs: Mapping[str, Any], specs: Sequence[TensorSpec], rows: int) -> list[Answer]:
    """The answer for each of `rows` rows.

    The class comes from an output of labels (integers or strings, one per row), else from the largest of the scores in
    a float output of two classes and more, else from a list of `{class: probability}` dicts. One float per row is a
    regression's value. A row whose scores are all NaN has no answer.
    """
    values = [(spec.name, _rowwise(outputs[spec.name])) for spec in specs if spec.name in outputs]
    scores = _scores(values, rows)
    tables = next((value for _name, value in values if _is_class_tables(value, rows)), None)
    labels = _labels(values, rows)
    if labels is not None:
        return [
            Answer(label, True, _probability(scores, tables, row, label)) for row, label in enumerate(labels.tolist())
        ]
    if scores is not None:
        return [_from_scores(row) for row in scores]
    if tables is not None:
        return [_from_table(table) for table in tables]
    return [_plain(values, rows, row) for row in range(rows)]


def _rowwise(value: Any) -> Any:
    """A single map as the table of a single row: it speaks for the whole request."""
    return [value] if isinstance(value, dict) else value


def _labels(values: Sequence[tuple[str, Any]], rows: int) -> np.ndarray[Any, Any] | None:
    found = [
        (name, value)
        for name, value in values
        if isinstance(value, np.ndarray) and value.dtype.kind in "iuOUb" and value.size == rows and value.ndim >= 1
    ]
    found.sort(key=lambda item: "label" not in item[0].lower())
    return found[0][1].reshape(-1) if found else None


def _scores(values: Sequence[tuple[str, Any]], rows: int) -> np.ndarray[Any, Any] | None:
    for _name, value in values:
        if isinstance(value, np.ndarray) and value.dtype.kind in "fV" and value.ndim >= 2 and len(value) == rows:
            classes = value.shape[1]
            if classes >= 2 and math.prod(value.shape[2:]) == 1:
                return value.reshape(rows, classes).astype(np.float64)
    return None


def _is_class_tables(value: Any, rows: int) -> bool:
    return isinstance(value, list) and len(value) == rows and rows > 0 and all(isinstance(item, dict) for item in value)


def _are_probabilities(scores: np.ndarray[Any, Any]) -> bool:
    return bool(scores.min() >= 0 and abs(scores.sum() - 1) <= 1e-3)


def _from_scores(scores: np.ndarray[Any, Any]) -> Answer:
    if np.isnan(scores).any():
        return Answer(None, False, problem="The model answered NaN.")
    best = int(scores.argmax())
    return Answer(best, True, float(scores[best]) if _are_probabilities(scores) else None)


def _from_table(table: Mapping[Any, float]) -> Answer:
    if not table or any(math.isnan(float(score)) for score in table.values()):
        return Answer(None, False, problem="The model answered NaN." if table else "The model answered nothing.")
    best = max(table, key=lambda key: table[key])
    return Answer(best, True, float(table[best]))


def _probability(
    scores: np.ndarray[Any, Any] | None, tables: Sequence[Mapping[Any, float]] | None, row: int, label: object
) -> float | None:
    """The probability that goes with a label; for scores, the largest one, as their classes have no names."""
    if tables is not None:
        value = tables[row].get(label)
        return None if value is None else float(value)
    if scores is None or np.isnan(scores[row]).any() or not _are_probabilities(scores[row]):
        return None
    return float(scores[row].max())


def _plain(values: Sequence[tuple[str, Any]], rows: int, row: int) -> Answer:
    for _name, value in values:
        if isinstance(value, np.ndarray) and value.ndim >= 1 and len(value) == rows:
            flat = value[row].reshape(-1)
            if flat.dtype.kind in "fV" and np.isnan(flat.astype(np.float64)).any():
                return Answer(None, False, problem="The model answered NaN.")
            if flat.size <= MAX_VALUES:
                listed = flat.astype(np.float64).tolist() if flat.dtype.kind == "V" else flat.tolist()
                return Answer(listed[0] if len(listed) == 1 else listed, False)
    return Answer(None, False)
