"""Servers, monitor and remote calls that a test drives: what they say, when they answer, and how they fail."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

from quickserveml_tui.core.errors import NotFoundError, UnavailableError
from quickserveml_tui.core.monitoring import (
    Distribution,
    ModelSnapshot,
    ServerSnapshot,
    SlowRequest,
    WorkerSnapshot,
)
from quickserveml_tui.core.serving import ServerRecord

BOUNDS = tuple(0.0001 * 2 ** (step / 2) for step in range(28))


def make_server(number: int = 1, *models: str, **changes) -> ServerRecord:
    record = ServerRecord(
        id=f"server-{number}", pid=4000 + number, url=f"http://127.0.0.1:{8000 + number - 1}",
        started_at="2024-05-01T10:00:00.000Z", models=models or ("digits@3", "iris@1"), workers=2,
        command="quickserveml serve digits iris --workers 2", log_path="/tmp/server.log",
    )  # fmt: skip
    return replace(record, **changes)


def spread(centre: int, total: int) -> Distribution:
    """About `total` values around a bucket."""
    counts = [0] * (len(BOUNDS) + 1)
    for step, share in ((-2, 0.1), (-1, 0.25), (0, 0.4), (1, 0.18), (2, 0.05), (5, 0.02)):
        counts[min(max(centre + step, 0), len(BOUNDS))] += round(total * share)
    return Distribution(BOUNDS, tuple(counts), sum(counts) * BOUNDS[centre])


def make_snapshot(second: int, *, names: tuple[str, ...] = ("digits", "iris"), **changes) -> ServerSnapshot:
    """A server that has answered a little more with each second."""
    models = tuple(
        ModelSnapshot(
            name=name, version=str(number + 1), codes={"200": 100 * second * (number + 1), "400": second * number},
            latency=spread(6 + 5 * number, 100 * second * (number + 1)), queue=Distribution((0.001,), (90 * second, 0), 0.01 * second),
            compute=Distribution((0.01,), (90 * second, 0), 0.2 * second), batch=Distribution((1.0, 2.0, 4.0), (10 * second, 20 * second, 5 * second, 0), 70.0 * second),
            inferences=100 * second, executions=35 * second, pending=number,
        )
        for number, name in enumerate(names)
    )  # fmt: skip
    snapshot = ServerSnapshot(
        taken_at=1_700_000_000.0 + second, name="quickserveml", version="1.0", url="http://127.0.0.1:8000",
        uptime_s=100.0 + second, cores=4, cpu_percent=40.0, memory_total_bytes=16_000_000_000,
        memory_available_bytes=8_000_000_000, models=models,
        workers=(WorkerSnapshot(0, 4001, True, 0, 0.8 * second, 90_000_000, 12, 100 * second),
                 WorkerSnapshot(1, 4002, True, 1, 0.5 * second, 91_000_000, 9, 90 * second)),
        slow=(SlowRequest(1_700_000_000.0, names[0], "1", 0.0871, 0.002, 0.08, 200, 4, 2, "r1"),
              SlowRequest(1_700_000_001.0, names[-1], "2", 0.31, 0.1, 0.2, 504, 1, 1, "r2")),
        revision=1,
    )  # fmt: skip
    return replace(snapshot, **changes)


class Servers:
    """The port `servers`."""

    def __init__(self) -> None:
        self.running: list[ServerRecord] = []
        self.started: list = []
        self.stopped: list[str] = []
        self.logs: dict[str, str] = {}
        self.refusal: Exception | None = None
        self.starting = threading.Event()
        self.starting.set()

    def start(self, plan, *, timeout_s: float = 60.0, cancel=None) -> ServerRecord:
        self.started.append(plan)
        if self.refusal is not None:
            raise self.refusal
        if cancel is not None:
            cancel.on_cancel(self.starting.set)
        assert self.starting.wait(30)
        if cancel is not None:
            cancel.raise_if_cancelled()
        record = make_server(len(self.running) + 1, *plan.refs, command=self.command(plan))
        self.running.insert(0, record)
        return record

    def stop(self, server_id: str, *, timeout_s: float = 45.0) -> None:
        if all(one.id != server_id for one in self.running):
            raise NotFoundError("There is no such server.", code="server.not_found")
        self.running = [one for one in self.running if one.id != server_id]
        self.stopped.append(server_id)

    def list(self) -> tuple[ServerRecord, ...]:
        return tuple(self.running)

    def log(self, server_id: str, offset: int = 0) -> tuple[str, int]:
        text = self.logs.get(server_id, "")
        return text[offset : offset + 4_000], min(offset + 4_000, len(text))

    def command(self, plan) -> str:
        words = ["--all"] if plan.every else list(plan.refs)
        return " ".join(["quickserveml serve", *words, *(f"--{name} {value}" for name, value in plan.options)])


class Monitor:
    """The port `monitor`: a snapshot for every `tell`, a failure for every `fail`."""

    def __init__(self) -> None:
        self.watched: list[tuple[str, str, float]] = []
        self.watching = 0
        self.pending: list = []
        self.arrived = threading.Condition()
        self.newest = make_snapshot(1)
        self.down: Exception | None = None

    def tell(self, *snapshots) -> None:
        with self.arrived:
            self.pending += snapshots
            self.arrived.notify_all()

    def snapshot(self, url: str, *, key: str = "") -> ServerSnapshot:
        if self.down is not None:
            raise self.down
        return self.newest

    def watch(self, url: str, *, key: str = "", interval_s: float = 1.0, cancel=None):
        self.watched.append((url, key, interval_s))
        self.watching += 1
        if cancel is not None:
            cancel.on_cancel(self._wake)
        try:
            while not (cancel is not None and cancel.cancelled):
                with self.arrived:
                    self.arrived.wait_for(lambda: self.pending or (cancel and cancel.cancelled), 30)
                    if cancel is not None and cancel.cancelled:
                        return
                    told = self.pending.pop(0)
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.watching -= 1

    def _wake(self) -> None:
        with self.arrived:
            self.arrived.notify_all()


class Remote:
    """The port `remote`."""

    def __init__(self) -> None:
        self.served: tuple[dict, ...] = (
            {"name": "digits", "versions": ["2", "3"], "inputs": [], "outputs": []},
            {"name": "x[/]y", "versions": ["1"], "inputs": [], "outputs": []},
        )
        self.sent: list[tuple[str, str, bytes, str]] = []
        self.answer: tuple[int, str, float] | Exception = (
            200,
            json.dumps({"model_name": "digits", "outputs": [{"data": list(range(64))}]}),
            1.25,
        )
        self.refusal: Exception | None = None
        self.answering = threading.Event()
        self.answering.set()

    def models(self, url: str, *, key: str = "") -> tuple[dict, ...]:
        if self.refusal is not None:
            raise self.refusal
        return self.served

    def example(self, url: str, model: str, version: str = "", *, key: str = "") -> str:
        return json.dumps(
            {"inputs": [{"name": "image", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 0.25]}]}, indent=1
        )

    def send(self, url: str, path: str, body: bytes, *, key: str = "", timeout_s: float = 60.0):
        self.sent.append((url, path, body, key))
        assert self.answering.wait(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def gone() -> UnavailableError:
    return UnavailableError("The server does not answer.", hint="Check that it runs.", code="server.unreachable")
