"""Recording that a version took down the server's worker that loaded it."""

from __future__ import annotations

from dataclasses import replace

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.core.serving import ServedEntry
from quickserveml_tui.core.stores import RegistryEdit, RegistryStore
from quickserveml_tui.runtime.installed import installed_runtime
from quickserveml_tui.services.catalog_edit import with_version


def record_quarantine(registry: RegistryStore, entry: ServedEntry, signal: str, reason: str) -> bool:
    """Write the report of a trial that ended its process; False when the version is no longer there.

    Raises `StoreError`.
    """
    report = TrialReport(
        TrialOutcome.UNRUNNABLE,
        reason,
        signal=signal,
        runtime=installed_runtime(),
        code="runtime.crashed",
        tried_at=utc_now(),
    )

    def work(edit: RegistryEdit) -> bool:
        model = edit.find(entry.name)
        version = model.version(int(entry.version)) if model is not None else None
        if model is None or version is None or version.artifact.digest != entry.digest:
            return False
        edit.put(with_version(model, replace(version, trial=report)))
        return True

    return registry.edit(work)
