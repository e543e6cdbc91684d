"""The parent of the fuzzing children: it watches them from outside, names what ended them, and starts them again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fuzz_findings import Finding, FindingStore, minimise
from fuzz_worker import STACK, STACK_SIGNAL, Board, Plan, Status, run_child

MAX_INPUT_SECONDS = 5.0
"""CPU time that one input may take."""
MAX_STALLED_SECONDS = 120.0
"""Wall time without a next input: a child that waits for something uses no CPU."""
MAX_REPLAY_SECONDS = 600.0
MAX_DEATHS = 25
"""Ends of children after which their worker is given up: each costs seconds."""
_POLL_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass(slots=True)
class Seat:
    """A worker and the child that does its work at present."""

    plan: Plan
    board: Board = field(default_factory=Board)
    pid: int = 0
    is_done: bool = False
    deaths: int = 0
    last_step: tuple[int, float] = (-1, 0.0)
    moved_at: float = 0.0


class WorkerFailedError(Exception):
    """A worker ended, but not by an input."""


class Watch:
    """Runs workers until their deadline; `findings` is what they did wrong."""

    def __init__(
        self, plans: list[Plan], input_seconds: float = MAX_INPUT_SECONDS, most_deaths: int = MAX_DEATHS
    ) -> None:
        self._seats = [Seat(plan) for plan in plans]
        self._input_seconds, self._most_deaths = input_seconds, most_deaths
        self.store = FindingStore(plans[0].store)
        for plan in plans:
            plan.folder.mkdir(parents=True, exist_ok=True)
            plan.work.mkdir(parents=True, exist_ok=True)

    def run(self, report: Callable[[list[Status]], None], every_seconds: float) -> None:
        """Return when all workers are done."""
        told = time.monotonic()
        for seat in self._seats:
            self._start(seat)
        try:
            while not all(seat.is_done for seat in self._seats):
                time.sleep(_POLL_SECONDS)
                for seat in self._seats:
                    if not seat.is_done:
                        self._look(seat)
                if time.monotonic() - told >= every_seconds:
                    told = time.monotonic()
                    report(self.statuses())
        finally:
            for seat in self._seats:
                if not seat.is_done:
                    os.kill(seat.pid, signal.SIGKILL)
                    os.waitpid(seat.pid, 0)
        report(self.statuses())

    def statuses(self) -> list[Status]:
        return [seat.board.read() for seat in self._seats]

    def _start(self, seat: Seat) -> None:
        seat.moved_at = time.monotonic()
        seat.pid = os.fork()
        if seat.pid == 0:
            run_child(seat.plan, seat.board, seat.plan.folder / "log")

    def _look(self, seat: Seat) -> None:
        pid, ended = os.waitpid(seat.pid, os.WNOHANG)
        if pid:
            self._on_end(seat, ended)
            return
        status = seat.board.read()
        now = time.monotonic()
        step = (status.executions, status.started_cpu)
        if step != seat.last_step or not status.is_running:
            seat.last_step, seat.moved_at = step, now
        hung = status.is_running and cpu_seconds(seat.pid) - status.started_cpu > self._input_seconds
        if not hung and now - seat.moved_at <= MAX_STALLED_SECONDS:
            if now > seat.plan.deadline + MAX_REPLAY_SECONDS:
                raise self._failure(seat)
            return
        if seat.board.read().data != status.data:
            return  # it went on meanwhile
        place, stack = self._stack(seat)
        os.kill(seat.pid, signal.SIGKILL)
        os.waitpid(seat.pid, 0)
        text = f"An input took more than {self._input_seconds if hung else MAX_STALLED_SECONDS:g} s.\n{stack}"
        self._bury(seat, Finding("hang", place, text), status.data)

    def _stack(self, seat: Seat) -> tuple[str, str]:
        """Where a child that runs on is, by the stack that it writes when it is asked for it."""
        path = seat.plan.folder / STACK
        os.kill(seat.pid, STACK_SIGNAL)
        until = time.monotonic() + 5
        while time.monotonic() < until and not _place(path)[0]:
            time.sleep(0.02)
        return _place(path)

    def _failure(self, seat: Seat) -> WorkerFailedError:
        log = seat.plan.folder / "log"
        return WorkerFailedError(
            f"Worker {seat.plan.worker} failed ({log}):\n{log.read_text('utf-8', 'replace')[-3000:]}"
        )

    def _on_end(self, seat: Seat, ended: int) -> None:
        status = seat.board.read()
        code = os.waitstatus_to_exitcode(ended)
        if not status.is_running:
            seat.is_done = True
            if code:
                raise self._failure(seat)
            if seat.plan.engine != "own":  # libFuzzer ends its process: another one measures coverage and memory
                seat.is_done = False
                seat.plan = replace(seat.plan, engine="own", max_executions=0)
                self._start(seat)
            return
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        place, stack = _place(seat.plan.folder / STACK)
        finding = Finding("crash", f"{how} at {place}", f"The process ended by {how}.\n{stack}")
        data = status.data
        if not self.store.has(finding):
            data = minimise(data, lambda smaller: self._ends(seat, smaller) == ended, attempts=20)
        self._bury(seat, finding, data)

    def _ends(self, seat: Seat, data: bytes) -> int:
        """How a child ends that runs only this input."""
        pid = os.fork()
        if pid == 0:
            run_child(replace(seat.plan, only=data), Board(), Path(os.devnull))
        until = time.monotonic() + 30
        while time.monotonic() < until:
            found, ended = os.waitpid(pid, os.WNOHANG)
            if found:
                return ended
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]

    def _bury(self, seat: Seat, finding: Finding, data: bytes) -> None:
        """Save the finding, and let another child go on behind that input."""
        self.store.save(finding, data)
        _avoid(seat.plan.folder / "state.json", seat.board.read().data)
        status = seat.board.read()
        status.is_running = False
        seat.board.write(status)
        seat.deaths += 1
        if seat.deaths == self._most_deaths:
            seat.is_done = True
        else:
            self._start(seat)


def _place(stack: Path) -> tuple[str, str]:
    """The innermost line of this project in a stack that faulthandler wrote, and the stack."""
    text = stack.read_text("utf-8", "replace") if stack.exists() else ""
    lines = re.findall(r'File "([^"]+)", line (\d+)', text)
    own = [line for line in lines if "quickserveml_tui" in line[0]] or lines
    return (f"{Path(own[0][0]).name}:{own[0][1]}" if own else ""), text[-8000:]


def _avoid(state: Path, data: bytes) -> None:
    """Let no further child run this input when it resumes."""
    held = json.loads(state.read_text()) if state.exists() else {}
    held["bad"] = [*held.get("bad", []), hashlib.sha256(data).hexdigest()]
    state.write_text(json.dumps(held))
