"""A session in a process of its own, for models that may take down the process they run in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import CancelledError, QuickServeError, RunnerCrashedError, RunnerError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime import calls
from quickserveml_tui.runtime.client import RunnerProcess
from quickserveml_tui.runtime.packing import pack, unpack
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.runtime.settings import DEFAULT_SETTINGS, SessionSettings

if TYPE_CHECKING:
    from quickserveml_tui.core.values import Value

_LOAD_LIMIT_S = 300.0
_RUN_LIMIT_S = 86_400.0
"""Whoever asks for a run stops it earlier."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_HEALTHY_S = 60.0


class _SessionRunner(RunnerProcess):
    """A runner that keeps one session."""

    def open_session(self, path: Path, settings: SessionSettings) -> calls.SessionInfo:
        """Load the model."""
        return self._call(
            "open_session", calls.SessionArgs(os.fsencode(path), settings), calls.SessionInfo, _LOAD_LIMIT_S
        )

    def run_session(
        self, path: Path, settings: SessionSettings, feeds: Mapping[str, Any], names: Sequence[str], cancel: CancelToken
    ) -> dict[str, Any]:
        """Run it once; packed outputs."""
        packed = {name: pack(value) for name, value in feeds.items()}
        args = calls.RunArgs(os.fsencode(path), settings, packed, tuple(names))
        return self._call("run_session", args, dict[str, Any], _RUN_LIMIT_S, cancel=cancel)


class IsolatedSession(Session):
    """A `Session` whose model runs in a runner; 100 µs and two copies a run dearer.

    When the model takes its process down, the requests that ran get `RunnerCrashedError`, and the next one starts
    another process: at once the first time, then after 0.5 s, twice that, up to 30 s; until then requests get the same
    error. Runs are made one after another.
    """

    def __init__(self, path: Path, settings: SessionSettings = DEFAULT_SETTINGS) -> None:
        self.path = path
        self.settings = settings
        self._guard = threading.Lock()
        self._tokens: set[CancelToken] = set()
        self._deaths = 0
        self._died_s = 0.0
        self._last: RunnerError | None = None
        self._closed = False
        self._runner, info = self._start()
        self.inputs: tuple[TensorSpec, ...] = info.inputs
        self.outputs: tuple[TensorSpec, ...] = info.outputs
        self._provider = info.provider

    @property
    def provider(self) -> str:
        """The execution provider that took the model."""
        return self._provider

    @property
    def pid(self) -> int:
        """Process that runs the model."""
        return self._runner.pid

    def run(
        self,
        feeds: Mapping[str, Value],
        outputs: Sequence[str] | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Value]:
        """As `Session.run`; `RunnerCrashedError` when the process died."""
        names = list(outputs) if outputs is not None else [spec.name for spec in self.outputs]
        token = cancel or CancelToken()
        with self._guard:
            self._tokens.add(token)
        try:
            found = self._alive().run_session(self.path, self.settings, feeds, names, token)
        except RunnerError as error:
            self._note_death(error)
            raise
        finally:
            with self._guard:
                self._tokens.discard(token)
        return {name: unpack(found[name]) for name in names}

    def terminate(self) -> None:
        """Stop the runs that are under way; they raise `CancelledError`."""
        with self._guard:
            tokens = tuple(self._tokens)
        for token in tokens:
            token.cancel()

    def close(self) -> None:
        """End the process."""
        with self._guard:
            self._closed = True
        self._runner.close()

    def _start(self) -> tuple[_SessionRunner, calls.SessionInfo]:
        runner = _SessionRunner(None)
        try:
            return runner, runner.open_session(self.path, self.settings)
        except BaseException:
            runner.close()
            raise

    def _alive(self) -> _SessionRunner:
        with self._guard:
            if self._closed:
                raise CancelledError("The model was unloaded.", hint="Load it again.")
            if self._runner.alive:
                return self._runner
            since = time.monotonic() - self._died_s
            pause = 0.0 if self._deaths <= 1 else min(_FIRST_PAUSE_S * 2.0 ** (self._deaths - 2), _LONGEST_PAUSE_S)
            if since < pause:
                raise self._last or RunnerCrashedError("The process of the model is being started again.")
            self._runner.close()
            try:
                self._runner, _info = self._start()
            except QuickServeError as error:
                self._deaths, self._died_s = self._deaths + 1, time.monotonic()
                self._last = error if isinstance(error, RunnerError) else None
                raise
            return self._runner

    def _note_death(self, error: RunnerError) -> None:
        with self._guard:
            if self._runner.alive or (self._last is error):
                return
            now = time.monotonic()
            self._deaths = 1 if now - self._died_s > _HEALTHY_S else self._deaths + 1
            self._died_s, self._last = now, error
