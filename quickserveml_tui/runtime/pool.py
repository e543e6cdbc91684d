"""Where runners come from: warm ones that are used again, fresh ones for measured runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quickserveml_tui.core.errors import UnavailableError
from quickserveml_tui.runtime.client import RunnerProcess
from quickserveml_tui.runtime.limits import DEFAULT_LIMITS, RunnerLimits

MAX_IDLE = 2


class LocalRunnerPool:
    """Runners on this machine (`core.ports.RunnerPool`); any thread may ask.

    `log_dir` takes the runners' output while they live, in files without a name; without one, and where it cannot be
    written, the system's folder for temporary files does. `borrow` reuses a runner until it
    crashes or a model took all its memory; at most `max_idle` wait unused.
    """

    def __init__(
        self, log_dir: Path | None, *, limits: RunnerLimits = DEFAULT_LIMITS, max_idle: int = MAX_IDLE
    ) -> None:
        self._log_dir = log_dir
        self._limits = limits
        self._max_idle = max_idle
        self._lock = threading.Lock()
        self._idle: list[RunnerProcess] = []
        self._used: set[RunnerProcess] = set()
        self._closed = False

    def warm_up(self) -> None:
        """Start a spare runner, unless one waits; returns before it is ready (a few milliseconds)."""
        with self._lock:
            if self._closed or any(runner.alive for runner in self._idle):
                return
            self._idle.append(self._start(preload=True))

    @contextmanager
    def borrow(self) -> Iterator[RunnerProcess]:
        """A warm runner that is used again after, unless it is worn: for trials, facts, layers, predictions."""
        runner = self._take_idle()
        try:
            yield runner
        finally:
            self._give_back(runner)

    @contextmanager
    def fresh(self) -> Iterator[RunnerProcess]:
        """A runner of one's own with its own cores, ended after: for measured runs."""
        with self._lock:
            self._check_open()
            runner = self._start(measured=True)
            self._used.add(runner)
        try:
            yield runner
        finally:
            with self._lock:
                self._used.discard(runner)
            runner.close()

    def close(self) -> None:
        """End all runners, those in use too; safe to call twice."""
        with self._lock:
            self._closed = True
            runners = [*self._idle, *self._used]
            self._idle.clear()
            self._used.clear()
        for runner in runners:
            runner.close()

    def _start(self, *, measured: bool = False, preload: bool = False) -> RunnerProcess:
        return RunnerProcess(self._log_dir, limits=self._limits, measured=measured, preload=preload)

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("The runners were ended.", hint="Start the program again.", code="runtime.closed")

    def _take_idle(self) -> RunnerProcess:
        dead = []
        with self._lock:
            self._check_open()
            while self._idle and not self._idle[-1].alive:
                dead.append(self._idle.pop())
            runner = self._idle.pop() if self._idle else self._start()
            self._used.add(runner)
        for item in dead:
            item.close()
        return runner

    def _give_back(self, runner: RunnerProcess) -> None:
        with self._lock:
            self._used.discard(runner)
            is_usable = runner.alive and not runner.worn
            keep = is_usable and not self._closed and len(self._idle) < self._max_idle
            if keep:
                self._idle.append(runner)
            elif not self._closed and not is_usable and not self._idle:
                with contextlib.suppress(UnavailableError):  # the next borrower is told
                    self._idle.append(self._start(preload=True))
        if not keep:
            runner.close()
