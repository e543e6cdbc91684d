"""Example requests as the editor shows them: wrapped to its width, and in outline where they are too long to edit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from quickserveml_tui.core.text import safe_lines
from quickserveml_tui.tui.serving.requests import MIN_INLINE, json_lines

MAX_EDITED = 200_000
"""Signs of a request that can be edited here; a larger one is shown in outline and sent whole."""
_FIRST = 3
"""Values of a long tensor that an outline shows."""


@dataclass(frozen=True, slots=True)
class Example:
    """A request to send, and how it stands in the editor."""

    body: str
    """What is sent as long as nobody edits it."""
    shown: str
    outline: bool = False
    """Whether `shown` leaves values out: it is no request then, and cannot be edited."""


def lay_out(text: str, width: int) -> Example:
    """An example as it comes from a server's metadata, for an editor of `width` cells; kept as it is where it is no
    JSON."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        kept = safe_lines(text, MAX_EDITED)
        return Example(kept, kept)
    if len(text) > MAX_EDITED:
        return Example(text, _outline(document, width), outline=True)
    shown = safe_lines(_wrapped(document, width), 2 * MAX_EDITED)
    return Example(shown, shown)


def _wrapped(document: Any, width: int) -> str:
    rows = json_lines(document, 0, "", width=max(width, MIN_INLINE))
    return "\n".join("".join(span.text for span in row) for row in rows) + "\n"


def _outline(document: Any, width: int) -> str:
    """The request with its first values and how many follow them."""
    inputs = document.get("inputs", ()) if isinstance(document, dict) else ()
    told: dict[str, str] = {}
    tensors = []
    for number, tensor in enumerate(inputs):
        mark = f"values of input {number}"
        values = list(islice(_values(tensor.get("data")), _FIRST + 1))
        count = sum(1 for _ in _values(tensor.get("data")))
        first = ", ".join(json.dumps(value, ensure_ascii=False)[:20] for value in values[:_FIRST])
        told[json.dumps(mark)] = f"[{first}, …]  {count:,} values" if count > _FIRST else f"[{first}]"
        tensors.append({**tensor, "data": mark})
    text = _wrapped({"inputs": tensors}, width)
    for mark, words in told.items():
        text = text.replace(mark, words)
    return safe_lines(text, MAX_EDITED)


def _values(data: Any) -> Iterator[Any]:
    """Values of nested lists, one after the other."""
    if isinstance(data, list):
        for item in data:
            yield from _values(item)
    else:
        yield data
