"""Carry versions from one home to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.care import BundleInfo
from quickserveml_tui.core.catalog import AddResult
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import ModelRecord, TrialReport, VersionRecord
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore, RegistryEdit, RegistryStore, StateStore
from quickserveml_tui.services.bundle_export import MODEL_SUFFIX, Export, export_target, runs_of
from quickserveml_tui.services.bundle_import import Import, import_name
from quickserveml_tui.services.bundle_read import open_bundle
from quickserveml_tui.services.catalog_add import take_in
from quickserveml_tui.services.catalog_edit import with_version
from quickserveml_tui.services.catalog_lookup import select_version, unknown_model, without_node
from quickserveml_tui.services.catalog_register import check_onto
from quickserveml_tui.services.decoration import RunDecoration
from quickserveml_tui.services.golden_gate import GoldenGate
from quickserveml_tui.storage.fs import store_error
from quickserveml_tui.storage.outputs import check_space


class BundleService:
    """`BundlePort` on a registry, an artifact store and a state database."""

    def __init__(
        self,
        registry: RegistryStore,
        artifacts: ArtifactStore,
        state: StateStore,
        runners: RunnerPool,
        decoration: RunDecoration | None = None,
        *,
        gate: GoldenGate | None = None,
    ) -> None:
        self._registry = registry
        self._artifacts = artifacts
        self._state = state
        self._decoration = decoration or RunDecoration(state)
        self._runners = runners
        self._gate = gate or GoldenGate(artifacts, runners)

    def export(
        self,
        ref: str,
        path: str,
        *,
        overwrite: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BundleInfo:
        """Write a version to a file: a bundle (`.qsml`) with all that belongs to it, or the plain model (`.onnx`).

        The same version gives byte-identical bundles; while the state database cannot be read they hold no benchmarks.
        Raises `NotFoundError`, `UsageError` (`usage.export`,
        `usage.path`), `ConflictError` (`export.exists`), `StoreError` (`artifact.…`, `store.full`), `DataError`
        (`output.unwritable`).
        """
        parsed = without_node(ref)
        model = self._registry.find(parsed.name)
        if model is None:
            raise unknown_model(self._registry, parsed.name)
        version = select_version(model, parsed.selector)
        return self._export(model, version, export_target(path), overwrite, on_progress, cancel or CancelToken())

    def write(self, ref: str, target: Path) -> BundleInfo:
        """Write the bundle of a version to a new file of the program's own. Raises as `export` does."""
        parsed = without_node(ref)
        model = self._registry.find(parsed.name)
        if model is None:
            raise unknown_model(self._registry, parsed.name)
        version = select_version(model, parsed.selector)
        return self._export(model, version, target, False, ignore_progress, CancelToken())

    def _export(  # noqa: PLR0917 - what `export` was asked for
        self,
        model: ModelRecord,
        version: VersionRecord,
        target: Path,
        overwrite: bool,
        on_progress: ProgressSink,
        token: CancelToken,
    ) -> BundleInfo:
        if target.suffix.lower() == MODEL_SUFFIX:
            export = Export(self._artifacts, model, version, on_progress, token)
            return export.write_model(target, overwrite=overwrite)
        runs = runs_of(self._decoration, model, version)
        export = Export(self._artifacts, model, version, on_progress, token, runs)
        return export.write_bundle(target, overwrite=overwrite)

    def read(self, path: str) -> BundleInfo:
        """What a bundle holds, every digest checked. Raises `DataError` (`bundle.…`)."""
        with open_bundle(path) as bundle:
            checked = bundle.check(None, on_progress=ignore_progress, cancel=CancelToken())
            return bundle.info(checked.digests)

    def import_bundle(
        self,
        path: str,
        *,
        name: str = "",
        onto: str | None = None,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> AddResult:
        """Add what a bundle holds as the next version; tried in a runner like any other file.

        Everything is compared with its digest before the store keeps any of it. Golden outputs are checked at the end;
        one that fails is told in the warning of the result. `onto` is as in `AddRequest`.
        Raises `DataError` (`bundle.…`), `ModelError` when the model is rejected, `UsageError` (`name.invalid`),
        `ConflictError` (`name.taken`), `StoreError`.
        """
        token = cancel or CancelToken()
        with open_bundle(path) as bundle:
            target = import_name(bundle.document, name)
            check_onto(target, self._registry.find(target), onto)
            with self._artifacts.stage() as staging:
                folder = staging.folder / "bundle"
                check_space(staging.folder, 2 * bundle.content_bytes, "the bundle")
                try:
                    extracted = bundle.check(folder, on_progress=on_progress, cancel=token)
                except OSError as error:
                    raise store_error(error, "artifact store") from error
                work = Import(
                    self._registry, self._artifacts, self._state, bundle.document, extracted, folder, target, onto
                )
                result = take_in(
                    str(folder / "model" / bundle.document.files[0].path),
                    self._artifacts,
                    self._runners,
                    accept=_accept,
                    keep=work.keep,
                    on_progress=on_progress,
                    cancel=token,
                    feed=bundle.document.feed,
                )
        return self._verified(result, on_progress, token)

    def _verified(self, result: AddResult, on_progress: ProgressSink, cancel: CancelToken) -> AddResult:
        """The result, with a warning when golden outputs of the version fail here; it is kept all the same."""
        version = result.version
        if not version.golden or not version.runnable:
            return result
        ref = f"{result.model.name}@{version.version}"
        try:
            path = self._artifacts.open_path(version.artifact)
            told = self._gate.problem(ref, path, version, on_progress=on_progress, cancel=cancel)
        except StoreError as error:
            told = f"The golden outputs of {ref} were not verified: {error.message}"
        cancel.raise_if_cancelled()
        if told:
            result = self._with_warning(result, told)
        return replace(result, warning=" ".join(filter(None, (result.warning, told))))

    def _with_warning(self, result: AddResult, told: str) -> AddResult:
        """The result, with the warning in the report that was made for it, unless another one took its place."""
        number, trial = result.version.version, result.version.trial

        def work(edit: RegistryEdit) -> ModelRecord | None:
            now = edit.find(result.model.id)
            found = now.version(number) if now is not None else None
            if now is None or found is None or found.trial != trial:
                return None
            return edit.put(with_version(now, replace(found, trial=replace(trial, warning=told))))

        model = self._registry.edit(work)
        version = model.version(number) if model is not None else None
        return result if model is None or version is None else replace(result, model=model, version=version)


def _accept(_report: TrialReport) -> None:
    """A version that does not run is kept with the reason, as when it is added."""
