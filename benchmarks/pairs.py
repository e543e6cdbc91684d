"""Interleaved comparison: pairs in random order, so that a drift of the machine hits both sides alike."""

import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

BARE = Path(__file__).with_name("bare_loop.py")


def bare(model: Path, seconds: float, warmup_s: float, cpus: tuple[int, ...]) -> dict[str, float]:
    """p50 and p99 in ms of the bare loop in a child of its own."""
    command = [sys.executable, str(BARE), str(model), str(seconds), str(warmup_s), *map(str, cpus)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout)


def interleave(sides: dict, pairs: int, seed: int = 0) -> dict[str, list[dict[str, float]]]:
    """Run every side once a round, in random order; results by side and round."""
    generator = random.Random(seed)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(pairs):
        for name in generator.sample(list(sides), len(sides)):
            results[name].append(sides[name]())
        if sys.stderr.isatty():
            print(f"\r\x1b[2Kpair {number + 1} of {pairs}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(end="\r\x1b[2K", file=sys.stderr, flush=True)
    return results


def ratios(results: dict, side: str, base: str, key: str) -> list[float]:
    """`side` over `base` by round."""
    return [one[key] / other[key] for one, other in zip(results[side], results[base], strict=True)]


def spread(values: list[float]) -> float:
    """Half of the range that holds the middle nine tenths of ratios, as a share: what the machine does by itself."""
    ordered = sorted(values)
    cut = int(len(ordered) * 0.05)
    kept = ordered[cut : len(ordered) - cut]
    return max(abs(kept[0] - 1), abs(kept[-1] - 1))


def median(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)
