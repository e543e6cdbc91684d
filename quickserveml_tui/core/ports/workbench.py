"""Everything a front can do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from quickserveml_tui.core.care import StoreProblem
from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.hosts import HostStatus
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.ports.care import BackupPort, BundlePort, MaintenancePort
from quickserveml_tui.core.ports.catalog import CatalogPort
from quickserveml_tui.core.ports.lab import ComparePort
from quickserveml_tui.core.ports.models import ConvertPort, GoldenPort, InspectPort, PredictPort
from quickserveml_tui.core.ports.runs import BatchPort, BenchmarkPort, JobsPort, MetricHistoryPort
from quickserveml_tui.core.ports.serving import KeysPort, MonitorPort, RemotePort, ServersPort
from quickserveml_tui.core.ports.transfers import AnswersPort, TransferPort


class DemoPort(Protocol):
    """The models and data that come with the program."""

    def install(self, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None) -> int:
        """Register the demo models that are not there yet; returns how many versions were added."""
        ...

    def data_path(self, model: str) -> Path | None:
        """The test data that fits a demo model, if there is any."""
        ...


class HostPort(Protocol):
    """Watch the machine."""

    def status(self) -> HostStatus:
        """Load of the machine now."""
        ...


class Workbench(Protocol):
    """Everything a front can do, on a local home or, later, on a remote server."""

    @property
    def catalog(self) -> CatalogPort:
        """Find, add and change models."""
        ...

    @property
    def inspect(self) -> InspectPort:
        """Understand a model."""
        ...

    @property
    def predict(self) -> PredictPort:
        """Run one inference."""
        ...

    @property
    def golden(self) -> GoldenPort:
        """Inputs with the outputs they must give."""
        ...

    @property
    def convert(self) -> ConvertPort:
        """Make versions that the installed runtime takes."""
        ...

    @property
    def benchmark(self) -> BenchmarkPort:
        """Measure a model."""
        ...

    @property
    def compare(self) -> ComparePort:
        """Hold models and settings against each other."""
        ...

    @property
    def batch(self) -> BatchPort:
        """Run data sets through a model."""
        ...

    @property
    def jobs(self) -> JobsPort:
        """Work in processes of its own."""
        ...

    @property
    def metric_history(self) -> MetricHistoryPort:
        """Figures of served versions over time."""
        ...

    @property
    def servers(self) -> ServersPort:
        """Servers of this home."""
        ...

    @property
    def monitor(self) -> MonitorPort:
        """Watch any server."""
        ...

    @property
    def remote(self) -> RemotePort:
        """Ask a server."""
        ...

    @property
    def keys(self) -> KeysPort:
        """API keys of this home's servers."""
        ...

    @property
    def maintenance(self) -> MaintenancePort:
        """Look after the stores."""
        ...

    @property
    def bundles(self) -> BundlePort:
        """Carry versions from one home to another."""
        ...

    @property
    def transfers(self) -> TransferPort:
        """Bring models in and send them out as streams."""
        ...

    @property
    def answers(self) -> AnswersPort:
        """Answers under idempotency keys."""
        ...

    @property
    def backups(self) -> BackupPort:
        """Keep generations of the home."""
        ...

    @property
    def demo(self) -> DemoPort:
        """The models and data that come with the program."""
        ...

    @property
    def host(self) -> HostPort:
        """The machine."""
        ...

    @property
    def home(self) -> Path:
        """The folder that holds everything this front writes."""
        ...

    @property
    def home_to_name(self) -> str:
        """The home as a command has to name it; empty for the one that commands take by themselves."""
        ...

    def holding(self, models: Sequence[Resolved], purpose: str) -> AbstractContextManager[None]:
        """Keep the files of these models from being collected for as long as the block takes, also after `close`."""
        ...

    def problems_met(self) -> tuple[StoreProblem, ...]:
        """What is wrong with the stores that were used so far."""
        ...

    def warm_up(self) -> None:
        """Start a spare runner in the background, so that the first inspection or run need not wait."""
        ...

    def close(self) -> None:
        """End the runners; safe to call twice."""
        ...
