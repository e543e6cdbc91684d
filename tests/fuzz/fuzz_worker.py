"""The child that runs inputs: its limits, its loop, and what its parent can see of it from outside."""

from __future__ import annotations

import faulthandler
import gc
import hashlib
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fuzz_coverage import Coverage
from fuzz_findings import FindingStore, from_exception, generator, minimise
from fuzz_mutations import MAX_INPUT_BYTES, Mutator

HEAD = struct.Struct("<QdQQQQ?I")
STATUS_BYTES = HEAD.size + MAX_INPUT_BYTES
EXTRA_MEMORY_BYTES = 768 * 2**20
STACK, STACK_SIGNAL = "stack", signal.SIGUSR1
REPLAY_EXECUTIONS = 4_000
MAX_GROWTH_BYTES = 6 * 2**20
"""What thousands of inputs may leave behind: a leak of two kilobytes an input is more."""


@dataclass(slots=True)
class Status:
    """What a worker is at; it lies in memory that parent and child share, and so survives the child."""

    executions: int = 0
    started_cpu: float = 0.0
    """CPU seconds that the child had used when it took the current input."""
    corpus: int = 0
    edges: int = 0
    lines: int = 0
    anonymous_bytes: int = 0
    is_running: bool = False
    data: bytes = b""


class Board:
    """The shared memory of one worker."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, STATUS_BYTES)

    def read(self) -> Status:
        *numbers, length = HEAD.unpack_from(self._memory)
        return Status(*numbers, self._memory[HEAD.size : HEAD.size + length])

    def write(self, status: Status) -> None:
        s = status
        numbers = (s.executions, s.started_cpu, s.corpus, s.edges, s.lines, s.anonymous_bytes, s.is_running)
        HEAD.pack_into(self._memory, 0, *numbers, len(s.data))
        self._memory[HEAD.size : HEAD.size + len(s.data)] = s.data


@dataclass(frozen=True, slots=True)
class Plan:
    """What one worker is to do."""

    seed: int
    worker: int
    target: str
    engine: str
    """`own` or `atheris`."""
    folder: Path
    store: Path
    work: Path
    """Where inputs are written: in memory where that can be had, since a disk would take most of the time."""
    deadline: float
    """By the monotonic clock."""
    max_executions: int
    replays: int = REPLAY_EXECUTIONS
    """Inputs run at the end to see whether memory grows; half as many go before."""
    with_node_models: bool = False
    only: bytes | None = None
    """Run this input alone, and end."""


def anonymous_bytes() -> int:
    """Anonymous memory of this process after a collection."""
    gc.collect()
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def limit_memory() -> None:
    """Let this process take `EXTRA_MEMORY_BYTES` more than it has: what asks for more gets a MemoryError."""
    with Path("/proc/self/statm").open() as numbers:
        size = int(numbers.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + EXTRA_MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run_alone(plan: Plan, data: bytes) -> None:
    import fuzz_targets

    target = fuzz_targets.load(plan.target, plan.work)
    limit_memory()
    target(data)


def _tell_stack(path: Path) -> None:
    """Write the stack to a file when this process is killed by a fault, and whenever the parent asks."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    faulthandler.enable(descriptor)
    faulthandler.register(STACK_SIGNAL, descriptor)


