"""Several runners that take turns on the same cores: the parent's side of an interleaved comparison."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.comparing import ComparisonSpec
from quickserveml_tui.core.errors import CancelledError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.runners import Block, ModelRunner, RunnerPool
from quickserveml_tui.core.statistics import HostNoise
from quickserveml_tui.runtime import host
from quickserveml_tui.runtime.cores import CORES
from quickserveml_tui.runtime.meter import read_host_counters

_COLD = 5
"""Inferences in a block from which on its first is left out: it finds the caches as another side left them."""
_MIN_WATCHED_S = 0.5


class Contestant(NamedTuple):
    """A model file with settings."""

    path: Path
    spec: BenchmarkSpec


@dataclass
class SideSamples:
    """What was measured of a side."""

    latencies_ms: list[np.ndarray[Any, Any]] = field(default_factory=list)
    """One float64 array for each block."""
    busy_s: float = 0.0
    """Sum of its latencies."""
    cpu_s: float = 0.0
    peak_rss_bytes: int | None = None
    preemptions: int = 0
    batch: int = 1

    def add(self, block: Block) -> float:
        """Take a block; returns its median latency in ms."""
        latencies = np.asarray(block.latencies_ms)
        kept = latencies[1:] if latencies.size >= _COLD else latencies
        self.latencies_ms.append(kept)
        self.busy_s += float(latencies.sum()) / 1000
        self.cpu_s += block.cpu_s
        self.preemptions += block.preemptions or 0
        if block.peak_rss_bytes is not None:
            self.peak_rss_bytes = max(self.peak_rss_bytes or 0, block.peak_rss_bytes)
        return float(np.median(kept))


@dataclass
class Turns:
    """Rounds so far."""

    sides: list[SideSamples]
    medians_ms: list[list[float]] = field(default_factory=list)
    """By round and side."""
    processes: list[int] = field(default_factory=list)
    """By round: which process of each side it ran in, from 0."""
    measured_s: float = 0.0
    cancelled: bool = False
    load_before: float | None = None
    other_cpu_s: float = 0.0
    """CPU time of other processes while it measured, in core seconds."""
    steal: float | None = None
    watched_s: float = 0.0
    cpus: tuple[int, ...] = ()
    """Cores that the sides had to themselves; empty when they shared the machine."""

    def noise(self, threads: int) -> HostNoise:
        """What else the machine did meanwhile; `threads` are those of the side with most."""
        preempted = sum(side.preemptions for side in self.sides)
        busy_s = sum(side.busy_s for side in self.sides)
        return HostNoise(
            cores=len(host.available_cpus()),
            threads=threads,
            load_before=self.load_before,
            other_cpus=self.other_cpu_s / self.watched_s if self.watched_s >= _MIN_WATCHED_S else None,
            steal=self.steal,
            preemptions_per_s=preempted / busy_s if busy_s >= _MIN_WATCHED_S else None,
        )


def take_turns(
    pool: RunnerPool,
    contestants: Sequence[Contestant],
    spec: ComparisonSpec,
    *,
    on_phase: Callable[[str, int], None],
    on_round: Callable[[Turns], bool],
    cancel: CancelToken,
) -> Turns:
    """Measure rounds in which every side runs one block, in random order, until the time is over.

    Each side gets `spec.processes` processes, one after the other. `on_phase` hears of `loading` and `measuring` with
    the number of the process; `on_round` is called between two rounds and ends the comparison by `True`. On cancel what
    there is comes back, without the round under way. Raises what `ModelRunner.prepare_blocks` and `measure_block` do.
    """
    order = random.Random(spec.seed)
    turns = Turns([SideSamples() for _ in contestants], load_before=host.host_status().load)
    threads = max(contestant.spec.intra_op_threads for contestant in contestants)
    with CORES.lease(threads) as turns.cpus:
        try:
            for process in range(spec.processes):
                on_phase("loading", process)
                with _runners(pool, contestants, turns, cancel) as runners:
                    _warm_up(runners, spec, cancel)
                    on_phase("measuring", process)
                    end_s = spec.duration_s * (process + 1) / spec.processes
                    with _watched(turns):
                        ended = _measure(
                            runners, turns, spec, process=process, end_s=end_s, order=order, on_round=on_round,
                            cancel=cancel,
                        )  # fmt: skip
                    if ended:
                        break
        except CancelledError:
            turns.cancelled = True
    return turns


@contextmanager
def _runners(
    pool: RunnerPool, contestants: Sequence[Contestant], turns: Turns, cancel: CancelToken
) -> Iterator[list[ModelRunner]]:
    with ExitStack() as stack:
        runners: list[ModelRunner] = [stack.enter_context(pool.fresh()) for _ in contestants]
        for runner, contestant, side in zip(runners, contestants, turns.sides, strict=True):
            side.batch = runner.prepare_blocks(contestant.path, contestant.spec, cpus=turns.cpus, cancel=cancel)
        yield runners


def _warm_up(runners: Sequence[ModelRunner], spec: ComparisonSpec, cancel: CancelToken) -> None:
    for runner in runners:
        if spec.warmup_s:
            runner.measure_block(spec.warmup_s, cancel=cancel)
        cancel.raise_if_cancelled()


def _measure(
    runners: Sequence[ModelRunner],
    turns: Turns,
    spec: ComparisonSpec,
    *,
    process: int,
    end_s: float,
    order: random.Random,
    on_round: Callable[[Turns], bool],
    cancel: CancelToken,
) -> bool:
    """Rounds of one set of processes until `end_s` of measured time; whether `on_round` ended the comparison."""
    places = list(range(len(runners)))
    first = True
    while first or turns.measured_s < end_s:
        first = False
        order.shuffle(places)
        blocks: dict[int, Block] = {}
        for place in places:
            block = runners[place].measure_block(spec.block_s, cancel=cancel)
            if block.cancelled or not len(block.latencies_ms):
                raise CancelledError("Cancelled within a round.", code="cancelled")
            blocks[place] = block
        turns.medians_ms.append([turns.sides[place].add(blocks[place]) for place in range(len(runners))])
        turns.processes.append(process)
        turns.measured_s += sum(float(np.sum(block.latencies_ms)) for block in blocks.values()) / 1000
        if on_round(turns):
            return True
        cancel.raise_if_cancelled()
    return False


@contextmanager
def _watched(turns: Turns) -> Iterator[None]:
    """Read the machine's counters before and after, and add what others used of it."""
    before, began_s, own_s = read_host_counters(), time.monotonic(), _own_cpu_s(turns)
    try:
        yield
    finally:
        after, wall_s = read_host_counters(), time.monotonic() - began_s
        if before is not None and after is not None and wall_s > 0:
            turns.watched_s += wall_s
            turns.other_cpu_s += max(after.busy_s - before.busy_s - (_own_cpu_s(turns) - own_s), 0.0)
            taken = (after.steal_s - before.steal_s) / max(after.total_s - before.total_s, 1e-9)
            turns.steal = max(turns.steal or 0.0, taken)


def _own_cpu_s(turns: Turns) -> float:
    return time.process_time() + sum(side.cpu_s for side in turns.sides)
