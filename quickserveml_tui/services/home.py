"""The one place that wires stores, runners and services together for a home folder."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from quickserveml_tui.core.errors import QuickServeError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.care import CarePolicy, StoreProblem
    from quickserveml_tui.core.catalog import Resolved
    from quickserveml_tui.core.ports import (
        AnswersPort,
        BackupPort,
        BatchPort,
        BenchmarkPort,
        BundlePort,
        CatalogPort,
        ComparePort,
        ConvertPort,
        DemoPort,
        GoldenPort,
        HostPort,
        InspectPort,
        JobsPort,
        KeysPort,
        MaintenancePort,
        MetricHistoryPort,
        MonitorPort,
        PredictPort,
        RemotePort,
        ServersPort,
        TransferPort,
    )
    from quickserveml_tui.core.runners import ModelRunner
    from quickserveml_tui.core.stores import ArtifactStore
    from quickserveml_tui.core.trials import TrialPolicy
    from quickserveml_tui.runtime.pool import LocalRunnerPool
    from quickserveml_tui.services.compatibility import LimitsService
    from quickserveml_tui.services.decoration import RunDecoration
    from quickserveml_tui.services.golden_gate import GoldenGate
    from quickserveml_tui.storage.registry import TinyDbRegistry
    from quickserveml_tui.storage.state import SqliteState

T = TypeVar("T")


class part(cached_property[T]):  # noqa: N801 - used as a decorator, like `property`
    """A `cached_property` that two threads never build twice: it takes the owner's lock while it builds."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> part[T]: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> part[T] | T:
        """The part, built on first use."""
        if instance is None:
            return self
        with instance.lock:
            built: T = super().__get__(instance, owner)
            return built


class LazyRunnerPool:
    """A `core.ports.RunnerPool` that imports the runtime only when the first runner is asked for."""

    def __init__(self, log_dir: Path | None, trial: TrialPolicy | None = None) -> None:
        self.lock = threading.RLock()
        self._log_dir = log_dir
        self._trial = trial
        self._is_closed = False

    @part
    def _pool(self) -> LocalRunnerPool:
        from quickserveml_tui.runtime.limits import DEFAULT_LIMITS, limits_of
        from quickserveml_tui.runtime.pool import LocalRunnerPool

        if self._is_closed:
            raise StoreError("The workbench is closed.", hint="Open it again.", code="workbench.closed")
        return LocalRunnerPool(self._log_dir, limits=limits_of(self._trial) if self._trial else DEFAULT_LIMITS)

    def borrow(self) -> AbstractContextManager[ModelRunner]:
        """A warm runner that is used again after."""
        return self._pool.borrow()

    def fresh(self) -> AbstractContextManager[ModelRunner]:
        """A runner of one's own."""
        return self._pool.fresh()

    def warm_up(self) -> None:
        """Start a spare runner, unless one waits."""
        self._pool.warm_up()

    def close(self) -> None:
        """End all runners, if there ever were any."""
        with self.lock:
            self._is_closed = True
            pool = self.__dict__.get("_pool")
        if pool is not None:
            pool.close()


