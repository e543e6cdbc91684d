"""Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quickserveml_tui.core.monitoring import Distribution

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Sequence[tuple[str, str]]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def folded(distribution: Distribution, bounds: Sequence[float]) -> tuple[int, ...]:
    """Values at or below each of `bounds`, then all; exact where each is a bound of the distribution too."""
    counts, running, place = [], 0, 0
    for bound in bounds:
        while place < len(distribution.bounds) and distribution.bounds[place] <= bound * (1 + 1e-9):
            running += distribution.counts[place]
            place += 1
        counts.append(running)
    return (*counts, distribution.count)


class Exposition:
    """Collects families of metrics; each has its HELP and TYPE once, in front of its values."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str) -> Family:
        """Begin a family; `kind` is counter, gauge or histogram."""
        self._lines += (f"# HELP {name} {_help(text)}", f"# TYPE {name} {kind}")
        return Family(name, self._lines)

    def text(self) -> str:
        """Everything."""
        return "\n".join(self._lines) + "\n"


class Family:
    """Values of one family."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self._name = name
        self._lines = lines

    def add(self, value: float, labels: Labels = ()) -> None:
        """A value."""
        self._lines.append(f"{self._name}{_braced(labels)} {_number(value)}")

    def histogram(self, distribution: Distribution, bounds: Sequence[float], labels: Labels = ()) -> None:
        """A histogram with these upper bounds."""
        counts = folded(distribution, bounds)
        ends = [*(_number(bound) for bound in bounds), "+Inf"]
        for end, count in zip(ends, counts, strict=True):
            self._lines.append(f"{self._name}_bucket{_braced((*labels, ('le', end)))} {count}")
        self._lines.append(f"{self._name}_sum{_braced(labels)} {_number(distribution.total)}")
        self._lines.append(f"{self._name}_count{_braced(labels)} {counts[-1]}")


def _braced(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
