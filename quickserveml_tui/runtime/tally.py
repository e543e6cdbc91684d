"""Counts the answers of a batch run against the ground truth."""

from __future__ import annotations

from collections import Counter

from quickserveml_tui.core.predictions import RowFailure
from quickserveml_tui.runtime.answers import Answer, class_name

MAX_CLASSES = 1_000
"""Classes that a confusion matrix shows; with more it is left out."""
MAX_FAILURES = 100


class Tally:
    """What a batch run found so far."""

    def __init__(self) -> None:
        self.rows = 0
        """Rows read, those set apart included."""
        self.failed = 0
        self.correct = 0
        self.compared = 0
        self.failures: list[RowFailure] = []
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._too_many = False

    def add_failure(self, failure: RowFailure) -> None:
        """A row that was set apart."""
        self.rows += 1
        self.failed += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(failure)

    def add(self, answer: Answer, target: str | None) -> bool | None:
        """A row with an answer; returns whether it is right, None where that cannot be said."""
        self.rows += 1
        if target is None or not answer.is_class:
            return None
        truth, guess = class_name(target), class_name(answer.prediction)
        right = truth == guess
        self.compared += 1
        self.correct += right
        if not self._too_many:
            self._pairs[truth, guess] += 1
            self._too_many = len(self._pairs) > MAX_CLASSES * 4
        return right

    @property
    def speaks_otherwise(self) -> bool:
        """Whether truth and prediction name classes in different ways: names here, numbers there."""
        if self.correct or not self._pairs or self._too_many:
            return False
        truths, guesses = ({_order(name)[0] for name in side} for side in zip(*self._pairs, strict=True))
        return len(truths) == len(guesses) == 1 and truths != guesses

    @property
    def accuracy(self) -> float | None:
        """Share of the compared rows that are right; None when none could be compared."""
        return self.correct / self.compared if self.compared and not self.speaks_otherwise else None

    def confusion(self) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
        """Classes, numbers in order and before names, and the matrix: rows by truth, columns by prediction."""
        names = {name for pair in self._pairs for name in pair}
        if self._too_many or self.speaks_otherwise or len(names) > MAX_CLASSES:
            return (), ()
        classes = tuple(sorted(names, key=_order))
        return classes, tuple(tuple(self._pairs[truth, guess] for guess in classes) for truth in classes)


def _order(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
