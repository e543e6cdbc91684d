"""Reads Prometheus' text format, strictly and in linear time: the one client library that does it takes what is broken.

Only lines of the names that are asked for are looked at, so the thousands of lines of other exporters cost little.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

MAX_SAMPLES = 200_000
"""Samples that are taken of one page."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"([^"\\]*(?:\\.[^"\\]*)*)"\s*(,|(?=\}))')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "\\": "\\", '"': '"'}


class Sample(NamedTuple):
    """One line: a name, its labels and its value."""

    name: str
    labels: dict[str, str]
    value: float


def samples(text: str, prefixes: Collection[str]) -> Iterator[Sample]:
    """Samples whose names begin with one of `prefixes`, in their order.

    Raises `ValueError` with the number of the line for one of them that is not in the format, and for more than
    200,000 of them.
    """
    wanted = tuple(prefixes)
    taken = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.startswith(wanted):
            continue
        taken += 1
        sample = _sample(line.rstrip("\r"))
        if sample is None or taken > MAX_SAMPLES:
            raise ValueError(f"line {number}" if sample is None else f"more than {MAX_SAMPLES:,} samples")
        yield sample


def _sample(line: str) -> Sample | None:
    name = _NAME.match(line)
    if name is None:
        return None
    labels: dict[str, str] = {}
    position = name.end()
    if line[position : position + 1] == "{":
        end = _read_labels(line, position + 1, labels)
        if end is None:
            return None
        position = end
    elif line[position : position + 1] not in (" ", "\t"):
        return None
    parts = line[position:].split()
    if not 1 <= len(parts) <= 2:  # a time may follow the value
        return None
    value = _number(parts[0])
    return None if value is None else Sample(name[0], labels, value)


def _read_labels(line: str, position: int, labels: dict[str, str]) -> int | None:
    """Read labels up to the closing brace; returns the place after it, None where it is broken."""
    while found := _LABEL.match(line, position):
        if found[1] in labels:
            return None
        labels[found[1]] = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[0]), found[2])
        position = found.end()
    rest = line[position : position + 1]
    return position + 1 if rest == "}" else None


def _number(text: str) -> float | None:
    if "_" in text:  # Python takes 1_000, the format does not
        return None
    try:
        return float(text)
    except ValueError:
        return None
