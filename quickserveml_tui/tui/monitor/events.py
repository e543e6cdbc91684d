"""What happened to a server, by what differs between two of its snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.monitoring import ModelSnapshot, ServerSnapshot, WorkerSnapshot

_STATES = {"LOADING": ("is being loaded", Role.INFO), "READY": ("is served", Role.OK),
           "UNLOADING": ("is leaving", Role.MUTED), "UNAVAILABLE": ("cannot be served", Role.ERROR)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between two snapshots."""

    at: float
    """Unix time of the later one."""
    what: str
    """What it happened to: a version, a worker, or the server."""
    words: str
    role: Role = Role.BODY


def events_between(before: ServerSnapshot, after: ServerSnapshot) -> Iterator[Event]:
    """The events, those of the server first. Snapshots of another server, or out of order, tell nothing."""
    at = after.taken_at
    if 0 < after.uptime_s < before.uptime_s:
        yield Event(at, "server", "was started anew", Role.WARN)
        return  # its workers and models count from the start again
    if before.ready != after.ready:
        yield Event(at, "server", *(("is ready", Role.OK) if after.ready else ("is not ready any more", Role.ERROR)))
    yield from _of_workers(at, before, after)
    yield from _of_models(at, before, after)


def _of_workers(at: float, before: ServerSnapshot, after: ServerSnapshot) -> Iterator[Event]:
    known = {worker.index: worker for worker in before.workers}
    for worker in after.workers:
        was = known.pop(worker.index, None)
        if was is None:
            yield Event(at, f"worker {worker.index}", f"is there (process {worker.pid})", Role.OK)
        else:
            yield from _of_worker(at, was, worker)
    for index in known:
        yield Event(at, f"worker {index}", "is gone", Role.ERROR)


def _of_worker(at: float, was: WorkerSnapshot, worker: WorkerSnapshot) -> Iterator[Event]:
    name = f"worker {worker.index}"
    if worker.restarts > was.restarts:
        times = worker.restarts - was.restarts
        words = "ended and was started again" if times == 1 else f"ended and was started again {times} times"
        yield Event(at, name, f"{words} (process {worker.pid})" if worker.pid else words, Role.ERROR)
    if was.ready != worker.ready:
        yield Event(at, name, *(("takes requests", Role.OK) if worker.ready else ("takes no requests", Role.WARN)))


def _of_models(at: float, before: ServerSnapshot, after: ServerSnapshot) -> Iterator[Event]:
    known = {(model.name, model.version): model for model in before.models}
    for model in after.models:
        was = known.pop((model.name, model.version), None)
        if was is None or was.state != model.state:
            words, role = _STATES.get(model.state, (f"is {model.state.lower()}", Role.WARN))
            yield Event(at, _called(model), words, role)
    for model in known.values():
        yield Event(at, _called(model), "is no longer served", Role.MUTED)


def _called(model: ModelSnapshot) -> str:
    return f"{model.name} @{model.version}"
