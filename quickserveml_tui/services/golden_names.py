"""Pure changes of a version's golden outputs, and what they are called."""

from __future__ import annotations

import difflib
import math
import shlex
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.errors import ConflictError, NotFoundError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.models import GoldenOutput, VersionRecord
from quickserveml_tui.core.text import safe_text

MAX_RECORDS = 64
"""The most golden outputs of one version."""
MAX_SOURCE = 200
_DEFAULT = "default"


def find_golden(ref: str, version: VersionRecord, name: str) -> GoldenOutput:
    """The golden output of that name. Raises `NotFoundError` (`golden.not_found`) with the nearest names."""
    found = next((item for item in version.golden if item.name == name), None)
    if found is None:
        names = [item.name for item in version.golden]
        near = difflib.get_close_matches(name[:128], names, n=3) or sorted(names)[:10]
        raise NotFoundError(
            f"{safe_text(ref, 120)} has no golden output “{safe_text(name, 80)}”.",
            hint=f"It has: {', '.join(near)}." if near else "Record one with `quickserveml golden record`.",
            code="golden.not_found",
        )
    return found


def free_name(version: VersionRecord, name: str, *, overwrite: bool) -> str:
    """`name`, or the next free one where it is empty, if the version can take it.

    Raises `ConflictError`: `golden.exists` for one that is taken (the case of letters makes no other), unless it is to
    be overwritten, `golden.too_many`.
    """
    taken = {item.name.lower(): item.name for item in version.golden}
    if not name:
        names = (_DEFAULT, *(f"{_DEFAULT}-{number}" for number in range(2, MAX_RECORDS + 2)))
        name = next(item for item in names if item not in taken)
    twin = taken.get(name.lower())
    if twin is not None and not (overwrite and twin == name):
        raise ConflictError(
            f"Version {version.version} already has a golden output {safe_text(twin, 80)}.",
            hint="Choose another name, or add --overwrite." if twin == name else "Choose another name.",
            code="golden.exists",
        )
    if twin is None and len(version.golden) >= MAX_RECORDS:
        raise ConflictError(
            f"Version {version.version} has {len(version.golden)} golden outputs; at most {MAX_RECORDS} are kept.",
            hint="Take one away first: quickserveml golden remove.",
            code="golden.too_many",
        )
    return name


def with_golden(version: VersionRecord, golden: GoldenOutput) -> VersionRecord:
    """The version with a golden output, in the place of one of the same name."""
    return _changed(version, [*_others(version, golden.name), golden])


def without_golden(version: VersionRecord, name: str) -> VersionRecord:
    """The version without the golden output of that name."""
    return _changed(version, _others(version, name))


def _others(version: VersionRecord, name: str) -> list[GoldenOutput]:
    return [item for item in version.golden if item.name != name]


def _changed(version: VersionRecord, golden: list[GoldenOutput]) -> VersionRecord:
    """The version with these by name; what its last trial said of those before no longer holds."""
    ordered = tuple(sorted(golden, key=lambda item: item.name))
    return replace(version, golden=ordered, trial=replace(version.trial, warning=""))


def source_of(inputs: Path | None, feed: FeedSpec) -> str:
    """Where the inputs come from: the name of a file, or the options of the feed."""
    if inputs is not None:
        return safe_text(inputs.name, MAX_SOURCE)
    text = shlex.join(feed.to_args() if feed.seed else [*feed.to_args(), "--seed", "0"])
    return safe_text(text, MAX_SOURCE)


def check_tolerance(rtol: float, atol: float) -> None:
    """Raise `UsageError` (`usage.tolerance`) unless both are finite numbers from 0 on."""
    if not all(math.isfinite(value) and value >= 0 for value in (rtol, atol)):
        raise UsageError(
            "A tolerance is a finite number, 0 or more.",
            hint="Such as --rtol 1e-3 --atol 1e-5.",
            code="usage.tolerance",
        )
