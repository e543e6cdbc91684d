"""The result of a benchmark whose runner had to be killed: what its frames brought."""

from __future__ import annotations

from array import array

from quickserveml_tui.core.benchmarks import BenchmarkFrame, Phase
from quickserveml_tui.core.runners import RawBenchmark
from quickserveml_tui.runtime.host import ProcessSampler


class PartialBenchmark:
    """Collects the samples of the frames."""

    def __init__(self, pid: int) -> None:
        self._sampler = ProcessSampler(pid)
        self._samples = {phase: (array("d"), array("d")) for phase in (Phase.WARMUP, Phase.MEASURING)}
        self._cpu_before: float | None = None
        self._cpu_s = 0.0
        self._peak: int | None = None
        self._batch = 1

    def add(self, frame: BenchmarkFrame) -> None:
        """Take a frame's samples; CPU time counts from the first frame of the measuring phase."""
        if frame.rss_bytes is not None:
            self._peak = max(self._peak or 0, frame.rss_bytes)
        if frame.phase not in self._samples:
            return
        self._batch = frame.batch
        starts, latencies = self._samples[frame.phase]
        starts.extend(frame.starts_s)
        latencies.extend(frame.latencies_ms)
        if frame.phase is Phase.MEASURING and (now := self._sampler.cpu_s()) is not None:
            if self._cpu_before is None:
                self._cpu_before = now
            self._cpu_s = now - self._cpu_before

    def result(self, pinned_cpus: tuple[int, ...]) -> RawBenchmark:
        """The samples so far, marked as cancelled."""
        warmup, measured = self._samples[Phase.WARMUP], self._samples[Phase.MEASURING]
        return RawBenchmark(
            warmup_starts_s=warmup[0],
            warmup_latencies_ms=warmup[1],
            starts_s=measured[0],
            latencies_ms=measured[1],
            cpu_s=self._cpu_s,
            peak_rss_bytes=self._peak,
            batch=self._batch,
            pinned_cpus=pinned_cpus,
            cancelled=True,
        )

    def __enter__(self) -> PartialBenchmark:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._sampler.close()