class Worker:
    """One sequence of executions, the same for the same seed, worker and corpus."""

    def __init__(self, plan: Plan, board: Board) -> None:
        import fuzz_seeds
        import fuzz_targets
        import fuzz_zips

        self.plan, self._board, self.status = plan, board, Status(executions=board.read().executions)
        self._corpus_folder, self._state = plan.folder / "corpus", plan.folder / "state.json"
        self._corpus_folder.mkdir(parents=True, exist_ok=True)
        self.target = fuzz_targets.load(plan.target, plan.work)
        self._store = FindingStore(plan.store)
        self.coverage = Coverage(fuzz_targets.watched(plan.target))
        self.seeds = fuzz_zips.seeds() if plan.target == "values" else fuzz_seeds.generated() + fuzz_seeds.packaged()
        if plan.with_node_models:
            self.seeds += fuzz_seeds.node_models()
        self.mutator = Mutator(self.seeds)
        self._corpus: list[bytes] = []
        state = json.loads(self._state.read_text()) if self._state.exists() else {}
        self.status.executions = max(int(state.get("index", 0)), self.status.executions)
        self._bad = set(state.get("bad", ()))
        """Digests of inputs that ended a child."""
        limit_memory()

    def guarded(self, data: bytes, run: Callable[[Callable[[], None]], Any]) -> bool:
        """Run one input in view of the parent; a finding is saved, and False returned."""
        if self._bad and hashlib.sha256(data).hexdigest() in self._bad:
            return False
        status = self.status
        status.data, status.is_running, status.started_cpu = data, True, time.process_time()
        self._board.write(status)
        try:
            run(lambda: self.target(data))
        except Exception as error:
            self._record(data, error)
            return False
        finally:
            status.is_running = False
            self._board.write(status)
        return True

    def count(self) -> None:
        """Take the next execution."""
        self.status.executions += 1

    def _record(self, data: bytes, error: Exception) -> None:
        finding = from_exception(error)
        if self._store.has(finding):
            return
        self._store.save(finding, data)
        self._store.save(finding, minimise(data, lambda smaller: self._place(smaller) == finding.place))

    def _place(self, data: bytes) -> str:
        self.status.data, self.status.started_cpu = data, time.process_time()
        self._board.write(self.status)
        try:
            self.target(data)
        except Exception as error:
            return from_exception(error).place
        return ""

    def _try(self, data: bytes) -> bool:
        """Run an input; keep it if it reached something new."""
        before = len(self.coverage.edges)
        self.guarded(data, self.coverage.run)
        is_new = len(self.coverage.edges) > before
        if is_new:
            self._corpus.append(data)
            status, coverage = self.status, self.coverage
            status.corpus, status.edges, status.lines = len(self._corpus), len(coverage.edges), coverage.lines
        return is_new

    def kept(self) -> list[bytes]:
        """Inputs of earlier runs, in the order in which they were found."""
        return [path.read_bytes() for path in sorted(self._corpus_folder.iterdir())]

    def _save(self, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()[:16]
        (self._corpus_folder / f"{len(self._corpus):06}-{digest}").write_bytes(data)

    def _resume(self) -> None:
        for data in self.seeds + self.kept():
            self._try(data)
        self._corpus = self._corpus or list(self.seeds)

    def save_state(self, **more: Any) -> None:
        state = json.loads(self._state.read_text()) if self._state.exists() else {}
        draft = self._state.with_suffix(".tmp")
        draft.write_text(json.dumps(state | {"index": self.status.executions} | more))
        draft.replace(self._state)

    def fuzz(self) -> None:
        """Mutate, run and keep until the deadline or the number of executions; then replay without tracing."""
        plan, status = self.plan, self.status
        self._resume()
        while status.executions < plan.max_executions and time.monotonic() < plan.deadline:
            rng = generator(plan.seed, plan.worker, status.executions)
            self.count()
            parents = len(self._corpus)
            recent = rng.random() < 0.5
            parent = self._corpus[int(parents * (1 - rng.random() ** 3)) if recent else rng.randrange(parents)]
            data = self.mutator.mutate(parent, rng)
            if self._try(data):
                self._save(data)
            if status.executions % 2_000 == 0:
                status.anonymous_bytes = anonymous_bytes()
                self.save_state()
        self.save_state()
        self.replay()

    def replay(self) -> None:
        """Run thousands of inputs without tracing and corpus: memory may not grow with their number."""
        start, settling = 0, self.plan.replays // 2
        for number in range(settling + self.plan.replays):
            rng = generator(self.plan.seed, 0xFFFF, number)
            self.guarded(self.mutator.mutate(rng.choice(self._corpus), rng), lambda call: call())
            if number == settling:
                start = anonymous_bytes()
        growth = anonymous_bytes() - start
        self.save_state(growth_bytes=growth, coverage=self.coverage.per_file())
        if growth > MAX_GROWTH_BYTES:
            from fuzz_findings import Finding

            text = f"{self.plan.replays:,} inputs left {growth:,} bytes behind."
            self._store.save(Finding("memory", "growth", text), b"")


def run_child(plan: Plan, board: Board, log: Path) -> NoReturn:
    """Body of a forked child: never returns."""
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        _tell_stack(plan.folder / STACK)
        if plan.only is not None:
            _run_alone(plan, plan.only)
        elif plan.engine == "atheris":
            from fuzz_atheris import fuzz

            fuzz(plan, board)
        else:
            Worker(plan, board).fuzz()
        code = 0
    except BaseException:  # the fork must end here, whatever it is
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
