"""The server as a whole, from any of its workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from quickserveml_tui import __version__
from quickserveml_tui.core.monitoring import ModelSnapshot, MonitorSource, ServerSnapshot, WorkerSnapshot
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.services.machine import Gpus, ProcessorLoad, memory
from quickserveml_tui.services.serving_totals import CountedVersion, model_totals, slowest, worker_totals

Sees = Callable[[str], bool]
"""Whether a caller may know of the model of that name."""


def everything(_name: str) -> bool:
    """A caller that may know of all models."""
    return True


@dataclass
class ServerTotals:
    """Puts together what the workers counted. Reads files in memory and `/proc`: for threads, not for the loop."""

    context: ServerContext
    _load: ProcessorLoad = field(default_factory=ProcessorLoad)
    _gpus: Gpus = field(default_factory=Gpus)

    def versions(self) -> tuple[CountedVersion, ...]:
        """Versions that this worker serves, with their rows in the counters."""
        states = {(item.name, item.version): item.state.value for item in self.context.control.statuses()}
        return tuple(
            CountedVersion(
                model.name, model.version, model.entry.slot, states.get((model.name, model.version), "READY")
            )
            for model in self.context.serving.models
        )

    def models(self, sees: Sees = everything) -> tuple[ModelSnapshot, ...]:
        """Counters of every version, over all workers."""
        return model_totals((item for item in self.versions() if sees(item.name)), self.context.counters)

    def workers(self) -> tuple[WorkerSnapshot, ...]:
        """All workers."""
        return worker_totals(self.context.counters, self.context.control.workers())

    def snapshot(self, sees: Sees = everything, url: str = "") -> ServerSnapshot:
        """The server now, without models that the caller may not know of."""
        context = self.context
        total, available = memory()
        return ServerSnapshot(
            taken_at=time.time(),
            source=MonitorSource.OURS,
            name="quickserveml",
            version=__version__,
            url=url,
            uptime_s=max(time.time() - context.started_at, 0.0),
            ready=context.serving.ready,
            cores=os.cpu_count() or 0,
            cpu_percent=self._load.percent(),
            memory_total_bytes=total,
            memory_available_bytes=available,
            models=self.models(sees),
            workers=self.workers(),
            slow=tuple(
                item if sees(item.model) else replace(item, model="", version="", request_id="")
                for item in slowest(context.counters)
            ),
            gpus=self._gpus.snapshot(),
            revision=context.control.revision,
        )
