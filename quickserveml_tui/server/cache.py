"""Answers that are kept for equal requests to one version, as many as fit."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from quickserveml_tui.server.answers import Answer

if TYPE_CHECKING:
    from quickserveml_tui.server.dialects import Dialect
    from quickserveml_tui.services.serving_models import ServedModel

_ENTRY_BYTES = 400
"""What an entry costs beyond its bytes."""
_LARGEST_SHARE = 8
"""An entry may take this part of the room."""

Key = tuple[int, int, int | None, bytes]


class AnswerCache:
    """Keeps answers by the bytes of their requests; those that were not asked for longest go first.

    Only for models whose outputs depend on nothing but their inputs (`ServedModel.cacheable`).
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self.bytes = 0
        """Room that is taken."""

    def key(
        self, model: ServedModel, dialect: Dialect, json_length: int | None, body: bytes | memoryview
    ) -> Key | None:
        """By what an answer is kept; None for requests that are too large."""
        if len(body) * _LARGEST_SHARE > self._limit:
            return None
        return id(model), id(dialect), json_length, bytes(body)

    def get(self, key: Key) -> Answer | None:
        """The answer to an equal request."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: Key, answer: Answer) -> None:
        """Keep an answer; errors are not kept."""
        size = _size(key, answer)
        if answer.status != 200 or size * _LARGEST_SHARE > self._limit or key in self._answers:
            return
        self._answers[key] = answer
        self.bytes += size
        while self.bytes > self._limit:
            self.bytes -= _size(*self._answers.popitem(last=False))

    def forget(self, model: ServedModel) -> None:
        """Drop the answers of a version."""
        for key in [key for key in self._answers if key[0] == id(model)]:
            self.bytes -= _size(key, self._answers.pop(key))

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._answers)


def _size(key: Key, answer: Answer) -> int:
    return _ENTRY_BYTES + len(key[3]) + len(answer.body)
