"""Findings: inputs that did what no input may do, saved once for each place, and made small."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz_fields import BYTES, Field, join, make, parse

MAX_ATTEMPTS = 600


@dataclass(frozen=True, slots=True)
class Finding:
    """What one input did."""

    kind: str
    """`exception`, `crash`, `hang` or `memory`."""
    place: str
    """What tells it from others: the exception's type and line, or how the process ended."""
    text: str


def from_exception(error: BaseException) -> Finding:
    """Named by the type and the innermost line of this project."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "quickserveml_tui" in frame.filename] or frames
    place = f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"
    return Finding("exception", place, "".join(traceback.format_exception(error))[-8000:])


class FindingStore:
    """A folder with an input and its text for each finding."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _stem(self, finding: Finding) -> Path:
        words = "".join(char if char.isalnum() else "-" for char in f"{finding.kind}-{finding.place}")
        return self._folder / words[:120]

    def has(self, finding: Finding) -> bool:
        return self._stem(finding).with_suffix(".txt").exists()

    def save(self, finding: Finding, data: bytes) -> bool:
        """Save it unless the same is there with a smaller input; says whether its place is new."""
        stem = self._stem(finding)
        is_new = not self.has(finding)
        held = stem.with_suffix(".bin")
        if is_new or len(data) < held.stat().st_size:
            held.write_bytes(data)
            stem.with_suffix(".txt").write_text(f"{finding.kind}: {finding.place}\n{finding.text}\n", "utf-8")
        return is_new

    def places(self) -> list[str]:
        """One line for each finding."""
        texts = sorted(self._folder.glob("*.txt"))
        return [f"{path.read_text('utf-8').splitlines()[0]} ({path.with_suffix('.bin')})" for path in texts]


def minimise(data: bytes, still: Callable[[bytes], bool], attempts: int = MAX_ATTEMPTS) -> bytes:
    """A smaller input for which `still` holds: fields are left out from the root down, then runs of bytes."""
    left = attempts

    def holds(candidate: bytes) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and still(candidate)

    fields = parse(data)
    if fields:
        data = join(_fewer_fields(fields, lambda reduced: holds(join(reduced))))
    size = max(len(data) // 2, 1)
    while size and left > 0:
        at = 0
        while at < len(data) and left > 0:
            candidate = data[:at] + data[at + size :]
            if candidate and holds(candidate):
                data = candidate
            else:
                at += size
        size //= 2
    return data


def _fewer_fields(fields: tuple[Field, ...], holds: Callable[[tuple[Field, ...]], bool]) -> tuple[Field, ...]:
    at = 0
    while at < len(fields):
        reduced = fields[:at] + fields[at + 1 :]
        if reduced and holds(reduced):
            fields = reduced
        else:
            at += 1
    for at, field in enumerate(fields):
        if field.children:
            around = (fields[:at], fields[at + 1 :])

            def rebuilt(inner: tuple[Field, ...], field=field, around=around) -> tuple[Field, ...]:
                return (*around[0], make(field.number, BYTES, inner, field.message), *around[1])

            if rebuilt(field.children) == fields or holds(rebuilt(field.children)):
                inner = _fewer_fields(field.children, lambda inner, rebuilt=rebuilt: holds(rebuilt(inner)))
                fields = rebuilt(inner)
    return fields


def generator(seed: int, worker: int, index: int) -> random.Random:
    """The random numbers of one execution: the same for the same three numbers."""
    return random.Random((seed << 64) + (worker << 48) + index)