class LocalWorkbench:
    """`Workbench` on a home folder of this machine.

    Opening imports and writes nothing; every part is built when it is first asked for. The home is created by the
    first write, with mode 0700.
    """

    def __init__(
        self,
        home: Path,
        *,
        read_only: bool = False,
        policy: CarePolicy | None = None,
        trial: TrialPolicy | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self._home = home
        self._read_only = read_only
        self._policy = policy
        self._runners = LazyRunnerPool(None if read_only else home / "logs", trial)

    @property
    def home(self) -> Path:
        """The folder that holds everything this workbench writes."""
        return self._home

    # ---- stores and runners ---------------------------------------------------------------------------------------

    @part
    def registry(self) -> TinyDbRegistry:
        """Models, versions, aliases and tags."""
        from quickserveml_tui.storage.registry import TinyDbRegistry

        self._finish_restore()
        return TinyDbRegistry(self._home / "registry.json", read_only=self._read_only)

    @part
    def artifacts(self) -> ArtifactStore:
        """Model files and raw samples."""
        from quickserveml_tui.storage.artifacts import BlobArtifactStore

        return BlobArtifactStore(self._home / "blobs", self._home / "cache", read_only=self._read_only)

    @part
    def state(self) -> SqliteState:
        """Benchmark and batch runs, jobs and leases."""
        from quickserveml_tui.storage.state import SqliteState

        self._finish_restore()
        return SqliteState(self._home / "state.db", read_only=self._read_only)

    @part
    def decoration(self) -> RunDecoration:
        """Runs as they are shown beside models."""
        from quickserveml_tui.services.decoration import RunDecoration

        return RunDecoration(self.state)

    def _finish_restore(self) -> None:
        """Carry out a restore that was interrupted before either store is looked at."""
        from quickserveml_tui.storage.intent import finish_restore

        finish_restore(self._home, read_only=self._read_only)

    @property
    def runners(self) -> LazyRunnerPool:
        """Where runners come from."""
        return self._runners

    @part
    def limits(self) -> LimitsService:
        """What the installed runtime takes."""
        from quickserveml_tui.services.compatibility import LimitsService

        return LimitsService(self.home, self.runners, read_only=self._read_only)

    @part
    def gate(self) -> GoldenGate:
        """What versions must give before they are used."""
        from quickserveml_tui.services.golden_gate import GoldenGate

        return GoldenGate(self.artifacts, self.runners)

    # ---- services -------------------------------------------------------------------------------------------------

    @part
    def catalog(self) -> CatalogPort:
        """Find, add and change models."""
        from quickserveml_tui.services.catalog import CatalogService

        return CatalogService(self.registry, self.artifacts, self.state, self.runners, self.decoration, gate=self.gate)

    @part
    def inspect(self) -> InspectPort:
        """Understand a model."""
        from quickserveml_tui.services.inspect import InspectService

        return InspectService(self.catalog, self.runners, self.limits)

    @part
    def predict(self) -> PredictPort:
        """Run one inference."""
        from quickserveml_tui.services.predict import PredictService

        return PredictService(self.catalog, self.runners)

    @part
    def golden(self) -> GoldenPort:
        """Inputs with the outputs they must give."""
        from quickserveml_tui.services.golden import GoldenService

        return GoldenService(self.catalog, self.registry, self.artifacts, self.runners, gate=self.gate)

    @part
    def convert(self) -> ConvertPort:
        """Make versions that the installed runtime takes."""
        from quickserveml_tui.services.convert import ConvertService

        return ConvertService(self.catalog, self.registry, self.artifacts, self.runners, self.limits)

    @property
    def home_to_name(self) -> str:
        """The home as a command has to name it; empty for the one that commands take by themselves."""
        return "" if self.home == default_home().expanduser().absolute() else str(self.home)

    @property
    def _home_args(self) -> tuple[str, ...]:
        """What a command needs to find this home: nothing for the one it takes by itself."""
        return ("--home", self.home_to_name) if self.home_to_name else ()

    @part
    def benchmark(self) -> BenchmarkPort:
        """Measure a model."""
        from quickserveml_tui.services.benchmark import BenchmarkService

        return BenchmarkService(self.catalog, self.runners, self.state, self.artifacts, self._home_args, gate=self.gate)

    @part
    def compare(self) -> ComparePort:
        """Hold models and settings against each other."""
        from quickserveml_tui.services.compare import CompareService

        return CompareService(self.catalog, self.runners, self.state, self.artifacts, self._home_args, gate=self.gate)

    @part
    def batch(self) -> BatchPort:
        """Run data sets through a model."""
        from quickserveml_tui.services.batch import BatchService

        return BatchService(self.catalog, self.runners, self.state, self._home_args, gate=self.gate)

    @part
    def jobs(self) -> JobsPort:
        """Work in processes of its own."""
        from quickserveml_tui.services.jobs import DetachedJobs

        return DetachedJobs(self.home, self.state, lambda: self.catalog, read_only=self._read_only)

    @part
    def metric_history(self) -> MetricHistoryPort:
        """Figures of served versions over time."""
        from quickserveml_tui.services.metric_history import MetricHistoryService

        return MetricHistoryService(self.state, self.registry)

    @part
    def servers(self) -> ServersPort:
        """Servers of this home."""
        from quickserveml_tui.services.servers import ServersService

        return ServersService(self.home, self._home_args, read_only=self._read_only)

    @part
    def monitor(self) -> MonitorPort:
        """Watch any server."""
        from quickserveml_tui.client.monitor import MonitorClient

        return MonitorClient()

    @part
    def remote(self) -> RemotePort:
        """Ask a server."""
        from quickserveml_tui.client.remote import RemoteClient

        return RemoteClient()

    @part
    def keys(self) -> KeysPort:
        """API keys of this home's servers."""
        from quickserveml_tui.services.api_keys import KeysService
        from quickserveml_tui.storage.api_keys import KeyStore

        return KeysService(KeyStore(self._home / "keys.json", read_only=self._read_only))

    @part
    def maintenance(self) -> MaintenancePort:
        """Look after the stores."""
        from quickserveml_tui.core.care import CarePolicy
        from quickserveml_tui.services.maintenance import MaintenanceService

        policy = self._policy or CarePolicy()
        return MaintenanceService(
            self.home,
            self.registry,
            self.artifacts,
            self.state,
            policy,
            read_only=self._read_only,
            content_digest=lambda: self.backups.content_digest(),  # noqa: PLW0108 - built when it is asked for
        )

    @part
    def bundles(self) -> BundlePort:
        """Carry versions from one home to another."""
        from quickserveml_tui.services.bundles import BundleService

        return BundleService(self.registry, self.artifacts, self.state, self.runners, self.decoration, gate=self.gate)

    @part
    def transfers(self) -> TransferPort:
        """Bring models in and send them out as streams."""
        from quickserveml_tui.services.transfers import TransferService

        return TransferService(self.catalog, self.bundles, self.golden, self.artifacts)

    @part
    def answers(self) -> AnswersPort:
        """Answers under idempotency keys."""
        from quickserveml_tui.services.kept_answers import AnswersService

        return AnswersService(self.home, read_only=self._read_only)

    @part
    def backups(self) -> BackupPort:
        """Keep generations of the home."""
        from quickserveml_tui.services.backups import BackupService

        return BackupService(self.home, self.registry, self.artifacts, self.state, read_only=self._read_only)

    @part
    def demo(self) -> DemoPort:
        """The models and data that come with the program."""
        from quickserveml_tui.services.demo import DemoService

        return DemoService(self.catalog)

    @part
    def host(self) -> HostPort:
        """The machine."""
        from quickserveml_tui.services.host import HostService

        return HostService()

    def problems_met(self) -> tuple[StoreProblem, ...]:
        """What is wrong with the stores that were used; those that were not are not looked at."""
        met = []
        for name in ("registry", "state"):
            with self.lock:
                store = self.__dict__.get(name)
                decoration = self.__dict__.get("decoration") if name == "state" else None
            try:
                problem = store.problem() if store is not None else None
            except QuickServeError:  # whoever used it was told
                problem = None
            if problem is None and decoration is not None:
                problem = decoration.problem  # damage beyond the head of the file, where `problem` looks
            if problem is not None:
                met.append(problem)
        return tuple(met)

    def holding(self, models: Sequence[Resolved], purpose: str) -> AbstractContextManager[None]:
        """Keep the files of these models from being collected for as long as the block takes, also after `close`."""
        from quickserveml_tui.services.leases import holding

        return holding(self.state, models, purpose)

    # ---- life -----------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Start a spare runner in the background, so that the first inspection or run need not wait."""
        threading.Thread(target=self._start_spare, name="runner-warm-up", daemon=True).start()

    def _start_spare(self) -> None:
        try:
            self.runners.warm_up()
        except QuickServeError as error:
            import logging

            logging.getLogger(__name__).warning("No spare runner could be started: %s", error.message)

    def close(self) -> None:
        """End the runners; safe to call twice."""
        self._runners.close()
        with self.lock:
            state = self.__dict__.get("state")
        if state is not None:
            state.close()


def default_home() -> Path:
    """The home folder: `QSML_HOME`, else the user's data folder for this program."""
    chosen = os.environ.get("QSML_HOME", "")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_dir

    return Path(user_data_dir("quickserveml", appauthor=False))


def open_workbench(
    home: Path | None = None,
    *,
    read_only: bool = False,
    policy: CarePolicy | None = None,
    trial: TrialPolicy | None = None,
) -> LocalWorkbench:
    """The workbench on `home`, by default the user's own; with `read_only` every write is refused.

    `policy` says what is kept for how long, `trial` what a model may take in a runner.

    Raises `UsageError` (`home.invalid`) for a path that cannot be a folder.
    """
    chosen = default_home() if home is None else home
    try:
        folder = chosen.expanduser().absolute()
        is_usable = stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError:
        is_usable = True
    except (OSError, ValueError, RuntimeError):
        is_usable = False
    if not is_usable:
        raise UsageError(
            "The home is not a folder that can be used.",
            hint="Choose another folder with --home or QSML_HOME.",
            code="home.invalid",
        )
    return LocalWorkbench(folder, read_only=read_only, policy=policy, trial=trial)
