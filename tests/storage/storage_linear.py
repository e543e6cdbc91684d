"""Whether what processes saw could have happened one operation after the other (Wing and Gong, 1993).

A history is a list of operations for each process, in its order. An order of all of them is looked for in which no
operation comes before one that had ended when it began, and in which a sequential store gives the very results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One operation as the process that did it saw it; times of a clock that all processes share."""

    kind: str
    names: tuple[str, ...]
    asked: Any
    result: Any
    start: int
    end: int


def find_order(histories, state, apply, reads=frozenset()):
    """The operations in an order that explains all results, or None.

    `apply(state, seen)` gives the state after it, or None where a sequential store would not have given that result.
    Operations of the kinds `reads` change nothing, so one that fits may be taken at once, without trying others first.
    """
    ends = [tuple(history) for history in histories]
    tried = set()
    path = []
    stack = [(tuple(0 for _ in ends), state, None)]
    while stack:
        positions, state, seen = stack.pop()
        if seen is not None:
            del path[sum(positions) - 1 :]
            path.append(seen)
        if (positions, state) in tried:
            continue
        tried.add((positions, state))
        heads = [(index, ends[index][at]) for index, at in enumerate(positions) if at < len(ends[index])]
        if not heads:
            return path
        first_end = min(seen.end for _index, seen in heads)
        following = []
        for index, seen in heads:
            after = apply(state, seen) if seen.start <= first_end else None
            if after is None:
                continue
            step = (*positions[:index], positions[index] + 1, *positions[index + 1 :])
            following.append((step, after, seen))
            if seen.kind in reads:
                following = following[-1:]
                break
        stack.extend(following)
    return None
