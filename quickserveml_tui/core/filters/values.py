"""Values as people write them: `10M`, `25MiB`, `1.5s`, `80%`, `2026-01-31`, `7d`, `yes`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeAlias

Number: TypeAlias = int | float
Span: TypeAlias = tuple[str, str]
"""Start and end (not in it) of a time as the stores write it: UTC, ISO 8601 with milliseconds."""

_KILO = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
_BYTES = {"": 1, "b": 1} | {
    f"{prefix}{unit}": factor**power
    for power, prefix in enumerate("kmgt", start=1)
    for unit, factor in (("", 1000), ("b", 1000), ("ib", 1024))
}
_MICROSECONDS = {"us": 1, "µs": 1, "μs": 1, "ms": 10**3, "": 10**3, "s": 10**6, "sec": 10**6, "min": 6 * 10**7}
COUNT_UNITS = {unit: (factor, 1) for unit, factor in _KILO.items()}
SIZE_UNITS = {unit: (factor, 1) for unit, factor in _BYTES.items()}
MS_UNITS = {unit: (factor, 10**3) for unit, factor in _MICROSECONDS.items()} | {"ns": (1, 10**6)}
RATE_UNITS = COUNT_UNITS | {f"{unit}/s": (factor, 1) for unit, factor in _KILO.items()}
PERCENT_UNITS = {"": (1, 1), "%": (1, 1)}
"""Numerator and denominator by unit in lower case."""

_NUMBER = re.compile(r"([+-]?)(\d[\d_]*|\d{1,3}(?:,\d{3})+)?(?:\.(\d*))?(?:e([+-]?\d{1,2}))?\s*([^\d\s]*)", re.ASCII)
MAX_DIGITS = 40


def parse_number(text: str, units: dict[str, tuple[int, int]]) -> Number | None:
    """The number in `text` in the base unit; None if it is none. Exact where the result is a whole number."""
    if len(text) > 2 * MAX_DIGITS:
        return None
    match = _NUMBER.fullmatch(text.strip().lower())
    if match is None:
        return None
    sign, whole, fraction, exponent, unit = (part or "" for part in match.groups())
    digits = whole.replace("_", "").replace(",", "") + fraction
    if not digits or len(digits) > MAX_DIGITS or unit not in units:
        return None
    numerator, denominator = units[unit]
    power = int(exponent or 0) - len(fraction)
    scaled = int(digits) * numerator * 10 ** max(power, 0)
    divisor = denominator * 10 ** max(-power, 0)
    value: Number = scaled // divisor if scaled % divisor == 0 else scaled / divisor
    return -value if sign == "-" else value


_PLAIN = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,2})?\s*", re.ASCII | re.IGNORECASE)


def plain_number(text: str) -> float | None:
    """The number that a text from outside is; None for anything else, also for infinities."""
    return float(text) if len(text) <= 2 * MAX_DIGITS and _PLAIN.fullmatch(text) else None


_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parse_flag(text: str) -> bool | None:
    """Yes or no; None for anything else."""
    return _FLAGS.get(text.strip().lower())


_DATE = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?\s*(Z|[+-]\d\d:?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(min|h|d|w)(?:\s*ago)?", re.ASCII | re.IGNORECASE)
_AGO_UNITS = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def parse_date(text: str, now: datetime) -> Span | None:
    """The time that a text names, as long as it is exact: a day is 24 hours, `7d` the moment seven days ago.

    None for anything else. A time without zone is in UTC.
    """
    text = text.strip()
    try:
        if match := _AGO.fullmatch(text):
            moment = _iso(now - timedelta(seconds=float(match[1]) * _AGO_UNITS[match[2].lower()]))
            return moment, moment
        match = _DATE.fullmatch(text)
        return _span(match) if match else None
    except (ValueError, OverflowError):
        return None


_EXACT = (timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1), timedelta(milliseconds=1))
"""How long a time is that is written as a day, with minutes, seconds, or parts of a second."""


def _span(match: re.Match[str]) -> Span:
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    micros = int((fraction or "0").ljust(6, "0"))
    start = datetime(
        int(year), int(month), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), micros, _zone(zone)
    )
    if day is None:
        after = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    else:
        exact = (hour, second, fraction).index(None) if None in (hour, second, fraction) else 3
        after = (
            start + (timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1), timedelta(milliseconds=1))[exact]
        )
    return _iso(start), _iso(after)


def _zone(zone: str | None) -> timezone:
    if zone is None or zone in "zZ":
        return UTC
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return timezone(-offset if zone[0] == "-" else offset)


def _iso(moment: datetime) -> str:
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"
