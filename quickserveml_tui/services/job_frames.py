"""Fewer frames that say the same: for followers who come late and files that must stay small."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from quickserveml_tui.core.benchmarks import BenchmarkFrame

MAX_LATENCIES = 2_000
LARGEST_KEPT = 200


def merge_frames(frames: Iterable[BenchmarkFrame]) -> tuple[BenchmarkFrame, ...]:
    """One frame for each run of frames of the same phase, with the figures of the last of them.

    Keeps at most 2,000 latencies: the 200 largest and an even sample of the rest; `dropped` counts those left out.
    """
    return tuple(_merged(list(group)) for _, group in groupby(frames, key=lambda frame: frame.phase))


def _merged(frames: Sequence[BenchmarkFrame]) -> BenchmarkFrame:
    last = frames[-1]
    if len(frames) == 1:
        return last
    starts = [start for frame in frames for start in frame.starts_s]
    latencies = [latency for frame in frames for latency in frame.latencies_ms]
    kept = _sample(latencies)
    return BenchmarkFrame(
        phase=last.phase,
        elapsed_s=last.elapsed_s,
        starts_s=tuple(starts[at] for at in kept),
        latencies_ms=tuple(latencies[at] for at in kept),
        count=last.count,
        dropped=sum(frame.dropped for frame in frames) + len(latencies) - len(kept),
        cpu_percent=next((frame.cpu_percent for frame in reversed(frames) if frame.cpu_percent is not None), None),
        rss_bytes=last.rss_bytes,
        rss_anon_bytes=last.rss_anon_bytes,
        batch=last.batch,
    )


def _sample(latencies: Sequence[float]) -> Sequence[int]:
    """Indexes to keep, ascending."""
    if len(latencies) <= MAX_LATENCIES:
        return range(len(latencies))
    by_size = sorted(range(len(latencies)), key=latencies.__getitem__)
    rest = sorted(by_size[:-LARGEST_KEPT])
    room = MAX_LATENCIES - LARGEST_KEPT
    even = [rest[at * len(rest) // room] for at in range(room)]
    return sorted([*even, *by_size[-LARGEST_KEPT:]])
