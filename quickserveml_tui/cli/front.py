"""What every command begins with: the options that hold for all of them, settings, and the workbench on the home."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.output import Output, set_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quickserveml_tui.config.load import LoadedSettings
    from quickserveml_tui.config.settings import Settings
    from quickserveml_tui.core.care import CarePolicy
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.core.trials import TrialPolicy
    from quickserveml_tui.services.home import LocalWorkbench


class Invocation:
    """The command line under way: `--home`, `--json`, `--verbose`, wherever they stood, and what follows from them."""

    def __init__(self) -> None:
        self._flags: dict[str, Any] = {}
        set_home("")
        self.as_json = False
        self.verbose = False
        self.has_answered = False
        """Whether a command that goes on has printed its one document: what ends it is then said on stderr alone."""

    def note(self, *, home: str = "", as_json: bool = False, verbose: bool = False) -> Invocation:
        """Take the global options of a command or of the group; returns itself."""
        if home:
            self._flags["home"] = home
            set_home(os.path.abspath(os.path.expanduser(home)))  # noqa: PTH100, PTH111 - any text may come here
        self.as_json = self.as_json or as_json
        self.verbose = self.verbose or verbose
        return self

    @cached_property
    def output(self) -> Output:
        """Where results go."""
        return Output(as_json=self.as_json)

    @cached_property
    def loaded(self) -> LoadedSettings:
        """Settings with their sources. Raises `UsageError` where they are wrong."""
        from quickserveml_tui.config.load import load_settings

        return load_settings(self._flags)

    @property
    def settings(self) -> Settings:
        """The settings that hold."""
        return self.loaded.settings

    def home_path(self) -> Path:
        """The home folder, absolute."""
        return self.loaded.home_path()

    @property
    def has_home_flag(self) -> bool:
        """Whether `--home` was given."""
        return "home" in self._flags

    def policy(self) -> CarePolicy:
        """How long the stores keep what."""
        from quickserveml_tui.core.care import CarePolicy

        kept = self.settings.storage
        return CarePolicy(
            cache_budget_bytes=round(kept.cache_gb * 1e9),
            grace_s=kept.gc_grace * 3600.0,
            trash_s=kept.trash_days * 86_400.0,
            keep_runs=kept.keep_runs,
            keep_days=kept.keep_days,
        )

    def trial_policy(self) -> TrialPolicy:
        """What a model may take while it is tried."""
        from quickserveml_tui.core.trials import TrialPolicy

        taken = self.settings.trial
        return TrialPolicy(taken.timeout_s, round(taken.memory * 1e9) or None)

    @contextmanager
    def workbench(self, home: Path | None = None) -> Iterator[Workbench]:
        """The services on a home, the chosen one by default; their runners end with the block."""
        from quickserveml_tui.services.home import open_workbench

        workbench = open_workbench(
            home or self.home_path(),
            read_only=self.settings.read_only,
            policy=self.policy(),
            trial=self.trial_policy(),
        )
        try:
            yield workbench
        finally:
            self._tell_problems(workbench)
            workbench.close()

    def _tell_problems(self, workbench: LocalWorkbench) -> None:
        """Say when what was shown came from a store that cannot be used in full."""
        from quickserveml_tui.cli.diagnostics import note, warn

        for problem in workbench.problems_met():
            if problem.code in ("store.corrupt", "store.gone", "store.newer_schema"):
                warn(problem.message)
                note(f"Repair it with {problem.command}." if problem.command else problem.hint)


invocation = Invocation()
"""The one of this process."""
