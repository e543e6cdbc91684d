"""Settings of one side of a comparison as a short text: `threads=2,spinning=true`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class _Setting(NamedTuple):
    read: Callable[[str], Any]
    field: str
    """Of `BenchmarkSpec`; `batch` is the feed's."""


def _truth(text: str) -> bool:
    return _TRUTHS[text.lower()]


_SETTINGS = {
    "threads": _Setting(int, "intra_op_threads"),
    "inter_op_threads": _Setting(int, "inter_op_threads"),
    "provider": _Setting(str, "provider"),
    "optimization": _Setting(str, "optimization"),
    "spinning": _Setting(_truth, "spinning"),
    "batch": _Setting(int, "batch"),
}


def with_settings(base: BenchmarkSpec, text: str) -> BenchmarkSpec:
    """`base` with what the text says. Raises `UsageError` for an unknown setting, a bad value, or none at all."""
    changes: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        setting = _SETTINGS.get(name.replace("-", "_"))
        if setting is None:
            near = difflib.get_close_matches(name, _SETTINGS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Settings: {', '.join(_SETTINGS)}."
            raise UsageError(f"There is no setting “{safe_text(name, 40)}”.", hint=hint, code="usage.compare")
        try:
            changes[setting.field] = setting.read(value)
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"“{safe_text(value, 40)}” is no value for {name}." if equals else f"{name} has no value.",
                hint="Write settings like threads=2,spinning=true.",
                code="usage.compare",
            ) from error
    batch = changes.pop("batch", base.feed.batch)
    return replace(base, **changes, feed=replace(base.feed, batch=batch)).validate()


def describe_settings(base: BenchmarkSpec, spec: BenchmarkSpec) -> str:
    """What differs from `base`, in the form that `with_settings` reads; empty where nothing does."""
    parts = []
    for name, setting in _SETTINGS.items():
        old, new = (
            (side.feed.batch if setting.field == "batch" else getattr(side, setting.field)) for side in (base, spec)
        )
        if old != new:
            parts.append(f"{name}={str(new).lower() if isinstance(new, bool) else new}")
    return ",".join(parts)
