"""Numbers as people read them: three significant digits for latency and rate, true minus, en dash for missing."""

from __future__ import annotations

import math
import re

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

MISSING = "–"
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_COUNT_UNITS = ("", "k", "M", "G", "T", "P")


def _is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def significant(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits and thousands commas: `21.8`, `4.16`, `0.041`, `12,345`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")  # 9.996 is 10.0: rounding may add a digit before the point
    if not math.isfinite(rounded):  # the largest numbers round beyond what a float holds
        rounded = value
    decimals = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
    if abs(rounded) < 1:  # 0.041, not 0.0410: below one, a millisecond figure has three decimals at most
        decimals = min(decimals, 3 if abs(value) >= 0.001 else 6)
    return f"{value:,.{decimals}f}".replace("-", "−")


def _scaled(value: float, units: tuple[str, ...], step: float) -> tuple[str, str]:
    scaled, index = float(value), 0
    # What would be shown decides: 999,960 is 1.00 M, not 1000.0 k.
    while abs(round(scaled, _decimals(scaled, index))) >= step and index < len(units) - 1:
        scaled /= step
        index += 1
    return f"{scaled:,.{_decimals(scaled, index)}f}".replace("-", "−"), units[index]


def _decimals(scaled: float, index: int) -> int:
    return 0 if index == 0 else 2 if abs(round(scaled, 2)) < 100 else 1


def bytes_parts(value: float | None) -> tuple[str, str]:
    """Number and decimal unit of a size in bytes: (`102.5`, `MB`)."""
    return (MISSING, "") if value is None or _is_missing(value) else _scaled(value, _BYTE_UNITS, 1000.0)


def format_bytes(value: float | None) -> str:
    """A size in bytes with its decimal unit: `102.5 MB`."""
    number, unit = bytes_parts(value)
    return f"{number} {unit}".rstrip()


def count_parts(value: float | None) -> tuple[str, str]:
    """Number and metric prefix of a count: (`25.61`, `M`)."""
    return (MISSING, "") if value is None or _is_missing(value) else _scaled(value, _COUNT_UNITS, 1000.0)


def format_count(value: float | None) -> str:
    """A large count with its metric prefix: `25.61 M`."""
    number, unit = count_parts(value)
    return f"{number} {unit}".rstrip()


def format_duration(seconds: float | None) -> str:
    """A span of time: `0:12`, `8:52`, `1:02:03`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    whole = max(round(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def plain_number(value: float) -> str:
    """`value` as the shortest text that parses back to it, without an exponent where that is short: `0`, `2.5`."""
    text = repr(float(value))
    return text.removesuffix(".0")


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", re.ASCII)
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
MAX_DURATION_S = 7 * 24 * 3600.0


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `30s`, `2m`, `1h` or plain seconds.

    Raises `UsageError` for anything else, zero, and more than seven days.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _DURATION_UNITS[match[2]] if match else -1.0
    if not 0 < seconds <= MAX_DURATION_S:
        raise UsageError(
            f"“{safe_text(text, 40)}” is not a duration.",
            hint="Write it like 500ms, 30s, 2m or 1h.",
            code="usage.duration",
        )
    return seconds


_SHARE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*%?", re.ASCII)


def parse_share(text: str, option: str) -> float:
    """A percentage as a share: `2%`, `2` and `0.5 %`. Raises `UsageError` (`usage.share`) that names the option."""
    match = _SHARE.fullmatch(text.strip())
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share < 1:
        raise UsageError(
            f"{option} takes a percentage between 0 and 100, not “{safe_text(text, 40)}”.",
            hint=f"Write it like {option} 2%.",
            code="usage.share",
        )
    return share


_AGE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])", re.ASCII)
MAX_AGE_S = 100 * 366 * 86400.0


def parse_age(text: str) -> float:
    """Seconds of an age such as `30d`, `2w` or `12h`. Raises `UsageError` (`usage.age`) for anything else."""
    match = _AGE.fullmatch(text.strip())
    seconds = float(match[1]) * _AGE_UNITS[match[2]] if match else -1.0
    if not 0 < seconds <= MAX_AGE_S:
        raise UsageError(
            f"“{safe_text(text, 40)}” is not an age.", hint="Write it like 30d, 2w or 12h.", code="usage.age"
        )
    return seconds
