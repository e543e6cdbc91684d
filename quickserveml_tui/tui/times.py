"""Times of the stores as people read them."""

from __future__ import annotations

from datetime import datetime


def _parsed(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp) if stamp else None
    except ValueError:
        return None


def epoch_of(stamp: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; 0 where there is none."""
    moment = _parsed(stamp)
    return moment.timestamp() if moment else 0.0


def local_clock(stamp: str) -> str:
    """`10:28` in local time, with the date where it was another day; empty where there is none."""
    moment = _parsed(stamp)
    if moment is None:
        return ""
    local = moment.astimezone()
    return local.strftime("%H:%M" if local.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")
