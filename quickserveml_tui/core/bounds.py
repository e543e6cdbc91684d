"""What a stress run must hold: `p99_ms < 50 and error_share < 1%`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import plain_number, significant

FIELDS = ("min_ms", "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "error_share", "queue_p99_ms")
"""What a bound can be set on."""
_CONDITION = re.compile(r"\s*([a-z0-9_]+)\s*(<=?)\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(%|ms|s)?\s*")
_SCALE = {"%": 0.01, "ms": 1.0, "s": 1000.0, "": 1.0}


@dataclass(frozen=True, slots=True)
class Condition:
    """One figure and what it must stay under."""

    field: str
    limit: float
    """ms, or a share between 0 and 1."""
    inclusive: bool = False

    def holds(self, value: float | None) -> bool:
        """Whether a value keeps it; a figure that could not be taken does not."""
        if value is None or math.isnan(value):
            return False
        return value <= self.limit if self.inclusive else value < self.limit

    def __str__(self) -> str:
        sign = "<=" if self.inclusive else "<"
        if self.field == "error_share":
            return f"{self.field} {sign} {plain_number(round(self.limit * 100, 9))}%"
        return f"{self.field} {sign} {plain_number(self.limit)}"


@dataclass(frozen=True, slots=True)
class Bound:
    """Conditions that must hold together."""

    conditions: tuple[Condition, ...]

    def broken_by(self, figures: Mapping[str, float | None]) -> str:
        """Which condition these figures break, with the figure; empty where all hold."""
        for condition in self.conditions:
            value = figures.get(condition.field)
            if not condition.holds(value):
                shown = "unknown" if value is None else significant(value)
                if condition.field == "error_share" and value is not None:
                    shown = f"{significant(value * 100)} %"
                return f"{condition.field} is {shown}, not {str(condition).split(' ', 1)[1]}"
        return ""

    def __str__(self) -> str:
        return " and ".join(map(str, self.conditions))


def parse_bound(text: str) -> Bound:
    """The bound that a text such as `p99_ms < 50 and error_share < 1%` names. Raises `UsageError` (`usage.bound`)."""
    conditions = []
    for part in re.split(r"\band\b|,", text) if text.strip() else ():
        match = _CONDITION.fullmatch(part)
        if match is None or match[1] not in FIELDS:
            raise _bad(text)
        field, sign, number, unit = match[1], match[2], match[3], match[4] or ""
        is_share = field == "error_share"
        try:
            limit = float(number) * _SCALE[unit]
        except ValueError as error:
            raise _bad(text) from error
        if (is_share and (unit not in ("", "%") or limit > 1)) or (not is_share and unit == "%"):
            raise _bad(text)
        conditions.append(Condition(field, limit, sign == "<="))
    if not conditions:
        raise _bad(text)
    return Bound(tuple(conditions))


def _bad(text: str) -> UsageError:
    return UsageError(
        f"“{safe_text(text, 80)}” is not a bound.",
        hint=f"Write it like 'p99_ms < 50 and error_share < 1%'. Figures: {', '.join(FIELDS)}.",
        code="usage.bound",
    )
